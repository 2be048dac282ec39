//! What made an unknown condition unknown: the smallest parts of which nothing is known.

use lictor_dsl::hir::{self, ExprKind};
use lictor_dsl::types::Type;

use super::expr::Scene;
use super::{condition, predicate};
use crate::plan::node::Node;
use crate::plan::{Cond, Plan};
use crate::truth::Truth;

/// Why a condition is unknown.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    /// The distinct unknown parts, sorted.
    pub missing: Vec<String>,
    /// A part took too many steps.
    pub overrun: bool,
}

/// An expression that may be to blame, with those below it. Made when its predicate is unknown for the first time, and
/// kept: whoever sends an event without a field sends many.
#[derive(Debug)]
pub(crate) struct Suspect {
    text: String,
    kind: Kind,
    below: Vec<Suspect>,
}

#[derive(Debug)]
enum Kind {
    /// It is never unknown.
    Known,
    /// It can't be evaluated by itself.
    Unknown,
    Truth(Node, Search),
    Value(Node, Search),
}

/// Where to look for the cause, once it is unknown.
#[derive(Debug, Clone, Copy)]
enum Search {
    /// It is the cause.
    Here,
    /// In what stands in for what is absent.
    Default,
    /// In the list, if that is unknown. What is said of its elements speaks of one at a time, so this is as near as it
    /// gets.
    List,
    /// In all that is below.
    Below,
}

impl Suspect {
    fn new(plan: &Plan, expr: &hir::Expr) -> Suspect {
        let search = match &expr.kind {
            ExprKind::Field(_) | ExprKind::Member(..) | ExprKind::Item(..) => Search::Here,
            ExprKind::Otherwise(..) => Search::Default,
            ExprKind::Quantified(..) => Search::List,
            _ => Search::Below,
        };
        let kind = match (&expr.kind, plan.lower(expr)) {
            (ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Risk, _) => Kind::Known,
            (_, Err(_)) => Kind::Unknown,
            (_, Ok(node)) if expr.ty == Type::Bool => Kind::Truth(node, search),
            (_, Ok(node)) => Kind::Value(node, search),
        };
        let below = match search {
            Search::Here => Vec::new(),
            _ => expr.children().into_iter().map(|child| Suspect::new(plan, child)).collect(),
        };
        Suspect { text: expr.to_string(), kind, below }
    }

    fn search(&self) -> Search {
        match self.kind {
            Kind::Truth(_, search) | Kind::Value(_, search) => search,
            Kind::Known | Kind::Unknown => Search::Here,
        }
    }

    fn is_unknown<'e>(&'e self, scene: &Scene<'e>) -> bool {
        match &self.kind {
            Kind::Known => false,
            Kind::Unknown => true,
            Kind::Truth(node, _) => scene.predicate(node).0 == Truth::Unknown,
            Kind::Value(node, _) => scene.evaluate(node).is_none(),
        }
    }

    /// Walks an unknown expression down to the smallest unknown parts.
    fn blame<'e>(&'e self, scene: &Scene<'e>, blame: &mut Blame) {
        let before = blame.missing.len();
        match (self.search(), self.below.as_slice()) {
            (Search::Default, [_, default]) => default.blame(scene, blame),
            (Search::List, [list, ..]) if list.is_unknown(scene) => list.blame(scene, blame),
            (Search::Below, below) => {
                for suspect in below.iter().filter(|suspect| suspect.is_unknown(scene)) {
                    suspect.blame(scene, blame);
                }
            }
            _ => {}
        }
        if blame.missing.len() == before {
            blame.missing.push(self.text.clone());
        }
    }
}

/// Finds what made an unknown condition unknown.
pub(crate) fn blame<'e>(plan: &'e Plan, scene: &Scene<'e>, cond: &Cond) -> Blame {
    let mut blame = Blame::default();
    blame_condition(plan, scene, cond, &mut blame);
    blame.missing.sort_unstable();
    blame.missing.dedup();
    blame
}

fn blame_condition<'e>(plan: &'e Plan, scene: &Scene<'e>, cond: &Cond, blame: &mut Blame) {
    match cond {
        Cond::Const(_) => {}
        Cond::Predicate(number) => {
            let (truth, overrun) = predicate(plan, scene, *number);
            blame.overrun |= overrun;
            if let (Truth::Unknown, Some(predicate)) = (truth, plan.predicate(*number)) {
                let suspect = predicate.suspect.get_or_init(|| Suspect::new(plan, &predicate.expr));
                suspect.blame(scene, blame);
            }
        }
        Cond::Not(inner) => blame_condition(plan, scene, inner, blame),
        Cond::And(parts) | Cond::Or(parts) => {
            for part in parts.iter().filter(|part| condition(plan, scene, part) == Truth::Unknown) {
                blame_condition(plan, scene, part, blame);
            }
        }
    }
}
