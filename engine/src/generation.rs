//! One compiled policy set and its digest; reading and replacing the one in force.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arc_swap::ArcSwap;
use lictor_dsl::events::EventKind;
use lictor_dsl::hir::PolicySet;

use crate::combine::{self, Hit};
use crate::decision::Decision;
use crate::evaluate::Evaluator;
use crate::event::{Event, InvalidEvent};
use crate::frame::Frame;
use crate::interpret::{self, expr::Scene};
use crate::jit;
use crate::jit::abi::Call;
use crate::jit::code::Code;
use crate::jit::unit::Unit;
use crate::limits::RULES_PER_UNIT;
use crate::memory::history::{History, Replayed};
use crate::memory::store::Folded;
use crate::memory::{self, Memories, Recall};
use crate::plan::memory::MemoryPlan;
use crate::plan::{Plan, PlanError};
use crate::truth::Truth;

/// What finds the truths of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Machine code, for the rules that the index does not rule out.
    Jit,
    /// The reference interpreter, for every rule.
    Interpreter,
}

/// One policy set ready to judge: immutable; a decision belongs to exactly one and names it.
#[derive(Debug)]
pub struct Generation {
    plan: Plan,
    code: Result<Machine, NoCode>,
}

/// Why a generation is interpreted.
#[derive(Debug)]
pub enum NoCode {
    /// Nobody asked for machine code.
    NotWanted,
    /// It can't be had: the interpreter answers, slower and the same.
    Failed(jit::CompileError),
}

/// The machine code of all rules.
#[derive(Debug, Default)]
struct Machine {
    units: Vec<CompiledUnit>,
    /// For each rule its unit and its number there.
    places: Vec<(usize, usize)>,
}

#[derive(Debug)]
struct CompiledUnit {
    unit: Unit,
    identity: [u8; 32],
    code: Arc<Code>,
}

thread_local! {
    /// Slots and predicate bytes, reused so that judging does not allocate them.
    static FRAME: RefCell<Frame> = RefCell::default();
}

impl Generation {
    /// Plans and compiles a checked policy set. CPU-bound: call it off the request path.
    pub fn compile(set: &PolicySet) -> Result<Generation, PlanError> {
        Generation::replacing(set, None)
    }

    /// Compiles a set that takes the place of another: units that mean the same keep their code.
    pub fn replacing(set: &PolicySet, previous: Option<&Generation>) -> Result<Generation, PlanError> {
        let plan = Plan::new(set)?;
        let previous = previous.and_then(|generation| generation.code.as_ref().ok());
        let code = Machine::new(&plan, previous).map_err(NoCode::Failed);
        Ok(Generation { plan, code })
    }

    /// Plans a set without compiling it: the interpreter answers.
    pub fn interpreted(set: &PolicySet) -> Result<Generation, PlanError> {
        Ok(Generation { plan: Plan::new(set)?, code: Err(NoCode::NotWanted) })
    }

    /// Why there is no machine code, if there is none.
    pub fn no_code(&self) -> Option<&NoCode> {
        self.code.as_ref().err()
    }

    /// `sha256:…` over names, modes, sources and parameters of the policies.
    pub fn digest(&self) -> &str {
        &self.plan.digest
    }

    /// The plan, for inspection.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether any rule asks what happened before.
    pub fn remembers(&self) -> bool {
        !self.plan.memories.all.is_empty()
    }

