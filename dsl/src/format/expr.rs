//! How expressions, values and the clauses built from them are laid out.

use super::doc::Doc;
use super::tree::{Node, Part, Tree};
use crate::parse::Rule;

/// A comparison with something this short stays on its line: what it is compared with can break.
const SHORT: usize = 30;

/// Any part of a declaration that needs no other care than spaces.
pub(super) fn node(node: &Node, tree: &Tree) -> Doc {
    match node.rule {
        Rule::expr | Rule::expr_plain => chain(&terms(node), true, tree),
        Rule::object => bracketed(node, Doc::Line, tree),
        Rule::value_list | Rule::list_literal | Rule::arguments => bracketed(node, Doc::Break, tree),
        Rule::group => group(node, tree),
        Rule::conditional => broken_before(node, &[Rule::kw_then, Rule::kw_else], tree),
        Rule::require_approval => {
            broken_before(node, &[Rule::approval_from, Rule::approval_by, Rule::approval_within], tree)
        }
        Rule::incident => {
            broken_before(node, &[Rule::incident_per, Rule::incident_within, Rule::incident_title], tree)
        }
        Rule::exempt => broken_before(node, &[Rule::kw_for, Rule::kw_until, Rule::kw_because], tree),
        Rule::quantified => quantified(node, tree),
        Rule::remembered => remembered(node, tree),
        Rule::literal
        | Rule::range
        | Rule::call
        | Rule::memory
        | Rule::member_of
        | Rule::item_of
        | Rule::memory_kinds
        | Rule::memory_value => Doc::All(node.parts.iter().map(|inner| part(inner, tree)).collect()),
        _ => spaced(&node.parts, tree),
    }
}

pub(super) fn part(part: &Part, tree: &Tree) -> Doc {
    match part {
        Part::Token(number) => Doc::Token(*number),
        Part::Node(inner) => node(inner, tree),
    }
}

/// Parts with spaces between them.
pub(super) fn spaced(parts: &[Part], tree: &Tree) -> Doc {
    let mut docs = Vec::new();
    let mut last = None;
    for inner in parts {
        if last.is_some() && !follows_closely(last, inner, tree) {
            if both_listed(last, inner) {
                docs.push(Doc::Comma);
            }
            docs.push(Doc::Space(1));
        }
        docs.push(part(inner, tree));
        last = Some(inner);
    }
    Doc::All(docs)
}

/// Whether no space stands before a part.
fn follows_closely(last: Option<&Part>, next: &Part, tree: &Tree) -> bool {
    match (last, next) {
        (_, Part::Token(number)) => tree.tokens.get(*number).is_some_and(|token| token.text == ":"),
        (_, Part::Node(node)) if node.rule == Rule::optional => true,
        (Some(Part::Node(last)), Part::Node(node)) => {
            last.rule == Rule::memory_kinds && node.rule == Rule::memory_value
        }
        _ => false,
    }
}

/// Whether a comma stands between two parts that no brackets enclose.
fn both_listed(last: Option<&Part>, next: &Part) -> bool {
    let listed = |rule| matches!(rule, Rule::kind | Rule::exempt_rule | Rule::key_expr | Rule::memory_key);
    match (last, next) {
        (Some(Part::Node(last)), Part::Node(next)) => last.rule == next.rule && listed(next.rule),
        _ => false,
    }
}

/// Parts with spaces between them; what does not fit on a line breaks before each part of one of these rules.
fn broken_before(node: &Node, rules: &[Rule], tree: &Tree) -> Doc {
    let breaks = |part: &Part| matches!(part, Part::Node(node) if rules.contains(&node.rule));
    let head = node.parts.iter().position(breaks).unwrap_or(node.parts.len());
    let (head, mut rest) = node.parts.split_at(head);
    let mut tail = Vec::new();
    while !rest.is_empty() {
        let next = rest.iter().skip(1).position(breaks).map_or(rest.len(), |at| at + 1);
        let (line, others) = rest.split_at(next);
        tail.push(Doc::Line);
        tail.push(spaced(line, tree));
        rest = others;
    }
    Doc::All(vec![spaced(head, tree), Doc::All(tail).inside()]).group()
}

/// What brackets enclose: on one line with commas between, or one a line with a comma behind each.
pub(super) fn bracketed(node: &Node, edge: Doc, tree: &Tree) -> Doc {
    let (Some(Part::Token(open)), Some(Part::Token(close))) = (node.parts.first(), node.parts.last()) else {
        return spaced(&node.parts, tree);
    };
    let is_line = matches!(edge, Doc::Line);
    let edge = || if is_line { Doc::Line } else { Doc::Break };
    let mut inside = Vec::new();
    for value in node.nodes() {
        inside.push(if inside.is_empty() { edge() } else { Doc::All(vec![Doc::Comma, Doc::Line]) });
        inside.push(self::node(value, tree));
    }
    if !inside.is_empty() {
        inside.push(Doc::CommaIfBroken);
    }
    close_with_comments(*open, inside, edge, *close, tree)
}

/// An opening bracket, what is inside, and the closing one. The comments above the closing one belong inside.
fn close_with_comments(
    open: usize,
    mut inside: Vec<Doc>,
    edge: impl Fn() -> Doc,
    close: usize,
    tree: &Tree,
) -> Doc {
    let has_comment = |number: usize, above: bool| {
        let token = tree.tokens.get(number);
        token.is_some_and(|token| if above { !token.above.is_empty() } else { token.behind.is_some() })
    };
    if has_comment(close, true) {
        inside.extend([Doc::NewLine, Doc::Above(close)]);
    }
    let mut docs = vec![Doc::Token(open)];
    if !inside.is_empty() || has_comment(open, false) {
        docs.extend([Doc::All(inside).inside(), edge()]);
    }
    docs.push(Doc::Token(close));
    Doc::All(docs).group()
}

