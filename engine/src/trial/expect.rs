//! What a test expects, against what came out.

use lictor_dsl::hir::{Comparison, Expect, Expr, Policy};

use crate::combine;
use crate::decision::{Class, Decision, Mode, ReportedTruth, RuleReport};
use crate::event::Event;
use crate::interpret::expr::Scene;
use crate::plan::Plan;

/// What is wrong with a decision, if anything.
pub(super) fn fault(
    expect: &Expect,
    decision: &Decision,
    policy: &Policy,
    plan: &Plan,
    event: &Event,
) -> Option<String> {
    let short = |name: &str| name.strip_prefix(&format!("{}.", policy.name)).unwrap_or(name).to_owned();
    // What no rule judged shows nothing about rules.
    let unjudged = matches!(decision.class, Class::InvalidInput | Class::EngineFault);
    let of_outcome = matches!(expect, Expect::Decision { by, undecided: false, .. } if by.is_empty());
    if unjudged && !of_outcome && !matches!(expect, Expect::Because(_)) {
        let reason = decision.reason.as_deref().unwrap_or("no reason");
        return Some(format!(
            "no rule judged the event, it is denied as {}: {reason}",
            decision.class.name()
        ));
    }
    match expect {
        Expect::NoMatch => {
            let names: Vec<String> = decision.rules.iter().map(|rule| short(&rule.rule)).collect();
            (!names.is_empty()).then(|| format!("expected no match, but got {}", names.join(", ")))
        }
        Expect::Incident(severity) => {
            let wanted = severity.name();
            let opened = decision.incidents.iter().filter(|incident| !incident.shadow);
            let found: Vec<&str> = opened.map(|incident| incident.severity.name()).collect();
            (!found.contains(&wanted)).then(|| match found.as_slice() {
                [] => format!("expected an incident {wanted}, but there is none"),
                found => format!("expected an incident {wanted}, but got {}", found.join(", ")),
            })
        }
        Expect::Risk(comparison, wanted) => {
            let holds = match comparison {
                Comparison::Equal | Comparison::Same => decision.risk == *wanted,
                Comparison::NotEqual => decision.risk != *wanted,
                Comparison::Less => decision.risk < *wanted,
                Comparison::LessOrEqual => decision.risk <= *wanted,
                Comparison::Greater => decision.risk > *wanted,
                Comparison::GreaterOrEqual => decision.risk >= *wanted,
            };
            (!holds).then(|| {
                format!("expected risk {} {wanted}, but it is {}", comparison.symbol(), decision.risk)
            })
        }
        Expect::Because(wanted) => match rendered(wanted, plan, event) {
            Ok(wanted) => {
                let found = decision.reason.as_deref().unwrap_or("no reason");
                (found != wanted).then(|| format!("expected because \"{wanted}\", but got \"{found}\""))
            }
            Err(reason) => Some(reason),
        },
        Expect::Do(wanted) => {
            let wanted = combine::obligation(wanted, false);
            let found = decision.obligations.iter().filter(|found| !found.shadow);
            let spoken = |one: &crate::decision::Obligation| {
                let to = one.to.as_ref().map(|to| format!(" \"{to}\""));
                let path = one.path.as_ref().map(|path| format!(" {path}"));
                format!("do {}{}", one.action, to.or(path).unwrap_or_default())
            };
            let names: Vec<String> = found.clone().map(spoken).collect();
            (!found.clone().any(|found| *found == wanted)).then(|| match names.as_slice() {
                [] => format!("expected {}, but nothing has to be done", spoken(&wanted)),
                names => format!("expected {}, but got {}", spoken(&wanted), names.join(", ")),
            })
        }
        Expect::Shadow(names) => {
            reported(decision, names, "shadow", &short, |rule| rule.mode == Mode::Shadow)
        }
        Expect::Exempted(names) => reported(decision, names, "exempted", &short, |rule| rule.exempted),
        Expect::Decision { outcome, by, undecided } => {
            let (wanted, found) = (spoken(outcome), decision.decision.name());
            if found != outcome {
                return Some(format!(
                    "expected {wanted}, but got {} ({})",
                    spoken(found),
                    decision.class.name()
                ));
            }
            if by.is_empty() {
                let class = decision.class;
                return (*undecided && class != Class::Undecided)
                    .then(|| format!("expected {wanted} undecided, but its class is {}", class.name()));
            }
            by.iter().find_map(|name| carried(decision, name, outcome, *undecided, &short))
        }
    }
}

/// What is wrong with the part of one rule in a decision.
fn carried(
    decision: &Decision,
    name: &str,
    outcome: &str,
    undecided: bool,
    short: &impl Fn(&str) -> String,
) -> Option<String> {
    let wanted = format!("expected {} by {}", spoken(outcome), short(name));
    let Some(report) = decision.rules.iter().find(|rule| &*rule.rule == name) else {
        return Some(format!("{wanted}, but that rule did not apply"));
    };
    if report.effect.map(|effect| effect.name()) != Some(outcome) {
        return Some(format!("{wanted}, but that rule asks for something else"));
    }
    if report.mode == Mode::Shadow {
        return Some(format!("{wanted}, but that rule is in shadow and decides nothing"));
    }
    if report.exempted {
        return Some(format!("{wanted}, but an exemption from that rule holds"));
    }
    let is_unknown = report.truth == ReportedTruth::Unknown;
    (is_unknown != undecided).then(|| {
        let (wanted, found) = if undecided { ("undecided", "certain") } else { ("certain", "undecided") };
        let missing = match report.missing.as_slice() {
            [] => String::new(),
            missing => format!(" (missing {})", missing.join(", ")),
        };
        format!("expected {} to be {wanted}, but it is {found}{missing}", short(name))
    })
}

/// The first of these rules that is not reported so.
fn reported(
    decision: &Decision,
    names: &[String],
    how: &str,
    short: &impl Fn(&str) -> String,
    holds: impl Fn(&RuleReport) -> bool,
) -> Option<String> {
    names.iter().find_map(|name| match decision.rules.iter().find(|rule| *rule.rule == **name) {
        Some(report) if holds(report) => None,
        Some(_) => Some(format!("expected {how} {}, but that rule is not {how}", short(name))),
        None => Some(format!("expected {how} {}, but that rule did not apply", short(name))),
    })
}

/// A text with the values of parameters filled in, as decisions fill them in.
fn rendered(text: &Expr, plan: &Plan, event: &Event) -> Result<String, String> {
    let node = plan.lower(text)?;
    let scene = Scene::new(event, &plan.values);
    Ok(scene.render(&node))
}

fn spoken(outcome: &str) -> String {
    outcome.replace('_', " ")
}
