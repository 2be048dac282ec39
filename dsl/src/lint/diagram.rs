//! Decision diagrams: what a formula is worth for every combination of what its variables can be.
//!
//! A node asks one variable and has a child for each of its regions; the leaves are small numbers. Equal nodes are one
//! node, so formulas that mean the same become the same node. Work is bounded: past the budget there is no answer.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// A node, or a leaf if it is less than [`LEAVES`].
pub(super) type Node = u32;

/// A truth as a leaf.
pub(super) const FALSE: Node = 0;
/// A truth as a leaf.
pub(super) const UNKNOWN: Node = 1;
/// A truth as a leaf.
pub(super) const TRUE: Node = 2;

/// Leaves are truths, and pairs of truths (see [`Operation::Pair`]).
const LEAVES: Node = 9;

/// The most steps that one question may take: a step is a child of a node that is made.
const BUDGET: usize = 40_000;

/// The most steps that all questions of one run may take: some tenths of a second.
const BUDGET_OF_ALL: usize = 2_000_000;

/// The steps that are left for all questions of one run.
#[derive(Debug, Clone)]
pub(super) struct Budget(Rc<Cell<usize>>);

impl Default for Budget {
    fn default() -> Budget {
        Budget(Rc::new(Cell::new(BUDGET_OF_ALL)))
    }
}

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    /// Takes so many steps; if there are fewer, the rest too.
    pub(super) fn take(&self, steps: usize) -> Option<()> {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.map(|_| ())
    }
}

/// How two formulas are put together, leaf by leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// Kleene's and.
    And,
    /// Kleene's or.
    Or,
    /// Kleene's not of the first; the second does not matter.
    Not,
    /// Both truths in one leaf, to be taken apart by [`pair`].
    Pair,
    /// `if c then a else b`, of the pair of `c` and `a`, and of `b`.
    Choose,
}

/// The two truths in a leaf that [`Operation::Pair`] made.
pub(super) fn pair(leaf: Node) -> (Node, Node) {
    (leaf / 3, leaf % 3)
}

impl Operation {
    fn of(self, a: Node, b: Node) -> Node {
        match self {
            Operation::And => a.min(b),
            Operation::Or => a.max(b),
            Operation::Not => TRUE - a.min(TRUE),
            Operation::Pair => a * 3 + b,
            Operation::Choose => match pair(a) {
                (TRUE, then) => then,
                (FALSE, _) => b,
                (_, then) if then == b => then,
                _ => UNKNOWN,
            },
        }
    }

    /// The result where one side settles it.
    fn shortcut(self, a: Node, b: Node) -> Option<Node> {
        match (self, a, b) {
            (Operation::And, FALSE, _) | (Operation::Or, TRUE, _) => Some(a),
            (Operation::And, _, FALSE) | (Operation::Or, _, TRUE) => Some(b),
            (Operation::And, TRUE, other) | (Operation::Or, FALSE, other) => Some(other),
            (Operation::And, other, TRUE) | (Operation::Or, other, FALSE) => Some(other),
            (Operation::And | Operation::Or, _, _) if a == b => Some(a),
            _ if a < LEAVES && b < LEAVES => Some(self.of(a, b)),
            _ => None,
        }
    }
}

/// A node's variable and its children.
type Branches = (u32, Box<[Node]>);

/// All nodes of one question.
#[derive(Debug)]
pub(super) struct Diagram {
    nodes: Vec<Branches>,
    known: HashMap<Branches, Node>,
    done: HashMap<(Operation, Node, Node), Node>,
    left: usize,
    of_all: Budget,
}

impl Diagram {
    pub(super) fn new(of_all: Budget) -> Diagram {
        Diagram { nodes: Vec::new(), known: HashMap::new(), done: HashMap::new(), left: BUDGET, of_all }
    }

