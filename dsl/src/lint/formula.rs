//! Conditions as formulas over atoms: one test of one subject against what is known when the policy is checked.
//!
//! A subject is whatever a test asks about: a field, a path in json, a count. What can't be taken apart is a subject
//! itself, true, false or unknown: that loses findings and never makes a wrong one.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use super::diagram::Budget;
use super::subject::{Subject, certain};
use super::text_test::TextCheck;
use crate::hir::*;
use crate::number::Number;
use crate::source::Span;
use crate::types::Type;

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Formula {
    Const(bool),
    Atom(usize),
    Not(Box<Formula>),
    And(Vec<Formula>),
    Or(Vec<Formula>),
    If(Box<[Formula; 3]>),
}

impl Formula {
    /// The atoms in it, each as often as it stands there.
    pub(super) fn atoms(&self, into: &mut Vec<usize>) {
        match self {
            Formula::Const(_) => {}
            Formula::Atom(atom) => into.push(*atom),
            Formula::Not(inner) => inner.atoms(into),
            Formula::And(parts) | Formula::Or(parts) => parts.iter().for_each(|part| part.atoms(into)),
            Formula::If(parts) => parts.iter().for_each(|part| part.atoms(into)),
        }
    }
}

/// One test of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Atom {
    /// What is asked about.
    pub subject: usize,
    /// The type that a json subject is taken as.
    pub take: Option<Type>,
    /// `else`: what stands for it where it is not known.
    pub default: Option<Const>,
    /// `?`: false where it is not known.
    pub soft: bool,
    /// What is asked.
    pub test: Test,
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Test {
    /// Whether it is there.
    Present,
    /// Whether it is true.
    Truth,
    /// How it compares.
    Compare(Comparison, Const),
    /// How it compares with a parameter that stays between two values; its order to the parameter is a question of
    /// its own.
    CompareParam(Comparison, Const, Const, usize),
    /// Whether it is one of these.
    In(Vec<Const>),
    /// A test of a text; for texts that the policies don't name its answer is a question of its own.
    Text(TextCheck, usize),
}

/// A value that a test asks about.
struct Term<'e> {
    subject: &'e Expr,
    take: Option<Type>,
    default: Option<Const>,
}

/// All subjects and atoms of a policy set, each once.
#[derive(Debug, Default)]
pub(super) struct Atoms {
    /// The ranges of parameters, by full name.
    ranges: BTreeMap<String, (Const, Const)>,
    pub(super) subjects: Vec<Subject>,
    subject_numbers: HashMap<SubjectKey, usize>,
    pub(super) atoms: Vec<Atom>,
    atom_numbers: HashMap<Atom, usize>,
    questions: HashMap<(usize, Question), usize>,
    pub(super) budget: Budget,
}

/// What tells subjects apart.
#[derive(Debug, PartialEq, Eq, Hash)]
enum SubjectKey {
    Expr(Expr),
    /// How one thing compares with another.
    Order(Expr, Expr),
}

/// What is left open about a known value.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Question {
    Text(TextCheck),
    Order(String),
}

/// The constant that an expression is.
pub(super) fn constant(expr: &Expr) -> Option<Const> {
    match &expr.kind {
        ExprKind::Const(value) => Some(value.clone()),
        ExprKind::Negative(inner) => match constant(inner)? {
            Const::Duration(micros) => Some(Const::Duration(micros.saturating_neg())),
            Const::Number(number) => Some(Const::Number(number.negated())),
            _ => None,
        },
        _ => None,
    }
}

/// Whether an expression can have two bounds: then what it compares as is known where its value is not.
fn has_bounds(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Quantified(Quantifier::Count, ..) => true,
        ExprKind::Memory(_) => expr.ty != Type::Bool,
        _ => false,
    }
}

