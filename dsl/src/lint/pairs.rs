//! Two rules: one hides, repeats or contradicts the other.
//!
//! Only rules that could imply each other are compared: a rule can imply another only if it asks about a subject of
//! each of the other's parts, and, where the other wants certain texts, if it wants some of those itself.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::diagram::{Node, TRUE, UNKNOWN};
use super::formula::Atoms;
use super::profile::{Part, Profile};
use super::question::Question;
use super::{Judged, Matches};
use crate::diagnostics::{Diagnostic, lints};
use crate::hir::{Const, Effect};
use crate::source::Lines;

/// The most others that one rule is compared with.
const OTHERS_LIMIT: usize = 64;

/// The most comparisons in one run.
const COMPARISONS_LIMIT: usize = 20_000;

/// The most candidates that are looked at in one run.
const CANDIDATES_LIMIT: usize = 3_000_000;

/// Where a rule is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key<'a> {
    /// It wants this text of that subject.
    Text(usize, &'a Const),
    /// It asks about this subject.
    Subject(usize),
    /// It holds always.
    Always,
}

/// For each rule those that it could imply.
struct Index<'a>(HashMap<Key<'a>, Vec<usize>>);

impl<'a> Index<'a> {
    fn new(profiles: &'a [Profile]) -> Index<'a> {
        let (mut texts, mut subjects) = (HashMap::new(), HashMap::new());
        for profile in profiles {
            for key in profile.wants.iter().flat_map(keys) {
                *texts.entry(key).or_insert(0) += 1;
            }
            for subject in &profile.subjects {
                *subjects.entry(*subject).or_insert(0) += 1;
            }
        }
        // Each rule stands where it has the fewest neighbours.
        let of_texts = |want: &'a (usize, BTreeSet<Const>)| -> usize {
            keys(want).filter_map(|key| texts.get(&key)).sum()
        };
        let of_part = |part: &&Part| -> usize { part.subjects.iter().filter_map(|s| subjects.get(s)).sum() };
        let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
        for (number, profile) in profiles.iter().enumerate() {
            let mut put = |key| index.entry(key).or_default().push(number);
            let want =
                profile.wants.iter().map(|want| (of_texts(want), want)).min_by_key(|(count, _)| *count);
            let part =
                profile.parts.iter().map(|part| (of_part(&part), part)).min_by_key(|(count, _)| *count);
            match (want, part) {
                (Some((few, want)), Some((many, _))) if few <= many => keys(want).for_each(put),
                (_, Some((_, part))) => part.subjects.iter().for_each(|subject| put(Key::Subject(*subject))),
                (_, None) => put(Key::Always),
            }
        }
        Index(index)
    }

