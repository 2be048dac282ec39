//! The truths of all rules to one decision.
//!
//! Both engines end here: they differ only in how they find the truths.

use std::collections::BTreeSet;
use std::sync::Arc;

use lictor_dsl::events::EventKind;
use lictor_dsl::hir::{self, Effect};
use lictor_dsl::number::Number;

use crate::decision::*;
use crate::event::FieldError;
use crate::interpret::{self, blame, expr::Scene};
use crate::plan::{Cond, ExemptionPlan, Plan, RulePlan, predicates_of};
use crate::truth::Truth;

/// A rule whose condition was not false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub rule: usize,
    pub truth: Truth,
}

/// Whether a rule applies, given the truth of its condition.
///
/// What is unknown can't be ruled out, so a restriction (deny, require approval) applies; nothing else does.
pub(crate) fn applies(effect: Option<&Effect>, truth: Truth) -> bool {
    match truth {
        Truth::True => true,
        Truth::False => false,
        Truth::Unknown => effect.is_some_and(Effect::restricts),
    }
}

/// The first exemption from this rule that holds. One whose condition is unknown does not.
fn exemption<'e>(rule: &'e RulePlan, scene: &Scene<'e>) -> Option<&'e ExemptionPlan> {
    if rule.exemptions.is_empty() {
        return None;
    }
    let now = scene.event.at();
    rule.exemptions
        .iter()
        .find(|exemption| now < exemption.until_us && scene.predicate(&exemption.condition).0 == Truth::True)
}

/// The risk: the sum of the scores of the rules that certainly match, held to 0..1.
pub(crate) fn risk<'e>(plan: &'e Plan, scene: &Scene<'e>, hits: &[Hit]) -> Number {
    let scores = hits.iter().filter(|hit| hit.truth == Truth::True).filter_map(|hit| {
        let rule = plan.rules.get(hit.rule)?;
        let score = rule.score?;
        (!rule.shadow && !filling(rule, scene) && exemption(rule, scene).is_none()).then_some(score)
    });
    scores.fold(Number::ZERO, Number::plus).clamped(Number::ZERO, Number::ONE)
}

/// A decision that only says what is wrong with the event.
pub(crate) fn invalid(policy_set: &Arc<str>, errors: Vec<FieldError>) -> Decision {
    let reason = errors.first().map(|error| match error.field.as_str() {
        "" => error.message.clone(),
        field => format!("{field}: {}", error.message),
    });
    Decision { reason, errors, ..bare(Outcome::Deny, Class::InvalidInput, policy_set) }
}

/// The decision where the engine failed: a deny that says so.
pub(crate) fn fault(policy_set: &Arc<str>) -> Decision {
    let reason = Some("the engine could not answer".to_owned());
    Decision { reason, ..bare(Outcome::Deny, Class::EngineFault, policy_set) }
}

fn bare(decision: Outcome, class: Class, policy_set: &Arc<str>) -> Decision {
    Decision {
        decision,
        class,
        risk: Number::ZERO,
        reason: None,
        rules: Vec::new(),
        approval: None,
        incidents: Vec::new(),
        obligations: Vec::new(),
        nearest: None,
        errors: Vec::new(),
        policy_set: Arc::clone(policy_set),
    }
}

/// One hit with what combining needs to know of it.
struct Part<'e> {
    rule: &'e RulePlan,
    truth: Truth,
    /// The exemption that holds, if one does.
    exemption: Option<&'e ExemptionPlan>,
    /// Whether it waits for a memory to be filled.
    filling: bool,
}

impl Part<'_> {
    /// Whether it counts towards the outcome.
    fn enforces(&self) -> bool {
        !self.in_shadow() && self.exemption.is_none() && applies(self.rule.effect.as_ref(), self.truth)
    }

    /// Whether it reports and decides nothing.
    fn in_shadow(&self) -> bool {
        self.rule.shadow || self.filling
    }

    fn outcome(&self) -> Option<Outcome> {
        self.rule.effect.as_ref().map(outcome)
    }
}

/// The outcome that an effect asks for.
pub(crate) fn outcome(effect: &Effect) -> Outcome {
    match effect {
        Effect::Deny => Outcome::Deny,
        Effect::RequireApproval { .. } => Outcome::RequireApproval,
        Effect::Warn => Outcome::Warn,
        Effect::Allow => Outcome::Allow,
    }
}

/// What happens to a kind of event where no rule says, and policies set no default.
fn built_in(kind: EventKind) -> Effect {
    match kind {
        EventKind::Intent | EventKind::Action | EventKind::Request => Effect::Deny,
        EventKind::Registration | EventKind::Log | EventKind::Submission => Effect::Allow,
    }
}

