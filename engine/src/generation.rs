//! One compiled policy set and its digest; reading and replacing the one in force.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use lictor_dsl::hir::PolicySet;

use crate::combine::{self, Hit};
use crate::cost::Cost;
use crate::decision::Decision;
use crate::evaluate::Evaluator;
use crate::event::{Event, InvalidEvent};
use crate::frame::Frame;
use crate::interpret::{self, expr::Scene};
use crate::jit;
use crate::jit::machine::Machine;
use crate::memory::history::{History, Replayed};
use crate::memory::store::Folded;
use crate::memory::{self, Memories, Recall};
use crate::plan::memory::MemoryPlan;
use crate::plan::{Plan, PlanError, Planner};
use crate::truth::Truth;

/// What finds the truths of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Machine code, for the rules that the index does not rule out.
    Jit,
    /// The reference interpreter, for every rule.
    Interpreter,
}

/// One policy set ready to judge: a decision belongs to exactly one and names it. What it means never changes; machine
/// code may join it later, and answers the same.
#[derive(Debug)]
pub struct Generation {
    plan: Arc<Plan>,
    code: OnceLock<Result<Machine, NoCode>>,
}

/// Why a generation is interpreted.
#[derive(Debug)]
pub enum NoCode {
    /// There is none yet, or nobody asked for any.
    NotYet,
    /// It can't be had: the interpreter answers, slower and the same.
    Failed(jit::CompileError),
}

