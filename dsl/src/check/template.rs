//! `extends`: whose names a policy may use, and that it only adds to them or tightens.

use std::sync::Arc;

use super::scope::Scope;
use super::{Known, UNNAMED};
use crate::ast::{self, Clause, Effect, ItemKind};
use crate::diagnostics::{Diagnostic, effects, names, syntax};
use crate::events::EventKind;
use crate::hir;
use crate::number::Number;

/// What a policy extends.
#[derive(Default)]
pub(super) struct Chain {
    /// The numbers of the files, nearest first.
    pub bases: Vec<usize>,
    /// Names whose declarations can't be read, in the policy or in what it extends.
    pub broken: Vec<String>,
}

/// The chain of each file.
pub(super) fn chains(files: &[Arc<ast::File>], out: &mut Vec<Diagnostic>) -> Vec<Chain> {
    let headers: Vec<Option<&ast::Header>> = files.iter().map(|file| super::header(file)).collect();
    let names = || headers.iter().flatten().map(|header| header.name.value.as_str());
    let find =
        |name: &str| headers.iter().position(|header| header.is_some_and(|header| header.name.value == name));
    (0..files.len())
        .map(|number| {
            let mut chain = Chain::default();
            let mut here = headers.get(number).copied().flatten();
            while let Some(base) = here.and_then(|header| header.extends.first()) {
                let is_own = chain.bases.is_empty();
                let Some(next) = find(&base.value) else {
                    // Of what a base extends, its own file is told.
                    if is_own {
                        out.push(names::unknown_policy(base.span, &base.value, names()));
                    }
                    break;
                };
                if next == number {
                    out.push(names::extends_itself(first_of(&headers, number), &base.value));
                    return Chain { broken: broken(files, number, &[]), ..Chain::default() };
                }
                if chain.bases.contains(&next) {
                    break;
                }
                chain.bases.push(next);
                here = headers.get(next).copied().flatten();
            }
            for second in headers.get(number).copied().flatten().iter().flat_map(|h| h.extends.iter().skip(1))
            {
                let help =
                    "extend one; what several have in common can be a template that each of them extends";
                out.push(syntax::header(second.span, "a header has one `extends`", help));
            }
            Chain { broken: broken(files, number, &chain.bases), ..chain }
        })
        .collect()
}

/// Where a file says what it extends.
fn first_of(headers: &[Option<&ast::Header>], number: usize) -> crate::source::Span {
    let header = headers.get(number).copied().flatten();
    header.and_then(|header| header.extends.first()).map(|base| base.span).unwrap_or_default()
}

fn broken(files: &[Arc<ast::File>], number: usize, bases: &[usize]) -> Vec<String> {
    let all = std::iter::once(&number).chain(bases).filter_map(|file| files.get(*file));
    all.flat_map(|file| file.broken.iter().cloned()).collect()
}

/// Declares the names of what a policy extends. Returns its parameters, each with the name of its policy.
pub(super) fn inherit<'a>(scope: &mut Scope<'a>, known: Known<'a>) -> Vec<(String, hir::Param)> {
    let mut params = Vec::new();
    for base in known.chain.bases.iter().rev() {
        let Some(file) = known.files.get(*base) else { continue };
        let name = super::header(file).map_or(UNNAMED, |header| &header.name.value);
        let mut policy = hir::Policy::default();
        let (said, own) = (scope.said(), std::mem::replace(&mut scope.policy, name.to_owned()));
        super::declare(scope, file, known, &mut policy);
        scope.policy = own;
        scope.unsay(said);
        params.extend(policy.params.into_iter().map(|param| (name.to_owned(), param)));
    }
    params
}

/// Reports what would let through something that the extended policies stop.
///
/// For the kinds of event that they judge, what they allow stays as it is: no rule and no default may be weaker
/// than their own default, none of their rules may be exempted from, and no score may lower the risk.
pub(super) fn only_tightens(scope: &mut Scope, file: &ast::File, known: Known) {
    let Some(nearest) = known.chain.bases.first().and_then(|base| known.files.get(*base)) else { return };
    let base = super::header(nearest).map_or(UNNAMED, |header| &header.name.value);
    let bases = known.chain.bases.iter().filter_map(|number| known.files.get(*number));
    let bases: Vec<&ast::File> = bases.map(Arc::as_ref).collect();
    let weaker = |kinds: &[ast::Name], effect: &Effect| {
        let kinds = kinds.iter().filter_map(|kind| EventKind::named(&kind.value));
        kinds.into_iter().find(|kind| fallback(&bases, *kind).is_some_and(|held| strength(effect) < held))
    };
    for item in &file.items {
        match &item.kind {
            ItemKind::Default(default) => {
                if let Some(kind) = weaker(&default.kinds, &default.effect.value) {
                    let message =
                        format!("this default is weaker than what `{base}` leaves of {} events", kind.name());
                    scope.report(effects::loosens(default.effect.span, message, base));
                }
            }
            ItemKind::Rule(rule) => {
                for clause in &rule.clauses {
                    let message = match &clause.value {
                        Clause::Effect(Effect::Allow) => match weaker(&rule.kinds, &Effect::Allow) {
                            Some(kind) => {
                                format!("this rule allows {} events that `{base}` does not", kind.name())
                            }
                            None => continue,
                        },
                        Clause::Score(score) if *score < Number::ZERO => {
                            format!("this score lowers the risk that rules of `{base}` may look at")
                        }
                        _ => continue,
                    };
                    scope.report(effects::loosens(clause.span, message, base));
                }
            }
            ItemKind::Exempt(exempt) => {
                let of = exempt.rule.value.split_once('.').map(|(policy, _)| policy);
                let exempts = bases.iter().filter_map(|file| super::header(file));
                if exempts.map(|header| header.name.value.as_str()).any(|name| Some(name) == of) {
                    let message = format!("this exempts from a rule of `{}`", of.unwrap_or(base));
                    scope.report(effects::loosens(exempt.rule.span, message, base));
                }
            }
            _ => {}
        }
    }
}

/// What extended policies leave of a kind of event that no rule speaks of: none if they do not judge it.
fn fallback(bases: &[&ast::File], kind: EventKind) -> Option<u8> {
    let names = |kinds: &[ast::Name]| kinds.iter().any(|name| name.value == kind.name());
    let (mut judged, mut strongest) = (false, None);
    for item in bases.iter().flat_map(|file| &file.items) {
        match &item.kind {
            ItemKind::Rule(rule) => judged |= names(&rule.kinds),
            ItemKind::Default(default) if names(&default.kinds) => {
                judged = true;
                strongest = strongest.max(Some(strength(&default.effect.value)));
            }
            _ => {}
        }
    }
    let built_in = match kind {
        EventKind::Intent | EventKind::Action | EventKind::Request => strength(&Effect::Deny),
        EventKind::Registration | EventKind::Log | EventKind::Submission => strength(&Effect::Allow),
    };
    judged.then_some(strongest.unwrap_or(built_in))
}

fn strength(effect: &Effect) -> u8 {
    match effect {
        Effect::Allow => 0,
        Effect::Warn => 1,
        Effect::RequireApproval { .. } => 2,
        Effect::Deny => 3,
    }
}
