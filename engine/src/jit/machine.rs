//! The machine code of a plan: units of rules, and which of them a kind of event calls.

use std::collections::HashMap;
use std::sync::Arc;

use lictor_dsl::events::EventKind;

use super::abi::{Call, Tables};
use super::code::Code;
use super::unit::{Calls, Unit};
use super::{CompileError, compile};
use crate::combine::Hit;
use crate::frame::Frame;
use crate::interpret::expr::Scene;
use crate::limits::RULES_PER_UNIT;
use crate::plan::{Plan, RulePlan};
use crate::truth::Truth;

/// The machine code of all rules.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    units: Vec<CompiledUnit>,
    /// For each rule how it is called.
    places: Vec<Place>,
    /// By kind of event what nothing rules out.
    always: Vec<Always>,
}

/// All that calling a rule takes: one look into one list.
#[derive(Debug, Clone, Copy)]
struct Place {
    unit: u32,
    /// Its number there.
    number: u8,
    reads_risk: bool,
    /// Whether it is in force between dates only, or reads values inside json: the plan has to be asked.
    asks: bool,
}

#[derive(Debug)]
struct CompiledUnit {
    unit: Unit,
    /// They point into the unit.
    tables: Tables,
    identity: [u8; 32],
    code: Arc<Code>,
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

/// The swept rules of a unit, a bit each.
#[derive(Debug)]
struct Sweep {
    unit: usize,
    wanted: u64,
}

impl Machine {
    /// Compiles a plan; units that mean the same as in the previous one keep their code.
    pub(crate) fn new(plan: &Plan, previous: Option<&Machine>) -> Result<Machine, CompileError> {
        let mut known: HashMap<[u8; 32], Arc<Code>> = previous
            .into_iter()
            .flat_map(|machine| &machine.units)
            .map(|unit| (unit.identity, Arc::clone(&unit.code)))
            .collect();
        let calls = calls(plan);
        let of = |number: usize| calls.get(number).copied().unwrap_or_default();
        let mut machine = Machine::default();
        let numbered: Vec<_> = plan.rules.iter().enumerate().collect();
        for of_policy in numbered.chunk_by(|(_, a), (_, b)| a.policy == b.policy) {
            for rules in of_policy.chunks(RULES_PER_UNIT) {
                let unit = Unit::new(plan, rules, of);
                let identity = unit.identity();
                let code = match known.get(&identity) {
                    Some(code) => Arc::clone(code),
                    None => compile(&unit)?,
                };
                known.insert(identity, Arc::clone(&code));
                let place = |(number, (_, rule)): (u8, &(usize, &RulePlan))| Place {
                    unit: machine.units.len() as u32,
                    number,
                    reads_risk: rule.reads_risk,
                    asks: rule.has_dates() || !rule.taken.is_empty(),
                };
                machine.places.extend((0..).zip(rules).map(place));
                machine.units.push(CompiledUnit { tables: unit.tables(), unit, identity, code });
            }
        }
        machine.always = EventKind::ALL.iter().map(|kind| machine.always_of(plan, *kind)).collect();
        Ok(machine)
    }

    fn always_of(&self, plan: &Plan, kind: EventKind) -> Always {
        let mut always = Always::default();
        for number in &plan.kind(kind).index.always {
            let (Some(rule), Some(place)) = (plan.rules.get(*number), self.places.get(*number)) else {
                continue;
            };
            if rule.has_dates() {
                always.dated.push(*number);
                continue;
            }
            always.taken.extend(&rule.taken);
            let [before, after] = &mut always.sweeps;
            let sweeps = if rule.reads_risk { after } else { before };
            let unit = place.unit as usize;
            match sweeps.last_mut().filter(|sweep| sweep.unit == unit) {
                Some(sweep) => sweep.wanted |= 1 << place.number,
                None => sweeps.push(Sweep { unit, wanted: 1 << place.number }),
            }
        }
        always.taken.sort_unstable();
        always.taken.dedup();
        always
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
            let Some(place) = self.places.get(number).filter(|place| place.reads_risk == after_risk) else {
                return;
            };
            if place.asks {
                let Some(rule) = plan.rules.get(number).filter(|rule| rule.in_force(scene.event.at())) else { return };
                for slot in &rule.taken {
                    frame.slot(plan, scene, *slot);
                }
            }
            let Some(compiled) = self.units.get(place.unit as usize) else { return };
            let truth = compiled.code.call(usize::from(place.number), &call, &compiled.tables);
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
            let Some(compiled) = self.units.get(sweep.unit) else { continue };
            compiled.code.sweep(sweep.wanted, &call, &compiled.tables, |place, truth| {
                if let Some(rule) = compiled.unit.rules.get(place) {
                    hits.push(Hit { rule: *rule, truth });
                }
            });
        }
    }
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