/// What judging needs room for, reused so that it allocates nothing.
#[derive(Debug, Default)]
struct Scratch {
    frame: Frame,
    candidates: Vec<usize>,
    hits: Vec<Hit>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Generation {
    /// Plans and compiles a checked policy set. CPU-bound: call it off the request path.
    pub fn compile(set: &PolicySet) -> Result<Generation, PlanError> {
        Generation::replacing(set, None)
    }

    /// Compiles a set that takes the place of another: what means the same keeps its code.
    pub fn replacing(set: &PolicySet, previous: Option<&Generation>) -> Result<Generation, PlanError> {
        let generation = Generation::interpreted(set)?;
        generation.make_code(previous);
        Ok(generation)
    }

    /// Plans a set without compiling it: the interpreter answers, until there is machine code.
    pub fn interpreted(set: &PolicySet) -> Result<Generation, PlanError> {
        Ok(Generation { plan: Arc::new(Plan::new(set)?), code: OnceLock::new() })
    }

    /// The same with what the set has in common with the one that was planned before it.
    pub fn interpreted_by(planner: &mut Planner, set: &PolicySet) -> Result<Generation, PlanError> {
        Ok(Generation { plan: planner.plan(set)?, code: OnceLock::new() })
    }

    /// Compiles it, if that was not done: from the next decision on machine code answers, also where this generation is
    /// in force already. CPU-bound. Code that the previous one has, and that means the same, is shared.
    pub fn make_code(&self, previous: Option<&Generation>) {
        self.code.get_or_init(|| {
            let previous = previous.and_then(Generation::machine);
            Machine::new(&self.plan, previous).map_err(NoCode::Failed)
        });
    }

    fn machine(&self) -> Option<&Machine> {
        self.code.get()?.as_ref().ok()
    }

    /// Compiles a set without its index, so that every rule is looked at: for comparison.
    #[doc(hidden)]
    pub fn unindexed(set: &PolicySet) -> Result<Generation, PlanError> {
        let generation = Generation { plan: Arc::new(Plan::new(set)?.unindexed()), code: OnceLock::new() };
        generation.make_code(None);
        Ok(generation)
    }

    /// Why there is no machine code, if there is none.
    pub fn no_code(&self) -> Option<&NoCode> {
        self.code.get().map_or(Some(&NoCode::NotYet), |code| code.as_ref().err())
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

    /// Judges one event by what happened before, and says what that cost.
    pub fn judge_counted(&self, event: &Event, memories: &Memories) -> (Decision, Cost) {
        let mut cost = Cost::default();
        let decision =
            self.judge_metered(event, &Folded { plan: &self.plan, memories }, Engine::Jit, &mut cost);
        (decision, Cost { json: event.json_read() as u64, ..cost })
    }

    /// What finding the rules that could match costs, without looking at any: the same with and without machine code.
    pub fn find_counted(&self, event: &Event) -> Cost {
        let kind = self.plan.kind(event.kind());
        SCRATCH.with_borrow_mut(|Scratch { frame, candidates, .. }| {
            frame.fill(&self.plan, event);
            let scene = Scene::new(event, &self.plan.values);
            kind.index.candidates(&self.plan, frame, &scene, candidates);
            let rules = (candidates.len() + kind.index.always.len()) as u64;
            Cost { rules, json: event.json_read() as u64, ..scene.meter.cost(frame.cost()) }
        })
    }

    fn judge_by(&self, event: &Event, memory: &dyn Recall, engine: Engine) -> Decision {
        self.judge_metered(event, memory, engine, &mut Cost::default())
    }

    fn judge_metered(&self, event: &Event, memory: &dyn Recall, engine: Engine, cost: &mut Cost) -> Decision {
        // A panic would be a fault of ours; whoever asked still gets an answer, and it is no.
        let answer = catch_unwind(AssertUnwindSafe(|| self.answer(event, memory, engine, cost)));
        answer.unwrap_or_else(|_| combine::fault(&self.plan.digest))
    }

    /// Calls back for each memory that an event could change, with what evaluates conditions on the event.
    pub(crate) fn concerned<'e>(
        &'e self,
        scene: &Scene<'e>,
        mut each: impl FnMut(&'e MemoryPlan, usize, Evaluator<'_, 'e>),
    ) {
        let index = &self.plan.kind(scene.event.kind()).memories;
        SCRATCH.with_borrow_mut(|Scratch { frame, candidates, .. }| {
            frame.fill(&self.plan, scene.event);
            index.candidates(&self.plan, frame, scene, candidates);
            let evaluator = Evaluator { plan: &self.plan, frame, scene };
            for number in index.always.iter().chain(candidates.iter()) {
                if let Some(memory) = self.plan.memories.all.get(*number) {
                    each(memory, *number, evaluator);
                }
            }
        });
    }

    fn answer(&self, event: &Event, memory: &dyn Recall, engine: Engine, cost: &mut Cost) -> Decision {
        let faults = self.plan.schemas.faults(event);
        if !faults.is_empty() {
            return combine::invalid(&self.plan.digest, faults);
        }
        let kind = self.plan.kind(event.kind());
        SCRATCH.with_borrow_mut(|Scratch { frame, candidates, hits }| {
            frame.fill(&self.plan, event);
            let scene = Scene::after(event, &self.plan.values, memory);
            let machine = self.machine().filter(|_| engine == Engine::Jit);
            if machine.is_some() {
                kind.index.candidates(&self.plan, frame, &scene, candidates);
            }
            hits.clear();
            let run = |frame: &Frame, after_risk: bool, hits: &mut Vec<Hit>| match machine {
                Some(machine) => machine.run(&self.plan, frame, &scene, candidates, after_risk, hits),
                None => self.interpret(&scene, after_risk, hits),
            };
            run(frame, false, hits);
            let risk = combine::risk(&self.plan, &scene, hits);
            scene.risk.set(risk);
            if kind.reads_risk {
                frame.set_risk(risk);
                run(frame, true, hits);
            }
            if scene.faulted.get() {
                return combine::fault(&self.plan.digest);
            }
            hits.sort_unstable_by_key(|hit| self.plan.ranks.get(hit.rule));
            let decision = combine::decide(&self.plan, &scene, hits, || {
                let mut permits = Vec::new();
                kind.permits.candidates(&self.plan, frame, &scene, &mut permits);
                permits.extend(&kind.permits.always);
                permits
            });
            let rules =
                if machine.is_some() { candidates.len() + kind.index.always.len() } else { kind.rules.len() };
            *cost = Cost { rules: rules as u64, ..scene.meter.cost(frame.cost()) };
            decision
        })
    }

    /// The decision about bytes that are no event.
    pub fn invalid(&self, error: InvalidEvent) -> Decision {
        combine::invalid(&self.plan.digest, error.errors)
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