/// Combines the hits, which are in the order of `Plan::ranks`. `permits` are the rules that allow and whose texts are met.
pub(crate) fn decide<'e>(
    plan: &'e Plan,
    scene: &Scene<'e>,
    hits: &[Hit],
    permits: impl FnOnce() -> Vec<usize>,
) -> Decision {
    let mut parts = Vec::with_capacity(hits.len());
    parts.extend(hits.iter().filter_map(|hit| {
        let rule = plan.rules.get(hit.rule)?;
        Some(Part {
            rule,
            truth: hit.truth,
            exemption: exemption(rule, scene),
            filling: filling(rule, scene),
        })
    }));
    let mut decision = bare(Outcome::Deny, Class::EngineFault, &plan.digest);
    decision.risk = scene.risk.get();
    decision.rules.reserve_exact(parts.len());
    let mut overrun = None;
    for part in &parts {
        let (report, too_long) = report(plan, scene, part);
        // Whatever the rule asks for: a score that is missing can be what lets something through.
        if too_long && !part.in_shadow() && part.exemption.is_none() {
            overrun.get_or_insert_with(|| part.rule.name.clone());
        }
        decision.rules.push(report);
        if part.truth == Truth::True && part.exemption.is_none() {
            decision
                .incidents
                .extend(part.rule.incident.as_ref().map(|incident| open(plan, scene, part, incident)));
            let obligations = part.rule.obligations.iter();
            decision
                .obligations
                .extend(obligations.map(|obligation| self::obligation(obligation, part.in_shadow())));
        }
    }
    if let Some(rule) = overrun {
        decision.reason = Some(format!("rule {rule} takes too many steps on this event"));
        return decision;
    }
    let fallback = [built_in(scene.event.kind())];
    let defaults = match plan.kind(scene.event.kind()).defaults.as_slice() {
        [] => &fallback[..],
        set => set,
    };
    let enforcing = || parts.iter().filter(|part| part.enforces() && part.rule.effect.is_some());
    let strongest = enforcing().next().and_then(Part::outcome);
    let allows = || enforcing().any(|part| part.outcome() == Some(Outcome::Allow));
    let by_default = || match defaults.first().unwrap_or(&Effect::Deny) {
        Effect::Deny => (Outcome::Deny, Class::NotPermitted),
        Effect::RequireApproval { .. } => (Outcome::RequireApproval, Class::ApprovalRequired),
        Effect::Warn => (Outcome::Warn, Class::Allowed),
        Effect::Allow => (Outcome::Allow, Class::Allowed),
    };
    let undecided = |certain: Class| {
        let mut carrying = enforcing().filter(|part| part.outcome() == strongest);
        if carrying.all(|part| part.truth == Truth::Unknown) { Class::Undecided } else { certain }
    };
    (decision.decision, decision.class) = match strongest {
        Some(Outcome::Deny) => (Outcome::Deny, undecided(Class::DeniedByRule)),
        Some(Outcome::RequireApproval) => (Outcome::RequireApproval, undecided(Class::ApprovalRequired)),
        // A warning grants nothing: whether it may happen is said by an `allow` or by the default.
        Some(Outcome::Warn) if allows() => (Outcome::Warn, Class::Allowed),
        Some(Outcome::Warn) => match by_default() {
            (Outcome::Allow, class) => (Outcome::Warn, class),
            other => other,
        },
        Some(Outcome::Allow) => (Outcome::Allow, Class::Allowed),
        None => by_default(),
    };
    let outcome = Some(decision.decision);
    let carriers = || enforcing().filter(|part| part.outcome() == outcome);
    // What is certain says more than what could not be ruled out.
    let certain = carriers().find(|part| part.truth == Truth::True);
    decision.reason = reason(&decision, certain.or_else(|| carriers().next()));
    if decision.decision == Outcome::RequireApproval {
        let effects: Vec<&Effect> = carriers().filter_map(|part| part.rule.effect.as_ref()).collect();
        decision.approval =
            Some(approval(if effects.is_empty() { defaults.iter().collect() } else { effects }));
    }
    if decision.class == Class::NotPermitted {
        decision.nearest = nearest(plan, scene, permits());
    }
    decision
}

fn report<'e>(plan: &'e Plan, scene: &Scene<'e>, part: &Part<'e>) -> (RuleReport, bool) {
    let found = match part.truth {
        Truth::Unknown => blame::blame(plan, scene, &part.rule.condition),
        _ => blame::Blame::default(),
    };
    let counts = part.truth == Truth::True && part.exemption.is_none();
    let report = RuleReport {
        rule: part.rule.name.clone(),
        effect: part.outcome(),
        truth: if part.truth == Truth::True { ReportedTruth::True } else { ReportedTruth::Unknown },
        missing: found.missing,
        score: part.rule.score.map(|score| if counts { score } else { Number::ZERO }),
        because: part.rule.because.as_ref().map(|because| scene.render(because)),
        controls: part.rule.controls.clone(),
        mode: if part.in_shadow() { Mode::Shadow } else { Mode::Enforce },
        filling: part.filling,
        exempted: part.exemption.is_some(),
        exemption: part.exemption.map(|exemption| scene.render(&exemption.because)),
    };
    (report, found.overrun)
}