    /// The node that asks a variable; none past the budget. Its children ask later variables only.
    pub(super) fn ask(&mut self, variable: u32, children: Vec<Node>) -> Option<Node> {
        if let [first, rest @ ..] = children.as_slice()
            && rest.iter().all(|child| child == first)
        {
            return Some(*first);
        }
        self.left = self.left.checked_sub(children.len())?;
        self.of_all.take(children.len())?;
        let branches = (variable, children.into_boxed_slice());
        if let Some(known) = self.known.get(&branches) {
            return Some(*known);
        }
        let node = LEAVES + Node::try_from(self.nodes.len()).ok()?;
        self.nodes.push(branches.clone());
        self.known.insert(branches, node);
        Some(node)
    }

    fn branches(&self, node: Node) -> Option<&Branches> {
        self.nodes.get(usize::try_from(node.checked_sub(LEAVES)?).ok()?)
    }

    /// Two formulas as one; none past the budget.
    pub(super) fn apply(&mut self, operation: Operation, a: Node, b: Node) -> Option<Node> {
        if let Some(settled) = operation.shortcut(a, b) {
            return Some(settled);
        }
        if let Some(done) = self.done.get(&(operation, a, b)) {
            return Some(*done);
        }
        let (of_a, of_b) = (self.branches(a), self.branches(b));
        let variable = of_a.into_iter().chain(of_b).map(|(variable, _)| *variable).min()?;
        let children = |branches: Option<&Branches>, node: Node| match branches {
            Some((asks, children)) if *asks == variable => Err(children.to_vec()),
            _ => Ok(node),
        };
        let pairs: Vec<(Node, Node)> = match (children(of_a, a), children(of_b, b)) {
            (Err(a), Err(b)) => a.into_iter().zip(b).collect(),
            (Err(a), Ok(b)) => a.into_iter().map(|a| (a, b)).collect(),
            (Ok(a), Err(b)) => b.into_iter().map(|b| (a, b)).collect(),
            (Ok(_), Ok(_)) => return None,
        };
        let children: Option<Vec<Node>> =
            pairs.into_iter().map(|(a, b)| self.apply(operation, a, b)).collect();
        let node = self.ask(variable, children?)?;
        self.done.insert((operation, a, b), node);
        Some(node)
    }

    /// Whether a formula can be such a leaf.
    pub(super) fn reaches(&self, node: Node, wanted: impl Fn(Node) -> bool) -> bool {
        let (mut open, mut seen) = (vec![node], HashSet::from([node]));
        while let Some(node) = open.pop() {
            match self.branches(node) {
                None if wanted(node) => return true,
                None => {}
                Some((_, children)) => open.extend(children.iter().filter(|child| seen.insert(**child))),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_that_mean_the_same_are_one_node() {
        let mut diagram = Diagram::new(Budget::default());
        let a = diagram.ask(0, vec![FALSE, UNKNOWN, TRUE]).unwrap();
        let b = diagram.ask(1, vec![FALSE, TRUE]).unwrap();
        let mut apply = |operation, a, b| diagram.apply(operation, a, b).unwrap();
        let both = apply(Operation::And, a, b);
        let (not_a, not_b) = (apply(Operation::Not, a, a), apply(Operation::Not, b, b));
        let either = apply(Operation::Or, not_a, not_b);
        assert_eq!(apply(Operation::Not, either, either), both);
    }

    #[test]
    fn what_is_unknown_is_no_contradiction() {
        let mut diagram = Diagram::new(Budget::default());
        let a = diagram.ask(0, vec![FALSE, UNKNOWN, TRUE]).unwrap();
        let not_a = diagram.apply(Operation::Not, a, a).unwrap();
        let both = diagram.apply(Operation::And, a, not_a).unwrap();
        assert!(!diagram.reaches(both, |leaf| leaf == TRUE));
        assert!(diagram.reaches(both, |leaf| leaf == UNKNOWN));
    }

    #[test]
    fn a_budget_ends_it() {
        let mut diagram = Diagram::new(Budget::default());
        let mut sum = FALSE;
        let answer = (0..40).try_for_each(|variable| {
            // Leaves by parity need no more than two nodes a variable; wide ones use up the budget.
            let wide = diagram.ask(variable, (0..2_000).map(|child| child % 3).collect())?;
            sum = diagram.apply(Operation::Or, sum, wide)?;
            Some(())
        });
        assert!(answer.is_none());
    }
}
