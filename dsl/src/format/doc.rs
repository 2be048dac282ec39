//! Lays tokens out in lines: what fits stays on one line, what does not breaks at its outermost possible places.
//!
//! A comment ends its line whatever the layout says, so none can swallow a token.

use super::tree::{Comment, Tree};

/// How wide lines should be at most, in characters.
pub(super) const WIDTH: usize = 100;
/// How much further inside is indented.
const INDENT: usize = 2;

/// What is to be laid out.
#[derive(Debug)]
pub(super) enum Doc {
    /// A token with its comments.
    Token(usize),
    /// The comments above a token, where they stand further inside than the token itself.
    Above(usize),
    /// A space, or this many.
    Space(usize),
    /// A space, or a new line in what is broken.
    Line,
    /// Nothing, or a new line in what is broken.
    Break,
    /// A new line.
    NewLine,
    /// `,`
    Comma,
    /// `,` in what is broken, else nothing.
    CommaIfBroken,
    /// One after the other.
    All(Vec<Doc>),
    /// Indented further.
    Inside(Box<Doc>),
    /// On one line if it fits.
    Group(Box<Doc>),
}

impl Doc {
    pub(super) fn inside(self) -> Doc {
        Doc::Inside(Box::new(self))
    }

    pub(super) fn group(self) -> Doc {
        Doc::Group(Box::new(self))
    }

    /// Whether it has a place where it can break.
    pub(super) fn can_break(&self) -> bool {
        match self {
            Doc::Line | Doc::Break | Doc::NewLine => true,
            Doc::All(parts) => parts.iter().any(Doc::can_break),
            Doc::Inside(inner) | Doc::Group(inner) => inner.can_break(),
            _ => false,
        }
    }

    /// How wide it is on one line; none if it can't be on one.
    pub(super) fn width(&self, tree: &Tree) -> Option<usize> {
        let mut measure = Measure::new(0, usize::MAX);
        measure.add(self, true, tree).then_some(measure.width)
    }
}

/// Lays out a whole file.
pub(super) fn print(doc: &Doc, tree: &Tree) -> String {
    let mut printer = Printer {
        tree,
        out: String::new(),
        column: 0,
        base: 0,
        indent: 0,
        spaces: 0,
        behind: None,
        next_above: 0,
    };
    printer.run(doc);
    printer.out
}

/// Something to print, in which indentation, and whether what it stands in is on one line.
#[derive(Clone, Copy)]
struct Work<'d> {
    doc: &'d Doc,
    indent: usize,
    flat: bool,
}

struct Printer<'a> {
    tree: &'a Tree<'a>,
    out: String,
    /// Characters on this line; 0 means that its indentation is not yet written.
    column: usize,
    /// The indentation of the last line that the layout began.
    base: usize,
    /// The indentation of this line.
    indent: usize,
    /// Spaces to write before the next token of this line.
    spaces: usize,
    /// The comment that will end this line.
    behind: Option<&'a str>,
    /// The first token whose comments above are not yet written.
    next_above: usize,
}

impl<'a> Printer<'a> {
    fn run(&mut self, doc: &Doc) {
        let mut work = vec![Work { doc, indent: 0, flat: false }];
        while let Some(Work { doc, indent, flat }) = work.pop() {
            match doc {
                Doc::Token(number) => {
                    self.above(*number, indent);
                    self.token(*number, indent);
                }
                Doc::Above(number) => self.above(*number, indent),
                Doc::Space(count) => self.spaces += count,
                Doc::Line if flat => self.spaces += 1,
                Doc::Break if flat => {}
                Doc::Line | Doc::Break | Doc::NewLine => {
                    self.new_line(indent);
                    self.base = indent;
                }
                Doc::CommaIfBroken if flat => {}
                Doc::Comma | Doc::CommaIfBroken => self.write(",", 1),
                Doc::All(parts) => work.extend(parts.iter().rev().map(|doc| Work { doc, indent, flat })),
                Doc::Inside(inner) => work.push(Work { doc: inner, indent: indent + INDENT, flat }),
                Doc::Group(inner) => {
                    let flat = flat || self.fits(inner, &work);
                    work.push(Work { doc: inner, indent, flat });
                }
            }
        }
        self.new_line(0);
    }

