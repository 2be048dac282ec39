//! A file as the formatter sees it: tokens with their comments, and the tree of grammar rules that they stand in.
//!
//! Unlike the syntax tree this keeps every token as it is written. Commas are left out: they follow from the tree.

use std::borrow::Cow;
use std::sync::Arc;

use pest::Parser;
use pest::iterators::Pair;

use crate::ast;
use crate::parse::{Grammar, Rule};

/// A comment on lines of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comment<'s> {
    pub text: &'s str,
    /// Whether an empty line stands above it.
    pub blank: bool,
}

/// One token.
#[derive(Debug, Default)]
pub(super) struct Token<'s> {
    pub text: Cow<'s, str>,
    /// The comments above it.
    pub above: Vec<Comment<'s>>,
    /// The comment behind it.
    pub behind: Option<&'s str>,
    /// Whether an empty line stands above it, below its comments.
    pub blank: bool,
}

/// What stands in a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Node(Node),
    /// The number of a token.
    Token(usize),
}

/// A piece of text that one rule of the grammar describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub rule: Rule,
    pub parts: Vec<Part>,
}

impl Node {
    /// The number of its first token.
    pub(super) fn first(&self) -> Option<usize> {
        match self.parts.first()? {
            Part::Token(number) => Some(*number),
            Part::Node(node) => node.first(),
        }
    }

    /// The nodes in it.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.parts.iter().filter_map(|part| match part {
            Part::Node(node) => Some(node),
            Part::Token(_) => None,
        })
    }
}

/// A file.
#[derive(Debug, Default)]
pub(super) struct Tree<'s> {
    /// All tokens in order; the last one stands for the end of the file.
    pub tokens: Vec<Token<'s>>,
    /// The declarations.
    pub items: Vec<Node>,
}

impl Tree<'_> {
    /// Whether both say the same with the same comments, wherever lines break.
    pub(super) fn says_the_same(&self, other: &Tree) -> bool {
        fn written<'t>(token: &'t Token) -> impl Iterator<Item = &'t str> {
            let above = token.above.iter().map(|comment| comment.text);
            above.chain(std::iter::once(token.text.as_ref())).chain(token.behind)
        }
        self.items == other.items
            && self.tokens.iter().flat_map(written).eq(other.tokens.iter().flat_map(written))
    }
}

/// Reads a text whose declarations have been found; none if one of them can't be read.
pub(super) fn read<'s>(text: &'s str, items: &[Arc<ast::Item>]) -> Option<Tree<'s>> {
    let mut reader = Reader { text, at: 0, gap: Gap::default(), tree: Tree::default() };
    for item in items {
        let (start, end) = (item.span.start as usize, item.span.end as usize);
        reader.skip_to(start, None);
        let pair = Grammar::parse(Rule::declaration, text.get(start..end)?).ok()?.next()?;
        let node = reader.node(pair, start);
        reader.tree.items.push(node);
    }
    reader.skip_to(text.len(), None);
    reader.token(Cow::Borrowed(""));
    Some(reader.tree)
}

struct Reader<'s> {
    text: &'s str,
    at: usize,
    gap: Gap<'s>,
    tree: Tree<'s>,
}

/// What was seen since the last token.
#[derive(Default)]
struct Gap<'s> {
    comments: Vec<Comment<'s>>,
    /// Line breaks since the last token or comment.
    breaks: usize,
}

impl<'s> Reader<'s> {
    /// Reads a pair of the declaration that begins at `offset`.
    fn node(&mut self, pair: Pair<Rule>, offset: usize) -> Node {
        let mut node = Node { rule: pair.as_rule(), parts: Vec::new() };
        let span = pair.as_span();
        let (start, end) = (offset + span.start(), offset + span.end());
        let mut inner = pair.into_inner().peekable();
        // These are signs, perhaps with comments behind them. All other rules without parts are single tokens.
        let signs = matches!(
            node.rule,
            Rule::object | Rule::value_list | Rule::list_literal | Rule::arguments | Rule::key_equals
        );
        if inner.peek().is_none() && !signs {
            node.parts.push(Part::Token(self.whole(end)));
            return node;
        }
        self.skip_to(start, None);
        for pair in inner.filter(|pair| pair.as_rule() != Rule::EOI) {
            self.skip_to(offset + pair.as_span().start(), Some(&mut node.parts));
            let child = self.node(pair, offset);
            node.parts.push(Part::Node(child));
        }
        self.skip_to(end, Some(&mut node.parts));
        node
    }

    /// Reads all up to a place as one token. Words of one token are separated by one space.
    fn whole(&mut self, end: usize) -> usize {
        let text = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        let quoted = text.starts_with(['"', '/']);
        if quoted || !text.contains(char::is_whitespace) {
            return self.token(Cow::Borrowed(text));
        }
        self.token(Cow::Owned(text.split_whitespace().collect::<Vec<_>>().join(" ")))
    }

    /// Reads what no rule names up to a place: white space, comments, and signs, which go into `parts`.
    fn skip_to(&mut self, end: usize, mut parts: Option<&mut Vec<Part>>) {
        while self.at < end {
            let rest = self.text.get(self.at..end).unwrap_or_default();
            let Some(first) = rest.chars().next() else { break };
            let mut length = first.len_utf8();
            if rest.starts_with("//") {
                length = rest.find('\n').unwrap_or(rest.len());
                self.comment(rest.get(..length).unwrap_or_default().trim_end());
            } else if first == '\n' {
                self.gap.breaks += 1;
            } else if first == ',' {
                self.gap.breaks = 0;
            } else if let Some(parts) = &mut parts
                && !first.is_whitespace()
            {
                length = if rest.starts_with("..") { 2 } else { length };
                let token = self.token(Cow::Borrowed(rest.get(..length).unwrap_or_default()));
                parts.push(Part::Token(token));
            }
            self.at += length;
        }
        self.at = self.at.max(end);
    }

    fn comment(&mut self, text: &'s str) {
        let (breaks, first) = (std::mem::take(&mut self.gap.breaks), self.gap.comments.is_empty());
        match self.tree.tokens.last_mut() {
            Some(last) if first && breaks == 0 && last.behind.is_none() => last.behind = Some(text),
            last => {
                let blank = breaks > 1 && (!first || last.is_some_and(|token| !opens(token)));
                self.gap.comments.push(Comment { text, blank });
            }
        }
    }

    fn token(&mut self, text: Cow<'s, str>) -> usize {
        let Gap { comments: above, breaks } = std::mem::take(&mut self.gap);
        let last = self.tree.tokens.last();
        let blank = breaks > 1
            && !matches!(text.as_ref(), "}" | "]" | ")" | "")
            && (!above.is_empty() || last.is_some_and(|token| !opens(token)));
        self.tree.tokens.push(Token { text, above, behind: None, blank });
        self.tree.tokens.len() - 1
    }
}

/// Whether a token begins what ends with another: no empty line stands below it.
fn opens(token: &Token) -> bool {
    matches!(token.text.as_ref(), "{" | "[" | "(")
}
