//! How declarations are laid out: what encloses them, which lines are aligned, where empty lines stand.

use super::doc::{Doc, WIDTH};
use super::expr::{block, bracketed, node, part, spaced};
use super::tree::{Node, Part, Tree};
use crate::parse::Rule;

/// All of a file.
pub(super) fn file(tree: &Tree) -> Doc {
    let mut docs = Vec::new();
    let mut rest = tree.items.as_slice();
    while let Some(first) = rest.first() {
        let together = |item: &&Node| item.rule == first.rule && follows_closely(item, tree);
        let (run, others) = rest.split_at(1 + rest.iter().skip(1).take_while(together).count());
        rest = others;
        match first.rule {
            Rule::param => docs.extend(params(run, tree)),
            Rule::list | Rule::def => docs.extend(aligned(run.iter().map(|item| named(item, tree)), tree)),
            _ => docs.extend(run.iter().map(|item| declaration(item, tree))),
        }
    }
    let mut lines: Vec<_> = docs.into_iter().flat_map(|doc| [Doc::NewLine, doc]).collect();
    lines.extend([Doc::NewLine, Doc::Token(tree.tokens.len().saturating_sub(1))]);
    Doc::All(lines)
}

/// Puts an empty line above and below each declaration that has several lines.
pub(super) fn separate(tree: &mut Tree) {
    let is_block = |node: &Node| matches!(node.rule, Rule::header | Rule::rule_item | Rule::test);
    for pair in tree.items.windows(2) {
        let [above, below] = pair else { continue };
        if !(is_block(above) || is_block(below)) {
            continue;
        }
        let Some(token) = below.first().and_then(|number| tree.tokens.get_mut(number)) else { continue };
        match token.above.first_mut() {
            Some(comment) => comment.blank = true,
            None => token.blank = true,
        }
    }
}

/// Whether it stands right below what is before it.
fn follows_closely(item: &Node, tree: &Tree) -> bool {
    let token = item.first().and_then(|number| tree.tokens.get(number));
    token.is_some_and(|token| !token.blank && token.above.is_empty())
}

fn declaration(item: &Node, tree: &Tree) -> Doc {
    match item.rule {
        Rule::header | Rule::rule_item | Rule::test => with_block(item, tree),
        Rule::schema => match item.parts.iter().position(|part| matches!(part, Part::Token(_))) {
            Some(open) => {
                let (head, fields) = item.parts.split_at(open);
                let fields = Node { rule: Rule::object, parts: fields.to_vec() };
                Doc::All(vec![spaced(head, tree), Doc::Space(1), bracketed(&fields, Doc::Line, tree)])
            }
            None => node(item, tree),
        },
        _ => node(item, tree),
    }
}

/// A declaration with a line for each of its parts.
fn with_block(item: &Node, tree: &Tree) -> Doc {
    let open = item.parts.iter().position(|part| matches!(part, Part::Token(_)));
    let (head, inner) = item.parts.split_at(open.unwrap_or(item.parts.len()));
    let (Some(Part::Token(open)), Some(Part::Token(close))) = (inner.first(), inner.last()) else {
        return node(item, tree);
    };
    let parts = inner.iter().filter_map(|part| match part {
        Part::Node(node) => Some(node),
        Part::Token(_) => None,
    });
    // `title = "…"` and `agent { … }` are aligned, other lines are not.
    let cells = |line: &Node| match line.rule {
        Rule::setting | Rule::given => columns(&line.parts, 1, tree),
        _ => vec![node(line, tree)],
    };
    let lines = aligned(parts.map(cells), tree);
    Doc::All(vec![spaced(head, tree), Doc::Space(1), block(*open, lines, *close, tree)])
}

/// Two columns: the first so many parts, and the others.
fn columns(parts: &[Part], first: usize, tree: &Tree) -> Vec<Doc> {
    let (left, right) = parts.split_at(first.min(parts.len()));
    vec![spaced(left, tree), spaced(right, tree)]
}

/// Rows with their columns aligned: all but the last cell of each are as wide as the widest of their column.
fn aligned(rows: impl Iterator<Item = Vec<Doc>>, tree: &Tree) -> Vec<Doc> {
    let rows: Vec<_> = rows.collect();
    let mut widths: Vec<usize> = Vec::new();
    for row in &rows {
        for (column, cell) in row.iter().take(row.len().saturating_sub(1)).enumerate() {
            let width = cell.width(tree).unwrap_or(0);
            match widths.get_mut(column) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let row = |cells: Vec<Doc>| {
        let mut docs = Vec::new();
        let mut space = 0;
        for (cell, widest) in cells.into_iter().zip(widths.iter().map(Some).chain(std::iter::repeat(None))) {
            docs.push(Doc::Space(space));
            space = 1 + widest.map_or(0, |widest| widest - cell.width(tree).unwrap_or(*widest).min(*widest));
            docs.push(cell);
        }
        Doc::All(docs)
    };
    rows.into_iter().map(row).collect()
}

/// `list name: kind` or `def name(arguments)`, and what it is.
fn named(item: &Node, tree: &Tree) -> Vec<Doc> {
    let is_sign = |part: &Part, sign: &str| match part {
        Part::Token(number) => tree.tokens.get(*number).is_some_and(|token| token.text == sign),
        Part::Node(_) => false,
    };
    let equals = item.parts.iter().position(|part| is_sign(part, "=")).unwrap_or(0);
    let (head, value) = item.parts.split_at(equals);
    let Some(open) = head.iter().position(|part| is_sign(part, "(")) else {
        return vec![spaced(head, tree), spaced(value, tree)];
    };
    let (head, arguments) = head.split_at(open);
    let mut docs = vec![spaced(head, tree)];
    for (number, argument) in arguments.iter().enumerate() {
        if number > 1 && !is_sign(argument, ")") {
            docs.extend([Doc::Comma, Doc::Space(1)]);
        }
        docs.push(part(argument, tree));
    }
    vec![Doc::All(docs), spaced(value, tree)]
}

/// Parameters below one another: as a table if every line of it fits, else each with its help on a line below.
fn params(run: &[Node], tree: &Tree) -> Vec<Doc> {
    let is_help = |part: &Part| matches!(part, Part::Node(node) if node.rule == Rule::string);
    let split = |item: &Node| {
        let help = item.parts.iter().position(is_help).unwrap_or(item.parts.len());
        let (head, help) = item.parts.split_at(help);
        (head.to_vec(), help.first().map(|help| part(help, tree)))
    };
    // `param name:`, the type, what it is and may be, and the help.
    let cells = |item: &Node| {
        let (head, help) = split(item);
        let (name, rest) = head.split_at(head.len().min(3));
        let mut cells = vec![spaced(name, tree)];
        cells.extend(columns(rest, 1, tree));
        cells.extend(help);
        cells
    };
    let table = aligned(run.iter().map(cells), tree);
    if table.iter().all(|row| row.width(tree).is_some_and(|width| width <= WIDTH)) {
        return table;
    }
    let alone = |item: &Node| {
        let (head, help) = split(item);
        let head = spaced(&head, tree);
        let Some(help) = help else { return head };
        let fits = head.width(tree).is_some_and(|width| width <= WIDTH);
        let gap = if fits { Doc::NewLine } else { Doc::Space(1) };
        Doc::All(vec![head, Doc::All(vec![gap, help]).inside()])
    };
    run.iter().map(alone).collect()
}