    /// Whether a group fits on this line, together with what must follow it there.
    fn fits(&self, group: &Doc, rest: &[Work]) -> bool {
        let used = if self.column == 0 { self.indent } else { self.column + self.spaces };
        let mut measure = Measure::new(used, WIDTH);
        if !measure.add(group, true, self.tree) {
            return false;
        }
        for work in rest.iter().rev() {
            if measure.ended {
                break;
            }
            if !measure.add(work.doc, work.flat, self.tree) {
                return false;
            }
        }
        true
    }

    fn above(&mut self, number: usize, indent: usize) {
        let Some(token) = self.tree.tokens.get(number).filter(|_| number >= self.next_above) else { return };
        self.next_above = number + 1;
        for Comment { text, blank } in &token.above {
            if self.column > 0 {
                self.continue_below(indent);
            }
            self.blank_line(*blank);
            self.write(text, 0);
            self.new_line(self.indent);
        }
    }

    fn token(&mut self, number: usize, indent: usize) {
        let Some(token) = self.tree.tokens.get(number) else { return };
        if self.behind.is_some() {
            self.continue_below(indent);
        }
        if self.column == 0 {
            self.blank_line(token.blank);
        }
        self.write(&token.text, token.text.chars().count());
        self.behind = token.behind;
    }

    fn blank_line(&mut self, wanted: bool) {
        if wanted && !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    /// Goes on below a comment where the layout has no break: further inside than the line that it began.
    fn continue_below(&mut self, indent: usize) {
        self.new_line(if indent > self.base { indent } else { self.base + INDENT });
    }

    fn new_line(&mut self, indent: usize) {
        if let Some(comment) = self.behind.take() {
            self.out.push(' ');
            self.out.push_str(comment);
        }
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        (self.column, self.indent, self.spaces) = (0, indent, 0);
    }

    fn write(&mut self, text: &str, width: usize) {
        if text.is_empty() {
            return;
        }
        let spaces = std::mem::take(&mut self.spaces);
        let spaces = if self.column == 0 { self.indent } else { spaces };
        self.out.extend(std::iter::repeat_n(' ', spaces));
        self.out.push_str(text);
        self.column += spaces + width;
    }
}

/// How wide something is on one line.
struct Measure {
    width: usize,
    /// How wide it may be.
    limit: usize,
    /// Whether a token has been seen.
    begun: bool,
    /// Whether nothing can follow on this line.
    ended: bool,
}

impl Measure {
    fn new(width: usize, limit: usize) -> Measure {
        Measure { width, limit, begun: false, ended: false }
    }

    /// Adds what is on one line (`flat`), or what may end it. False if it can't be, or is too wide.
    fn add(&mut self, doc: &Doc, flat: bool, tree: &Tree) -> bool {
        if self.ended && !flat {
            return true;
        }
        match doc {
            Doc::Token(number) => {
                let Some(token) = tree.tokens.get(*number) else { return true };
                if self.ended || self.begun && !token.above.is_empty() {
                    self.ended = true;
                    return !flat;
                }
                self.begun = true;
                self.width += token.text.chars().count();
                self.ended = token.behind.is_some();
            }
            Doc::Above(number) => {
                if tree.tokens.get(*number).is_some_and(|token| !token.above.is_empty()) {
                    self.ended = true;
                    return !flat;
                }
            }
            Doc::Space(count) => self.width += count,
            Doc::Line if flat => self.width += 1,
            Doc::Break | Doc::CommaIfBroken if flat => {}
            Doc::NewLine if flat => return false,
            Doc::Line | Doc::Break | Doc::NewLine => self.ended = true,
            Doc::Comma | Doc::CommaIfBroken => self.width += 1,
            Doc::All(parts) => return parts.iter().all(|part| self.add(part, flat, tree)),
            Doc::Inside(inner) | Doc::Group(inner) => return self.add(inner, flat, tree),
        }
        self.width <= self.limit
    }
}