/// Why the outcome is what it is, by the first rule that carries it.
fn reason(decision: &Decision, carrier: Option<&Part<'_>>) -> Option<String> {
    let report = carrier.and_then(|part| decision.rules.iter().find(|report| report.rule == part.rule.name));
    match (report, decision.class) {
        (Some(RuleReport { because: Some(because), .. }), _) => Some(because.clone()),
        (Some(report), class) if class != Class::Allowed => Some(match report.truth {
            ReportedTruth::True => format!("rule {} applies", report.rule),
            ReportedTruth::Unknown => {
                format!("rule {} can't be ruled out without {}", report.rule, report.missing.join(", "))
            }
        }),
        (None, Class::NotPermitted) => Some("no rule allows this".to_owned()),
        (None, Class::ApprovalRequired) => Some("the default asks for approval".to_owned()),
        _ => None,
    }
}

/// All approvals that are asked for as one: every group, the most people, the shortest time.
fn approval(effects: Vec<&Effect>) -> Approval {
    let mut combined = Approval { from: Vec::new(), count: 1, within_s: None };
    for effect in effects {
        if let Effect::RequireApproval { from, by, within_s } = effect {
            combined.from.extend(from.clone());
            combined.count = combined.count.max(*by);
            combined.within_s = [combined.within_s, *within_s].into_iter().flatten().min();
        }
    }
    combined.from.sort_unstable();
    combined.from.dedup();
    combined
}

fn open<'e>(
    plan: &'e Plan,
    scene: &Scene<'e>,
    part: &Part<'e>,
    incident: &'e crate::plan::IncidentPlan,
) -> IncidentReport {
    let rule = part.rule;
    let mut key: Vec<String> = incident.per.iter().map(|part| scene.render(part)).collect();
    if key.is_empty() {
        key.push(scene.event.agent_id().to_owned());
    }
    let title = incident.title.as_ref().or(rule.because.as_ref());
    IncidentReport {
        rule: rule.name.clone(),
        severity: incident.severity,
        key,
        title: title.map_or_else(|| rule.name.to_string(), |title| scene.render(title)),
        fold_s: incident.fold_s,
        witnesses: witnesses(plan, scene, rule),
        shadow: part.in_shadow(),
    }
}

/// The earlier events that a true condition rests on.
fn witnesses<'e>(plan: &'e Plan, scene: &Scene<'e>, rule: &'e RulePlan) -> Vec<u64> {
    if rule.memories.is_empty() {
        return Vec::new();
    }
    let mut predicates = Vec::new();
    predicates_of(&rule.condition, &mut predicates);
    let nodes = predicates.into_iter().filter_map(|number| Some(&plan.predicate(number)?.node));
    let events: BTreeSet<u64> = nodes.flat_map(|node| scene.witnesses(node)).collect();
    // The latest hundred.
    events.iter().skip(events.len().saturating_sub(100)).copied().collect()
}

/// Whether a rule asks a memory that is not filled yet.
fn filling(rule: &RulePlan, scene: &Scene<'_>) -> bool {
    !rule.memories.iter().all(|memory| scene.memory().is_ready(*memory))
}

/// An obligation as decisions show it.
pub(crate) fn obligation(obligation: &hir::Obligation, shadow: bool) -> Obligation {
    let (action, to, path) = match obligation {
        hir::Obligation::Notify(channel) => ("notify", Some(channel.clone()), None),
        hir::Obligation::Redact(path) => ("redact", None, Some(path.clone())),
        hir::Obligation::Pause => ("pause", None, None),
        hir::Obligation::Freeze => ("freeze", None, None),
        hir::Obligation::Judge => ("judge", None, None),
    };
    Obligation { action: action.to_owned(), to, path, shadow }
}

/// Of the `allow` rules that could match, the one with the most true parts, then by name.
fn nearest<'e>(plan: &'e Plan, scene: &Scene<'e>, permits: Vec<usize>) -> Option<Nearest> {
    let mut best: Option<(usize, Nearest)> = None;
    for rule in permits.into_iter().filter_map(|number| plan.rules.get(number)) {
        if rule.effect != Some(Effect::Allow)
            || rule.shadow
            || filling(rule, scene)
            || !rule.in_force(scene.event.at())
        {
            continue;
        }
        let parts: &[Cond] = match &rule.condition {
            Cond::And(parts) => parts,
            whole => std::slice::from_ref(whole),
        };
        let truths: Vec<Truth> = parts.iter().map(|part| interpret::condition(plan, scene, part)).collect();
        let held = truths.iter().filter(|truth| **truth == Truth::True).count();
        let failed = parts.iter().zip(&truths).find(|(_, truth)| **truth != Truth::True);
        let Some((failed, _)) = failed else { continue };
        let nearest = Nearest { rule: rule.name.clone(), failed: plan.show(failed) };
        let better = best
            .as_ref()
            .is_none_or(|(most, known)| held > *most || held == *most && nearest.rule < known.rule);
        if better {
            best = Some((held, nearest));
        }
    }
    best.map(|(_, nearest)| nearest)
}