/// Whether two constants compare so; none where they don't compare.
fn holds(comparison: Comparison, left: &Const, right: &Const) -> Option<bool> {
    (left.ty() == right.ty()).then(|| match comparison {
        Comparison::Equal => Some(left == right),
        Comparison::NotEqual => Some(left != right),
        Comparison::Less => Some(left < right),
        Comparison::LessOrEqual => Some(left <= right),
        Comparison::Greater => Some(left > right),
        Comparison::GreaterOrEqual => Some(left >= right),
        Comparison::Same => None,
    })?
}

fn term(expr: &Expr) -> Option<Term<'_>> {
    match &expr.kind {
        ExprKind::Const(_) => None,
        ExprKind::Otherwise(inner, default) => {
            let whole = Term { subject: expr, take: None, default: None };
            Some(match (term(inner), constant(default)) {
                (Some(inner), Some(default)) if inner.default.is_none() && !has_bounds(inner.subject) => {
                    Term { default: Some(default), ..inner }
                }
                _ => whole,
            })
        }
        ExprKind::Take(inner) if inner.ty == Type::Json => {
            Some(Term { subject: inner, take: Some(expr.ty), default: None })
        }
        _ => Some(Term { subject: expr, take: None, default: None }),
    }
}

impl Atoms {
    pub(super) fn new(set: &PolicySet) -> Atoms {
        let params = set.policies.iter().flat_map(|policy| {
            policy.params.iter().map(move |param| (format!("{}.{}", policy.name, param.name), param))
        });
        let ranges = params.filter_map(|(name, param)| Some((name, param.range.clone()?))).collect();
        Atoms { ranges, ..Atoms::default() }
    }

    fn subject(&mut self, key: SubjectKey) -> usize {
        if let Some(known) = self.subject_numbers.get(&key) {
            return *known;
        }
        let subject = match &key {
            SubjectKey::Expr(expr) => {
                let range = match &expr.kind {
                    ExprKind::Param(name) => self.ranges.get(name).cloned(),
                    _ => None,
                };
                Subject::of(expr, range, has_bounds(expr))
            }
            SubjectKey::Order(left, right) => Subject::order(left, right),
        };
        self.subjects.push(subject);
        self.subject_numbers.insert(key, self.subjects.len() - 1);
        self.subjects.len() - 1
    }

    fn subject_of(&mut self, expr: &Expr) -> usize {
        let mut key = expr.clone();
        if let ExprKind::Memory(ask) = &mut key.kind {
            // Where the answer may stop does not change what it is compared as.
            ask.bound = None;
        }
        self.subject(SubjectKey::Expr(key))
    }

    fn question(&mut self, subject: usize, question: Question) -> usize {
        let next = self.questions.len();
        *self.questions.entry((subject, question)).or_insert(next)
    }

    fn intern(&mut self, atom: Atom) -> Formula {
        if let Some(known) = self.atom_numbers.get(&atom) {
            return Formula::Atom(*known);
        }
        self.atoms.push(atom.clone());
        self.atom_numbers.insert(atom, self.atoms.len() - 1);
        Formula::Atom(self.atoms.len() - 1)
    }

    fn test(&mut self, term: Term<'_>, soft: bool, test: Test) -> Formula {
        let subject = self.subject_of(term.subject);
        self.intern(Atom { subject, take: term.take, default: term.default, soft, test })
    }

    /// A test that is not taken apart.
    fn opaque(&mut self, expr: &Expr) -> Formula {
        self.test(Term { subject: expr, take: None, default: None }, false, Test::Truth)
    }

    /// A condition as a formula.
    pub(super) fn formula(&mut self, expr: &Expr) -> Formula {
        match &expr.kind {
            ExprKind::Const(Const::Bool(value)) => Formula::Const(*value),
            ExprKind::Not(inner) => Formula::Not(Box::new(self.formula(inner))),
            ExprKind::And(parts) => Formula::And(parts.iter().map(|part| self.formula(part)).collect()),
            ExprKind::Or(parts) => Formula::Or(parts.iter().map(|part| self.formula(part)).collect()),
            ExprKind::If(condition, then, otherwise) => {
                Formula::If(Box::new([self.formula(condition), self.formula(then), self.formula(otherwise)]))
            }
            ExprKind::Lenient { soft, hard, test } => {
                let whole = |this: &mut Atoms| this.opaque(expr);
                match soft.as_slice() {
                    [operand] if !has_bounds(operand) && hard.iter().all(|hard| constant(hard).is_some()) => {
                        self.plain(test, Some(operand)).unwrap_or_else(|| whole(self))
                    }
                    _ => whole(self),
                }
            }
            _ => self.plain(expr, None).unwrap_or_else(|| self.opaque(expr)),
        }
    }

