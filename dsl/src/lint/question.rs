//! One question about a few formulas: they become diagrams over the same variables.

use std::collections::HashMap;

use super::diagram::{Diagram, FALSE, Node, Operation, TRUE, pair};
use super::formula::{Atom, Atoms, Formula};
use super::regions::{Cell, Regions};

/// More atoms than this are not looked into.
const ATOMS_LIMIT: usize = 256;

/// A few formulas over the same variables.
pub(super) struct Question {
    diagram: Diagram,
    /// The node of each atom.
    nodes: HashMap<usize, Node>,
}

impl Question {
    /// Prepares a question about these formulas; none if it is too large.
    pub(super) fn new(atoms: &Atoms, formulas: &[&Formula]) -> Option<Question> {
        Question::with(atoms, formulas, false)
    }

    /// The same, where everything that can be absent is.
    pub(super) fn where_absent(atoms: &Atoms, formulas: &[&Formula]) -> Option<Question> {
        Question::with(atoms, formulas, true)
    }

    fn with(atoms: &Atoms, formulas: &[&Formula], only_absent: bool) -> Option<Question> {
        let mut numbers = Vec::new();
        formulas.iter().for_each(|formula| formula.atoms(&mut numbers));
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() > ATOMS_LIMIT || atoms.budget.is_spent() {
            return None;
        }
        // Dividing the values of what is asked about takes time as well.
        atoms.budget.take(numbers.len())?;
        let mut by_subject: Vec<(usize, usize, &Atom)> = numbers
            .into_iter()
            .filter_map(|number| atoms.atoms.get(number).map(|atom| (atom.subject, number, atom)))
            .collect();
        by_subject.sort_unstable_by_key(|(subject, number, _)| (*subject, *number));
        let mut question = Question { diagram: Diagram::new(atoms.budget.clone()), nodes: HashMap::new() };
        // What a known value leaves open is asked after every subject.
        let mut open: HashMap<usize, u32> = HashMap::new();
        let mut next_open = u32::try_from(by_subject.len()).ok()?;
        for (variable, of_subject) in (0u32..).zip(by_subject.chunk_by(|a, b| a.0 == b.0)) {
            let (subject, ..) = of_subject.first()?;
            let subject = atoms.subjects.get(*subject)?;
            let tests: Vec<&Atom> = of_subject.iter().map(|(.., atom)| *atom).collect();
            let columns = Regions::new(subject, &tests, only_absent)?.columns(&tests)?;
            for (row, (_, number, _)) in of_subject.iter().enumerate() {
                let mut children = Vec::with_capacity(columns.len());
                for column in &columns {
                    children.push(match column.get(row)? {
                        Cell::Known(truth) => *truth,
                        Cell::Open { question: number, answers } => {
                            let variable = *open.entry(*number).or_insert_with(|| {
                                next_open += 1;
                                next_open
                            });
                            question.diagram.ask(variable, answers.to_vec())?
                        }
                    });
                }
                if children.is_empty() {
                    return None;
                }
                let node = question.diagram.ask(variable, children)?;
                question.nodes.insert(*number, node);
            }
        }
        Some(question)
    }

    /// The diagram of a formula.
    pub(super) fn node(&mut self, formula: &Formula) -> Option<Node> {
        match formula {
            Formula::Const(value) => Some(if *value { TRUE } else { FALSE }),
            Formula::Atom(atom) => self.nodes.get(atom).copied(),
            Formula::Not(inner) => {
                let inner = self.node(inner)?;
                self.diagram.apply(Operation::Not, inner, inner)
            }
            Formula::And(parts) => self.fold(Operation::And, TRUE, parts),
            Formula::Or(parts) => self.fold(Operation::Or, FALSE, parts),
            Formula::If(parts) => {
                let [condition, then, otherwise] = parts.as_ref();
                let (condition, then) = (self.node(condition)?, self.node(then)?);
                let otherwise = self.node(otherwise)?;
                let first = self.diagram.apply(Operation::Pair, condition, then)?;
                self.diagram.apply(Operation::Choose, first, otherwise)
            }
        }
    }

    fn fold(&mut self, operation: Operation, start: Node, parts: &[Formula]) -> Option<Node> {
        let mut whole = start;
        for part in parts {
            let part = self.node(part)?;
            whole = self.diagram.apply(operation, whole, part)?;
        }
        Some(whole)
    }

    /// Two diagrams as one.
    pub(super) fn join(&mut self, operation: Operation, a: Node, b: Node) -> Option<Node> {
        self.diagram.apply(operation, a, b)
    }

    /// Whether a formula can have such a truth.
    pub(super) fn can_be(&self, node: Node, truth: impl Fn(Node) -> bool) -> bool {
        self.diagram.reaches(node, truth)
    }

    /// Whether two formulas can have such truths on one event.
    pub(super) fn can_both(&mut self, a: Node, b: Node, truths: impl Fn(Node, Node) -> bool) -> Option<bool> {
        let both = self.diagram.apply(Operation::Pair, a, b)?;
        Some(self.diagram.reaches(both, |leaf| {
            let (a, b) = pair(leaf);
            truths(a, b)
        }))
    }
}