    /// The rules that this one could imply, in order.
    fn others(&self, profile: &'a Profile) -> Vec<usize> {
        let texts = profile.wants.iter().filter_map(|want| keys(want).next());
        let subjects = profile.subjects.iter().map(|subject| Key::Subject(*subject));
        let found = texts.chain(subjects).chain([Key::Always]).filter_map(|key| self.0.get(&key));
        let mut found: Vec<usize> = found.flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Where a rule that wants one of these texts can be looked up.
fn keys(want: &(usize, BTreeSet<Const>)) -> impl Iterator<Item = Key<'_>> {
    want.1.iter().map(|text| Key::Text(want.0, text))
}

/// How the truths of two rules go together.
struct Relation {
    /// Wherever the first applies the second does, and certainly if the first does.
    implied: bool,
    /// The same the other way round.
    implies: bool,
    /// Wherever the first is true the second applies.
    overridden: bool,
    /// They have the same truth on every event.
    same: bool,
}

/// Reports rules that others make superfluous or idle.
pub(super) fn check(atoms: &Atoms, judged: &[Judged], lines: &[Lines], out: &mut Vec<Diagnostic>) {
    let profiles: Vec<Profile> = judged.iter().map(|rule| Profile::of(atoms, &rule.formula)).collect();
    let index = Index::new(&profiles);
    let (mut compared, mut looked_at) = (0, 0);
    for (number, (rule, profile)) in judged.iter().zip(&profiles).enumerate() {
        if rule.matches == Matches::Nothing || !rule.enforces() {
            continue;
        }
        let mut of_rule = 0;
        let mut found: Option<(Reverse<u8>, Diagnostic)> = None;
        if compared > COMPARISONS_LIMIT || looked_at > CANDIDATES_LIMIT {
            break;
        }
        let others = index.others(profile);
        looked_at += others.len();
        for other in others {
            let (Some(by), Some(of_other)) = (judged.get(other), profiles.get(other)) else { continue };
            if other == number || by.exempted || !profile.could_imply(of_other) || !may_override(rule, by) {
                continue;
            }
            let (hides, denies) = (adds_nothing(rule, by), denies_what_is_allowed(rule, by));
            if !(hides || denies) {
                continue;
            }
            (compared, of_rule) = (compared + 1, of_rule + 1);
            if compared > COMPARISONS_LIMIT || of_rule > OTHERS_LIMIT {
                break;
            }
            let Some(relation) = relation(atoms, rule, by) else { continue };
            let name = || title(by, rule, lines);
            let this = &rule.rule.name;
            // Of two that could each do without the other, the later one is named.
            let mutual =
                relation.implies && !rule.exempted && may_override(by, rule) && adds_nothing(by, rule);
            let finding = if denies && relation.overridden {
                let diagnostic = lints::contradiction(rule.rule.span, this, &name(), relation.same);
                Some((Reverse(0), diagnostic))
            } else if !hides || !relation.implied || mutual && number < other {
                None
            } else if relation.same && mutual && rule.rule.effect == by.rule.effect {
                Some((Reverse(1), lints::duplicate_rule(rule.rule.span, this, &name())))
            } else {
                Some((Reverse(2), lints::hidden(rule.rule.span, this, &name())))
            };
            if let Some((weight, diagnostic)) = finding
                && found.as_ref().is_none_or(|(known, _)| weight > *known)
            {
                found = Some((weight, diagnostic));
            }
        }
        out.extend(found.map(|(_, diagnostic)| diagnostic));
    }
}

/// How a message names another rule.
fn title(other: &Judged, from: &Judged, lines: &[Lines]) -> String {
    let span = other.rule.span;
    if span.source != from.rule.span.source {
        return format!("`{}`", other.full_name());
    }
    let line = lines.get(span.source as usize).map_or(0, |lines| lines.line_column(span.start as usize).0);
    format!("`{}` (line {line})", other.rule.name)
}

/// Whether the other decides whenever this one could: it enforces, on the same events and days at least.
fn may_override(rule: &Judged, by: &Judged) -> bool {
    let from = match (rule.rule.from_us, by.rule.from_us) {
        (_, None) => true,
        (Some(this), Some(other)) => other <= this,
        (None, Some(_)) => false,
    };
    let until = match (rule.rule.until_us, by.rule.until_us) {
        (_, None) => true,
        (Some(this), Some(other)) => this <= other,
        (None, Some(_)) => false,
    };
    by.enforces() && from && until && rule.rule.kinds.iter().all(|kind| by.rule.kinds.contains(kind))
}

/// Whether a rule, where the other applies too, changes no decision and serves nothing of its own.
fn adds_nothing(rule: &Judged, by: &Judged) -> bool {
    let (Some(effect), Some(stronger)) = (&rule.rule.effect, &by.rule.effect) else { return false };
    let covered = match (effect, stronger) {
        // A warning grants nothing, so an `allow` beside it matters.
        (Effect::Allow, Effect::Warn) | (Effect::Allow, Effect::Deny) => false,
        (Effect::Allow | Effect::Warn, Effect::RequireApproval { .. })
        | (Effect::Allow, Effect::Allow)
        | (Effect::Warn, Effect::Warn)
        | (_, Effect::Deny) => true,
        (
            Effect::RequireApproval { from, by, within_s },
            Effect::RequireApproval { from: also_from, by: also_by, within_s: also_within },
        ) => {
            let sooner = within_s.is_none_or(|this| also_within.is_some_and(|other| other <= this));
            (from.is_none() || from == also_from) && by <= also_by && sooner
        }
        _ => false,
    };
    let mut controls = rule.rule.controls.iter().chain(&rule.policy.controls);
    let served =
        |control: &String| by.rule.controls.contains(control) || by.policy.controls.contains(control);
    covered
        && rule.rule.score.is_none()
        && rule.rule.incident.is_none()
        && rule.rule.obligations.is_empty()
        && controls.all(served)
}

fn denies_what_is_allowed(rule: &Judged, by: &Judged) -> bool {
    rule.rule.effect == Some(Effect::Allow) && by.rule.effect == Some(Effect::Deny)
}

fn relation(atoms: &Atoms, rule: &Judged, by: &Judged) -> Option<Relation> {
    let mut question = Question::new(atoms, &[&rule.formula, &by.formula])?;
    let (first, second) = (question.node(&rule.formula)?, question.node(&by.formula)?);
    let escapes = |(rule, this): (&Judged, Node), (by, other): (&Judged, Node)| {
        rule.applies(this) && (!by.applies(other) || this == TRUE && other == UNKNOWN)
    };
    let forth = question.can_both(first, second, |this, other| escapes((rule, this), (by, other)))?;
    let back = question.can_both(first, second, |this, other| escapes((by, other), (rule, this)))?;
    let spared = question.can_both(first, second, |this, other| this == TRUE && !by.applies(other))?;
    Some(Relation { implied: !forth, implies: !back, overridden: !spared, same: first == second })
}
