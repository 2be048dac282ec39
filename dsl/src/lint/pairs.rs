//! Two rules: one hides, repeats or contradicts the other.
//!
//! Only rules that could imply each other are compared: a rule can imply another only if it asks about a subject of
//! each of the other's parts, and, where the other wants certain texts, if it wants some of those itself.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::diagram::{Node, TRUE, UNKNOWN};
use super::formula::{Atoms, Formula, Test};
use super::question::Question;
use super::{Judged, Matches};
use crate::diagnostics::{Diagnostic, lints};
use crate::hir::{Comparison, Const, Effect};
use crate::source::Lines;

/// The most others that one rule is compared with.
const OTHERS_LIMIT: usize = 64;

/// The most comparisons in one run.
const COMPARISONS_LIMIT: usize = 40_000;

/// The most candidates that are looked at in one run.
const CANDIDATES_LIMIT: usize = 10_000_000;

/// What a rule asks about, for finding rules that it could imply.
struct Profile {
    /// The subjects of each part of its `and`, sorted.
    parts: Vec<Vec<usize>>,
    /// All of them.
    subjects: Vec<usize>,
    /// Texts that it wants: of which subject, which.
    wants: Vec<(usize, Vec<Const>)>,
}

impl Profile {
    fn of(atoms: &Atoms, formula: &Formula) -> Profile {
        let parts: &[Formula] = match formula {
            Formula::And(parts) => parts,
            Formula::Const(true) => &[],
            whole => std::slice::from_ref(whole),
        };
        let subjects = |formula: &Formula| {
            let mut numbers = Vec::new();
            formula.atoms(&mut numbers);
            let found = numbers.into_iter().filter_map(|number| atoms.atoms.get(number));
            let found: BTreeSet<usize> = found.map(|atom| atom.subject).collect();
            found.into_iter().collect::<Vec<usize>>()
        };
        let parts_subjects: Vec<Vec<usize>> = parts.iter().map(subjects).collect();
        Profile {
            subjects: subjects(formula),
            parts: parts_subjects,
            wants: parts.iter().filter_map(|part| wanted(atoms, part)).collect(),
        }
    }

    /// Whether a rule with this profile could hold only where the other one does.
    fn could_imply(&self, other: &Profile) -> bool {
        let known = |subject: &usize| self.subjects.binary_search(subject).is_ok();
        other.parts.iter().all(|part| part.iter().any(known))
    }
}

/// The texts that a part wants of one subject.
fn wanted(atoms: &Atoms, part: &Formula) -> Option<(usize, Vec<Const>)> {
    match part {
        Formula::Atom(number) => {
            let atom = atoms.atoms.get(*number)?;
            if atom.default.is_some() {
                return None;
            }
            match &atom.test {
                Test::Compare(Comparison::Equal, Const::Text(text)) => {
                    Some((atom.subject, vec![Const::Text(text.clone())]))
                }
                Test::In(values) => Some((atom.subject, values.clone())),
                _ => None,
            }
        }
        Formula::Or(parts) => {
            let all: Option<Vec<_>> = parts.iter().map(|part| wanted(atoms, part)).collect();
            let all = all?;
            let subject = all.first()?.0;
            all.iter()
                .all(|(other, _)| *other == subject)
                .then(|| (subject, all.into_iter().flat_map(|(_, values)| values).collect()))
        }
        _ => None,
    }
}

/// Where a rule is looked up.
#[derive(PartialEq, Eq, Hash)]
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
        let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
        let mut common: HashMap<usize, usize> = HashMap::new();
        for subject in profiles.iter().flat_map(|profile| &profile.subjects) {
            *common.entry(*subject).or_default() += 1;
        }
        let asked = |part: &Vec<usize>| part.iter().filter_map(|subject| common.get(subject)).sum::<usize>();
        for (number, profile) in profiles.iter().enumerate() {
            let mut put = |key| index.entry(key).or_default().push(number);
            let narrowest = profile.wants.iter().min_by_key(|(_, values)| values.len());
            let rarest = profile.parts.iter().min_by_key(|part| asked(part));
            match (narrowest, rarest) {
                (Some((subject, values)), _) => {
                    values.iter().for_each(|value| put(Key::Text(*subject, value)));
                }
                (None, Some(part)) => part.iter().for_each(|subject| put(Key::Subject(*subject))),
                (None, None) => put(Key::Always),
            }
        }
        Index(index)
    }

    /// The rules that this one could imply, in order.
    fn others(&self, profile: &'a Profile) -> Vec<usize> {
        let texts =
            profile.wants.iter().filter_map(|(subject, values)| Some(Key::Text(*subject, values.first()?)));
        let subjects = profile.subjects.iter().map(|subject| Key::Subject(*subject));
        let keys = texts.chain(subjects).chain([Key::Always]);
        let found: BTreeSet<usize> = keys.filter_map(|key| self.0.get(&key)).flatten().copied().collect();
        found.into_iter().collect()
    }
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
            if other == number || !may_override(rule, by) || by.exempted {
                continue;
            }
            let (hides, denies) = (adds_nothing(rule, by), denies_what_is_allowed(rule, by));
            if !(hides || denies) || !profile.could_imply(of_other) {
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
    let controls = |of: &Judged| -> Vec<String> {
        of.rule.controls.iter().chain(&of.policy.controls).cloned().collect()
    };
    let served = controls(by);
    covered
        && rule.rule.score.is_none()
        && rule.rule.incident.is_none()
        && rule.rule.obligations.is_empty()
        && controls(rule).iter().all(|control| served.contains(control))
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