/// `{` and `}` with a line for each of these, whether they would fit on one line or not.
pub(super) fn block(open: usize, lines: Vec<Doc>, close: usize, tree: &Tree) -> Doc {
    let inside = lines.into_iter().flat_map(|line| [Doc::NewLine, line]).collect();
    close_with_comments(open, inside, || Doc::NewLine, close, tree)
}

/// `(expression)`
fn group(node: &Node, tree: &Tree) -> Doc {
    let [Part::Token(open), Part::Node(inner), Part::Token(close)] = node.parts.as_slice() else {
        return spaced(&node.parts, tree);
    };
    let inside = vec![Doc::Break, chain(&terms(inner), false, tree)];
    close_with_comments(*open, inside, || Doc::Break, *close, tree)
}

/// `any x in xs: body`
fn quantified(node: &Node, tree: &Tree) -> Doc {
    let Some((Part::Node(body), head)) = node.parts.split_last() else {
        return spaced(&node.parts, tree);
    };
    let body = Doc::All(vec![Doc::Line, chain(&terms(body), false, tree)]).inside();
    Doc::All(vec![spaced(head, tree), body]).group()
}

/// `(intent where … per … within …)`
fn remembered(node: &Node, tree: &Tree) -> Doc {
    let (Some(Part::Token(open)), Some(Part::Token(close))) = (node.parts.first(), node.parts.last()) else {
        return spaced(&node.parts, tree);
    };
    let mut inside = Vec::new();
    for piece in node.nodes() {
        inside.push(if inside.is_empty() { Doc::Break } else { Doc::Line });
        inside.push(self::node(piece, tree));
    }
    close_with_comments(*open, inside, || Doc::Break, *close, tree)
}

/// An operand, and the operator before it.
struct Term<'n> {
    operator: Option<&'n Node>,
    operand: Vec<&'n Node>,
}

/// The operands of an expression, each with its prefixes and suffixes.
fn terms<'n>(expr: &'n Node) -> Vec<Term<'n>> {
    let mut terms = vec![Term { operator: None, operand: Vec::new() }];
    for part in expr.nodes() {
        if looseness(part.rule).is_some() {
            terms.push(Term { operator: Some(part), operand: Vec::new() });
        } else if let Some(term) = terms.last_mut() {
            term.operand.push(part);
        }
    }
    terms
}

/// How loosely an operator binds; none for what is no operator between two operands.
fn looseness(rule: Rule) -> Option<u8> {
    Some(match rule {
        Rule::or => 6,
        Rule::and => 5,
        Rule::comparison
        | Rule::r#in
        | Rule::starts
        | Rule::ends
        | Rule::contains_word
        | Rule::contains
        | Rule::like
        | Rule::matches
        | Rule::has_any
        | Rule::has_all
        | Rule::has_item => 4,
        Rule::to => 3,
        Rule::otherwise => 2,
        Rule::plus | Rule::less => 1,
        Rule::times | Rule::over | Rule::modulo => 0,
        _ => return None,
    })
}

/// Operands and operators, broken before the loosest operators first; the lines behind the first one stand further
/// inside, or not.
fn chain(terms: &[Term], inside: bool, tree: &Tree) -> Doc {
    let level = |term: &Term| term.operator.and_then(|operator| looseness(operator.rule));
    let Some(loosest) = terms.iter().skip(1).filter_map(level).max() else {
        return terms.first().map_or(Doc::All(Vec::new()), |term| operand(&term.operand, tree));
    };
    let mut docs = Vec::new();
    let mut rest = terms;
    while let Some(first) = rest.first() {
        let ends = |term: &Term| level(term) == Some(loosest);
        let next = rest.iter().skip(1).position(ends).map_or(rest.len(), |at| at + 1);
        let (piece, others) = rest.split_at(next);
        rest = others;
        let operator = first.operator.filter(|_| !docs.is_empty()).map(|operator| node(operator, tree));
        let piece = chain(piece, true, tree);
        let Some(operator) = operator else {
            docs.push(piece);
            continue;
        };
        let short = || piece.width(tree).is_some_and(|width| width <= SHORT);
        let stays = loosest == 4 && (piece.can_break() || docs.iter().any(Doc::can_break) && short());
        docs.extend(match loosest {
            3 => vec![operator, piece],
            _ => vec![if stays { Doc::Space(1) } else { Doc::Line }, operator, Doc::Space(1), piece],
        });
    }
    let stays = !docs.iter().any(|doc| matches!(doc, Doc::Line));
    let all = Doc::All(docs);
    if stays {
        all
    } else if inside {
        all.inside().group()
    } else {
        all.group()
    }
}

/// Prefixes, what they stand before, and suffixes.
fn operand(parts: &[&Node], tree: &Tree) -> Doc {
    let mut docs = Vec::new();
    for part in parts {
        match part.rule {
            Rule::not | Rule::present => docs.extend([node(part, tree), Doc::Space(1)]),
            Rule::matched_as => docs.extend([Doc::Space(1), node(part, tree)]),
            _ => docs.push(node(part, tree)),
        }
    }
    Doc::All(docs)
}