    /// A test as a formula, if it can be taken apart. With a soft operand it must be about that and constants only.
    fn plain(&mut self, expr: &Expr, soft: Option<&Expr>) -> Option<Formula> {
        let is_soft = soft.is_some();
        let about = |operand: &Expr| soft.is_none_or(|soft| soft == operand);
        match &expr.kind {
            ExprKind::Compare(comparison, left, right) => self.compare(*comparison, left, right, soft),
            ExprKind::Between(x, low, high) => {
                let low = self.compare(Comparison::GreaterOrEqual, x, low, soft)?;
                let high = self.compare(Comparison::LessOrEqual, x, high, soft)?;
                Some(Formula::And(vec![low, high]))
            }
            ExprKind::In(x, xs) => match (constant(x), constant(xs)) {
                (None, Some(Const::List(values))) if about(x) && !has_bounds(x) => {
                    let values: Vec<Const> = values.to_vec();
                    let matching = matches!(x.ty, Type::Number | Type::String | Type::Time | Type::Duration);
                    (matching && values.iter().all(|value| value.ty() == Some(x.ty)))
                        .then(|| term(x).map(|x| self.test(x, is_soft, Test::In(values))))?
                }
                (Some(value), None) if !is_soft => Some(self.member(xs, value, x.span)),
                _ => None,
            },
            ExprKind::Has(test, xs, x) if !is_soft => match (test, constant(x)?) {
                (HasTest::One, value) => Some(self.member(xs, value, x.span)),
                (_, Const::List(values)) if values.is_empty() => None,
                (HasTest::Any, Const::List(values)) => {
                    Some(Formula::Or(values.iter().map(|v| self.member(xs, v.clone(), x.span)).collect()))
                }
                (HasTest::All, Const::List(values)) => {
                    Some(Formula::And(values.iter().map(|v| self.member(xs, v.clone(), x.span)).collect()))
                }
                _ => None,
            },
            ExprKind::Present(inner) => self.present(inner),
            ExprKind::TextTest(..)
            | ExprKind::Like(..)
            | ExprKind::Matches(..)
            | ExprKind::InPatterns(..) => {
                let (check, x) = TextCheck::of(expr)?;
                about(x).then(|| self.text_test(x, is_soft, check))?
            }
            // A truth that is a value: a field, a json value taken as one, a default.
            ExprKind::Field(_) | ExprKind::Take(_) | ExprKind::Otherwise(..) | ExprKind::Param(_)
                if expr.ty == Type::Bool && !is_soft =>
            {
                term(expr).map(|x| self.test(x, false, Test::Truth))
            }
            _ => None,
        }
    }

    fn text_test(&mut self, x: &Expr, soft: bool, check: TextCheck) -> Option<Formula> {
        let x = term(x)?;
        let subject = self.subject_of(x.subject);
        let open = self.question(subject, Question::Text(check.clone()));
        Some(self.test(x, soft, Test::Text(check, open)))
    }

    fn present(&mut self, inner: &Expr) -> Option<Formula> {
        match &inner.kind {
            ExprKind::Take(inner) => self.present(inner),
            ExprKind::Field(field) if !field.def().optional => Some(Formula::Const(true)),
            ExprKind::Field(_) | ExprKind::Member(..) | ExprKind::Item(..) => {
                Some(self.test(Term { subject: inner, take: None, default: None }, false, Test::Present))
            }
            _ => None,
        }
    }

