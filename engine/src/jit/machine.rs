//! The machine code of a plan: the routines of its rules, and which of them a kind of event calls.

use std::collections::HashMap;
use std::sync::Arc;

use lictor_dsl::events::EventKind;
use lictor_dsl::parallel;

use super::abi::Call;
use super::code::Code;
use super::unit::{Numbers, Routine, Start};
use super::{CompileError, compile};
use crate::combine::Hit;
use crate::frame::Frame;
use crate::interpret::expr::Scene;
use crate::limits::RULES_PER_UNIT;
use crate::plan::Plan;
use crate::truth::Truth;

/// The machine code of all rules.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    numbers: Numbers,
    /// Every routine once.
    routines: Vec<Routine>,
    /// For each of them its code, and the number of its function there.
    code: Vec<(Arc<Code>, usize)>,
    /// For each rule how it is called alone, if it is.
    alone: Vec<Option<Alone>>,
    sweeps: Vec<Swept>,
    /// By kind of event what nothing rules out.
    always: Vec<Always>,
}

/// All that calling a rule takes: one look into one list.
#[derive(Debug, Clone, Copy)]
struct Alone {
    routine: u32,
    /// Where its numbers begin.
    start: Start,
    reads_risk: bool,
    /// Whether it is in force between dates only, or reads values inside json: the plan has to be asked.
    asks: bool,
}

/// Up to 64 rules of one policy that nothing rules out in some kind of event.
#[derive(Debug)]
struct Swept {
    rules: Vec<usize>,
    routine: usize,
    start: Start,
}

/// The rules of one kind of event that nothing rules out.
#[derive(Debug, Default)]
struct Always {
    /// Those that don't read the risk, and those that do.
    sweeps: [Vec<Sweep>; 2],
    /// The slots of values inside json that these read.
    taken: Vec<usize>,
    /// Those that are in force between dates only: called alone.
    dated: Vec<usize>,
}

/// Rules that are swept together, a bit each.
#[derive(Debug)]
struct Sweep {
    swept: usize,
    wanted: u64,
}

/// How a rule is called, over all kinds of events: by itself, or together with others that nothing rules out.
#[derive(Debug, Default, Clone, Copy)]
struct Calls {
    alone: bool,
    swept: bool,
}

impl Machine {
    /// Compiles a plan; what means the same as in the previous one keeps its code.
    pub(crate) fn new(plan: &Plan, previous: Option<&Machine>) -> Result<Machine, CompileError> {
        let calls = calls(plan);
        let (mut machine, mut routines) = (Machine::default(), Routines::default());
        for (rule, calls) in plan.rules.iter().zip(&calls) {
            let mut alone = || {
                let (start, routine) = machine.numbers.alone(plan, &rule.condition);
                let asks = rule.has_dates() || !rule.taken.is_empty();
                Alone { routine: routines.number(routine) as u32, start, reads_risk: rule.reads_risk, asks }
            };
            machine.alone.push(calls.alone.then(&mut alone));
        }
        let swept = plan.rules.iter().enumerate().zip(&calls).filter(|(_, calls)| calls.swept);
        let swept: Vec<_> = swept.map(|(rule, _)| rule).collect();
        for of_policy in swept.chunk_by(|(_, a), (_, b)| a.policy() == b.policy()) {
            for rules in of_policy.chunks(RULES_PER_UNIT) {
                let conditions = rules.iter().map(|(_, rule)| &rule.condition);
                let (start, routine) = machine.numbers.sweep(plan, conditions);
                let rules = rules.iter().map(|(number, _)| *number).collect();
                machine.sweeps.push(Swept { rules, routine: routines.number(routine), start });
            }
        }
        machine.routines = routines.in_order();
        machine.code = code_of(&machine.routines, previous)?;
        machine.always = machine.always_of_kinds(plan);
        Ok(machine)
    }

    fn always_of_kinds(&self, plan: &Plan) -> Vec<Always> {
        let mut places = vec![None; plan.rules.len()];
        for (number, swept) in self.sweeps.iter().enumerate() {
            for (place, rule) in swept.rules.iter().enumerate() {
                if let Some(known) = places.get_mut(*rule) {
                    *known = Some((number, place));
                }
            }
        }
        EventKind::ALL.iter().map(|kind| always_of(plan, *kind, &places)).collect()
    }

