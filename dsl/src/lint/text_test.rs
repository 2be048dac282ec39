//! Tests of texts, as they answer for the texts that policies name.

use std::sync::Arc;

use crate::hir::{Const, Expr, ExprKind, PatternKind, PatternList, TextTest};
use crate::text::{fold, glob::Glob, lists, pattern};

/// A longer list of patterns is not built for this; its answers stay open.
const PATTERNS_LIMIT: usize = 1_000;

/// A test of a text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum TextCheck {
    /// `startswith` and its like.
    Part(TextTest, String),
    /// `~=`
    Same(String),
    /// `like`
    Like(String),
    /// `matches`, and whether it ignores case.
    Matches(String, bool),
    /// `in` a list of patterns.
    Patterns(Arc<PatternList>),
}

impl TextCheck {
    /// The check that a test is, and what it asks about.
    pub(super) fn of(expr: &Expr) -> Option<(TextCheck, &Expr)> {
        match &expr.kind {
            ExprKind::TextTest(test, x, word) => match super::formula::constant(word)? {
                Const::Text(word) => Some((TextCheck::Part(*test, word), x)),
                _ => None,
            },
            ExprKind::Like(x, glob) => Some((TextCheck::Like(glob.clone()), x)),
            ExprKind::Matches(x, regex, ignore_case) => {
                Some((TextCheck::Matches(regex.clone(), *ignore_case), x))
            }
            ExprKind::InPatterns(x, list) if x.ty == crate::types::Type::String => {
                Some((TextCheck::Patterns(Arc::clone(list)), x))
            }
            _ => None,
        }
    }

    /// Whether a text that is known can still leave it unknown.
    pub(super) fn can_be_unknown(&self) -> bool {
        matches!(self, TextCheck::Patterns(list) if list.kind != PatternKind::Glob)
    }

    /// What it says of these texts; none if that can't be worked out here. An answer of none is unknown.
    pub(super) fn answers(&self, texts: &[&str]) -> Option<Vec<Option<bool>>> {
        let all = |test: &dyn Fn(&str) -> Option<bool>| Some(texts.iter().map(|text| test(text)).collect());
        if texts.is_empty() {
            return Some(Vec::new());
        }
        match self {
            TextCheck::Part(test, word) => all(&|text| {
                Some(match test {
                    TextTest::StartsWith => text.starts_with(word.as_str()),
                    TextTest::EndsWith => text.ends_with(word.as_str()),
                    TextTest::Contains => text.contains(word.as_str()),
                    TextTest::ContainsWord => fold::contains_word(text, word),
                })
            }),
            TextCheck::Same(word) => {
                let word = fold::fold(word);
                all(&|text| Some(fold::fold(text) == word))
            }
            TextCheck::Like(glob) => {
                let glob = Glob::new(glob).ok()?;
                all(&|text| Some(glob.is_match(text)))
            }
            TextCheck::Matches(regex, ignore_case) => {
                let regex = pattern::regex(regex, *ignore_case).ok()?;
                all(&|text| Some(regex.is_match(text)))
            }
            TextCheck::Patterns(list) if list.entries.len() > PATTERNS_LIMIT => None,
            TextCheck::Patterns(list) => match list.kind {
                PatternKind::Domain => {
                    let list = lists::DomainList::new(&list.entries).ok()?;
                    all(&|text| list.contains(text))
                }
                PatternKind::Glob => {
                    let list = lists::GlobList::new(&list.entries).ok()?;
                    all(&|text| list.contains(text))
                }
                PatternKind::Cidr => {
                    let list = lists::CidrList::new(&list.entries).ok()?;
                    all(&|text| list.contains(text))
                }
                PatternKind::Path => {
                    let list = lists::PathList::new(&list.entries).ok()?;
                    all(&|text| list.contains(text))
                }
            },
        }
    }
}