    /// Whether a list has this element.
    fn member(&mut self, xs: &Expr, value: Const, span: Span) -> Formula {
        let ty = value.ty().unwrap_or(Type::STRINGS);
        let value = Expr { kind: ExprKind::Const(value), ty, span };
        let kind = ExprKind::Has(HasTest::One, Box::new(xs.clone()), Box::new(value));
        self.opaque(&Expr { kind, ty: Type::Bool, span: xs.span })
    }

    fn compare(
        &mut self,
        comparison: Comparison,
        left: &Expr,
        right: &Expr,
        soft: Option<&Expr>,
    ) -> Option<Formula> {
        let (comparison, x, other) = match (constant(left), constant(right)) {
            (Some(left), Some(right)) => return holds(comparison, &left, &right).map(Formula::Const),
            (Some(left), None) => (comparison.mirrored(), right, left),
            (None, Some(right)) => (comparison, left, right),
            (None, None) if soft.is_some() => return None,
            (None, None) => return self.order(comparison, left, right),
        };
        if soft.is_some_and(|soft| soft != x) || other.ty() != Some(x.ty) || matches!(other, Const::List(_)) {
            return None;
        }
        if comparison == Comparison::Same {
            let Const::Text(text) = other else { return None };
            return self.text_test(x, soft.is_some(), TextCheck::Same(text));
        }
        term(x).map(|x| self.test(x, soft.is_some(), Test::Compare(comparison, other)))
    }

    /// How two things compare that are both not known before.
    fn order(&mut self, comparison: Comparison, left: &Expr, right: &Expr) -> Option<Formula> {
        if comparison == Comparison::Same || has_bounds(left) || has_bounds(right) {
            return None;
        }
        for (comparison, x, param) in [(comparison, left, right), (comparison.mirrored(), right, left)] {
            if let ExprKind::Param(name) = &param.kind
                && let Some((low, high)) = self.ranges.get(name).cloned()
                && low.ty() == Some(x.ty)
            {
                let name = name.clone();
                let x = term(x)?;
                let subject = self.subject_of(x.subject);
                let open = self.question(subject, Question::Order(name));
                return Some(self.test(x, false, Test::CompareParam(comparison, low, high, open)));
            }
        }
        let swapped = left.to_string() > right.to_string();
        let (comparison, left, right) =
            if swapped { (comparison.mirrored(), right, left) } else { (comparison, left, right) };
        let subject = self.subject(SubjectKey::Order(left.clone(), right.clone()));
        let test = Test::Compare(comparison, Const::Number(Number::ZERO));
        Some(self.intern(Atom { subject, take: None, default: None, soft: false, test }))
    }

    /// What a condition reads that may be absent, if it asks for certain texts of any of that.
    pub(super) fn optional_discriminators(&self, formula: &Formula) -> Option<Vec<&Expr>> {
        let mut atoms = Vec::new();
        formula.atoms(&mut atoms);
        let atoms: Vec<&Atom> = atoms.into_iter().filter_map(|number| self.atoms.get(number)).collect();
        let mut read: Vec<usize> = atoms.iter().map(|atom| atom.subject).collect();
        read.sort_unstable();
        read.dedup();
        let optional = |subject: &usize| self.subjects.get(*subject).filter(|subject| subject.optional);
        let asks = |atom: &&Atom| {
            let text = match &atom.test {
                Test::Compare(Comparison::Equal, Const::Text(_)) | Test::Text(..) => true,
                Test::In(values) => matches!(values.first(), Some(Const::Text(_))),
                _ => false,
            };
            text && !atom.soft && atom.default.is_none() && optional(&atom.subject).is_some()
        };
        atoms
            .iter()
            .any(asks)
            .then(|| read.iter().filter_map(optional).filter_map(|subject| subject.expr.as_ref()).collect())
    }
}

/// Whether both sides of a comparison always have a value.
pub(super) fn both_certain(left: &Expr, right: &Expr) -> bool {
    certain(left) && certain(right)
}