    /// The names of its rules, as `policy.rule`.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<str>> {
        self.plan.rules.iter().map(|rule| &rule.name)
    }

    /// Judges one event by itself, as if nothing had happened before. Always ends in a decision; an engine fault is a
    /// deny that says so.
    pub fn judge(&self, event: &Event) -> Decision {
        self.judge_with(event, memory::none(), Engine::Jit)
    }

    /// Judges one event by what happened before, with the engine of choice. Both give the same decision.
    pub fn judge_with(&self, event: &Event, memories: &Memories, engine: Engine) -> Decision {
        self.judge_by(event, &Folded { plan: &self.plan, memories }, engine)
    }

    /// Judges one event by the full history: the reference for what memories answer.
    pub fn judge_by_history(&self, event: &Event, history: &History, engine: Engine) -> Decision {
        self.judge_by(event, &Replayed { plan: &self.plan, history }, engine)
    }

    fn judge_by(&self, event: &Event, memory: &dyn Recall, engine: Engine) -> Decision {
        // A panic would be a fault of ours; whoever asked still gets an answer, and it is no.
        let answer = catch_unwind(AssertUnwindSafe(|| self.answer(event, memory, engine)));
        answer.unwrap_or_else(|_| combine::fault(&self.plan.digest))
    }

    /// Calls back for each memory that an event could change, with what evaluates conditions on the event.
    pub(crate) fn concerned<'e>(
        &'e self,
        scene: &Scene<'e>,
        mut each: impl FnMut(&'e MemoryPlan, usize, Evaluator<'_, 'e>),
    ) {
        let kind = scene.event.kind();
        FRAME.with_borrow_mut(|frame| {
            frame.fill(&self.plan, scene.event);
            let evaluator = Evaluator { plan: &self.plan, frame, scene };
            self.plan.kind(kind).memories.candidates(frame, |number| {
                if let Some(memory) = self.plan.memories.all.get(number) {
                    each(memory, number, evaluator);
                }
            });
        });
    }

    fn answer(&self, event: &Event, memory: &dyn Recall, engine: Engine) -> Decision {
        let faults = self.plan.schemas.faults(event);
        if !faults.is_empty() {
            return combine::invalid(&self.plan.digest, faults);
        }
        FRAME.with_borrow_mut(|frame| {
            frame.fill(&self.plan, event);
            let scene = Scene::after(event, &self.plan.values, memory);
            let mut hits = Vec::new();
            for after_risk in [false, true] {
                match (engine, &self.code) {
                    (Engine::Jit, Ok(machine)) => self.run(machine, frame, &scene, after_risk, &mut hits),
                    _ => self.interpret(&scene, after_risk, &mut hits),
                }
                if !after_risk {
                    let risk = combine::risk(&self.plan, &scene, &hits);
                    scene.risk.set(risk);
                    frame.set_risk(risk);
                }
            }
            if scene.faulted.get() {
                return combine::fault(&self.plan.digest);
            }
            hits.sort_unstable();
            combine::decide(&self.plan, &scene, &hits, || self.candidates(event.kind(), frame))
        })
    }

    /// The decision about bytes that are no event.
    pub fn invalid(&self, error: InvalidEvent) -> Decision {
        combine::invalid(&self.plan.digest, error.errors)
    }

    fn candidates(&self, kind: EventKind, frame: &Frame) -> Vec<usize> {
        let mut candidates = Vec::new();
        self.plan.kind(kind).index.candidates(frame, |rule| candidates.push(rule));
        candidates
    }

    fn run<'e>(
        &'e self,
        machine: &Machine,
        frame: &Frame,
        scene: &Scene<'e>,
        after_risk: bool,
        hits: &mut Vec<Hit>,
    ) {
        let (slots, memo, answers) = (frame.slots.as_ptr(), frame.memo(), frame.answers());
        let call = Call { slots, memo, answers, frame, plan: &self.plan, scene };
        let at = scene.event.at();
        self.plan.kind(scene.event.kind()).index.candidates(frame, |number| {
            let (Some(rule), Some((unit, place))) = (self.plan.rules.get(number), machine.places.get(number))
            else {
                return;
            };
            if rule.reads_risk != after_risk || !rule.in_force(at) {
                return;
            }
            let Some(compiled) = machine.units.get(*unit) else { return };
            let truth = compiled.code.call(*place, &call, &compiled.unit.tables());
            if truth != Truth::False {
                hits.push(Hit { rule: number, truth });
            }
        });
    }

    fn interpret<'e>(&'e self, scene: &Scene<'e>, after_risk: bool, hits: &mut Vec<Hit>) {
        for number in &self.plan.kind(scene.event.kind()).rules {
            let Some(rule) = self.plan.rules.get(*number) else { continue };
            if rule.reads_risk != after_risk || !rule.in_force(scene.event.at()) {
                continue;
            }
            let truth = interpret::condition(&self.plan, scene, &rule.condition);
            if truth != Truth::False {
                hits.push(Hit { rule: *number, truth });
            }
        }
    }
}

impl Machine {
    fn new(plan: &Plan, previous: Option<&Machine>) -> Result<Machine, jit::CompileError> {
        let mut known: HashMap<[u8; 32], Arc<Code>> = previous
            .into_iter()
            .flat_map(|machine| &machine.units)
            .map(|unit| (unit.identity, Arc::clone(&unit.code)))
            .collect();
        let mut machine = Machine::default();
        let numbered: Vec<_> = plan.rules.iter().enumerate().collect();
        for of_policy in numbered.chunk_by(|(_, a), (_, b)| a.policy == b.policy) {
            for rules in of_policy.chunks(RULES_PER_UNIT) {
                let unit = Unit::new(plan, rules);
                let identity = unit.identity();
                let code = match known.get(&identity) {
                    Some(code) => Arc::clone(code),
                    None => jit::compile(&unit)?,
                };
                known.insert(identity, Arc::clone(&code));
                machine.places.extend((0..rules.len()).map(|number| (machine.units.len(), number)));
                machine.units.push(CompiledUnit { unit, identity, code });
            }
        }
        Ok(machine)
    }
}

/// The policy set in force: read by every decision, replaced whole.
#[derive(Debug)]
pub struct Active(ArcSwap<Generation>);

impl Active {
    /// Starts with this generation.
    pub fn new(generation: Generation) -> Active {
        Active(ArcSwap::from_pointee(generation))
    }

    /// The generation in force now; hold it for the whole of one decision.
    pub fn snapshot(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// Puts a generation in force.
    pub fn publish(&self, generation: Arc<Generation>) {
        self.0.store(generation);
    }
}