    /// Finds the rules that are not false: of the candidates, and of those that nothing rules out.
    pub(crate) fn run<'e>(
        &self,
        plan: &'e Plan,
        frame: &Frame,
        scene: &Scene<'e>,
        candidates: &[usize],
        after_risk: bool,
        hits: &mut Vec<Hit>,
    ) {
        let (slots, memo, answers) = (frame.slots(), frame.memo(), frame.answers());
        let call = Call { slots, memo, answers, frame, plan, scene };
        let mut alone = |number: usize| {
            let Some(Some(alone)) = self.alone.get(number) else { return };
            if alone.reads_risk != after_risk {
                return;
            }
            if alone.asks {
                let Some(rule) = plan.rules.get(number).filter(|rule| rule.in_force(scene.event.at())) else {
                    return;
                };
                for slot in &rule.taken {
                    frame.slot(plan, scene, *slot);
                }
            }
            let Some((code, function)) = self.code.get(alone.routine as usize) else { return };
            let truth = code.call(*function, &call, &self.numbers.tables(alone.start));
            if truth != Truth::False {
                hits.push(Hit { rule: number, truth });
            }
        };
        candidates.iter().for_each(|number| alone(*number));
        let Some(always) = self.always.get(scene.event.kind() as usize) else { return };
        always.dated.iter().for_each(|number| alone(*number));
        for slot in &always.taken {
            frame.slot(plan, scene, *slot);
        }
        let [before, after] = &always.sweeps;
        for sweep in if after_risk { after } else { before } {
            let Some(swept) = self.sweeps.get(sweep.swept) else { continue };
            let Some((code, function)) = self.code.get(swept.routine) else { continue };
            let tables = self.numbers.tables(swept.start);
            code.sweep(*function, sweep.wanted, &call, &tables, |place, truth| {
                if let Some(rule) = swept.rules.get(place) {
                    hits.push(Hit { rule: *rule, truth });
                }
            });
        }
    }
}

/// The rules of one kind that nothing rules out; `places` tells for each rule its sweep, and its number there.
fn always_of(plan: &Plan, kind: EventKind, places: &[Option<(usize, usize)>]) -> Always {
    let mut always = Always::default();
    for number in &plan.kind(kind).index.always {
        let Some(rule) = plan.rules.get(*number) else { continue };
        let Some(Some((swept, place))) = places.get(*number).filter(|_| !rule.has_dates()) else {
            always.dated.push(*number);
            continue;
        };
        always.taken.extend(&rule.taken);
        let [before, after] = &mut always.sweeps;
        let sweeps = if rule.reads_risk { after } else { before };
        match sweeps.last_mut().filter(|sweep| sweep.swept == *swept) {
            Some(sweep) => sweep.wanted |= 1 << place,
            None => sweeps.push(Sweep { swept: *swept, wanted: 1 << place }),
        }
    }
    always.taken.sort_unstable();
    always.taken.dedup();
    always
}

/// Routines by what they mean, numbered in the order in which they were met.
#[derive(Default)]
struct Routines(HashMap<Routine, usize, foldhash::fast::RandomState>);

impl Routines {
    fn number(&mut self, routine: Routine) -> usize {
        let next = self.0.len();
        *self.0.entry(routine).or_insert(next)
    }

    fn in_order(self) -> Vec<Routine> {
        let mut numbered: Vec<_> = self.0.into_iter().collect();
        numbered.sort_unstable_by_key(|(_, number)| *number);
        numbered.into_iter().map(|(routine, _)| routine).collect()
    }
}

/// The code of routines: that of the previous machine where it has them, else compiled.
fn code_of(
    routines: &[Routine],
    previous: Option<&Machine>,
) -> Result<Vec<(Arc<Code>, usize)>, CompileError> {
    let known = previous.into_iter().flat_map(|machine| machine.routines.iter().zip(&machine.code));
    let known: HashMap<_, _, foldhash::fast::RandomState> = known.collect();
    let missing: Vec<&Routine> = routines.iter().filter(|routine| !known.contains_key(routine)).collect();
    let units: Vec<&[&Routine]> = missing.chunks(RULES_PER_UNIT).collect();
    let compiled = parallel::map(&units, |unit| compile(unit)).into_iter().collect::<Result<Vec<_>, _>>()?;
    let mut fresh = HashMap::<_, _, foldhash::fast::RandomState>::default();
    for (unit, code) in units.iter().zip(&compiled) {
        fresh.extend(unit.iter().enumerate().map(|(function, routine)| (*routine, (code, function))));
    }
    let code = |routine| {
        let (code, function) = match known.get(routine) {
            Some((code, function)) => (code, *function),
            None => *fresh.get(routine)?,
        };
        Some((Arc::clone(code), function))
    };
    let all: Option<Vec<_>> = routines.iter().map(code).collect();
    all.ok_or_else(|| CompileError::Machine("a routine has no code".to_owned()))
}

/// How each rule is called, over all kinds of events.
fn calls(plan: &Plan) -> Vec<Calls> {
    let mut calls = vec![Calls::default(); plan.rules.len()];
    for kind in EventKind::ALL {
        let kind = plan.kind(kind);
        // The numbers are in order, so both lists are gone through once.
        let mut always = kind.index.always.iter().peekable();
        for number in &kind.rules {
            let is_always = always.next_if_eq(&number).is_some();
            let (Some(calls), Some(rule)) = (calls.get_mut(*number), plan.rules.get(*number)) else {
                continue;
            };
            let swept = is_always && !rule.has_dates();
            calls.swept |= swept;
            calls.alone |= !swept;
        }
    }
    calls
}
