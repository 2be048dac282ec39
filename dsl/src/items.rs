//! Splits a file into declarations, so that a mistake in one leaves its neighbours readable.
//!
//! This is also where comments are kept, and where nesting is bounded before any recursive code sees the text.

use crate::ast::Spanned;
use crate::diagnostics::Diagnostic;
use crate::diagnostics::syntax;
use crate::source::Span;

/// The deepest nesting of brackets that is read.
pub(crate) const NESTING_LIMIT: usize = 128;

/// The words that begin a declaration.
const DECLARATIONS: [&str; 10] =
    ["policy", "template", "param", "list", "def", "default", "rule", "test", "schema", "exempt"];

/// One declaration, not yet parsed.
#[derive(Debug)]
pub(crate) struct RawItem {
    /// The word that it begins with.
    pub keyword: &'static str,
    /// The `///` lines above it.
    pub docs: Vec<String>,
    /// All of it.
    pub span: Span,
}

/// What a file consists of.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub items: Vec<RawItem>,
    pub comments: Vec<Spanned<String>>,
    /// The names of declarations that can't be read, so that uses of them are no further mistakes.
    pub broken: Vec<String>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Splits one source.
pub(crate) fn split(source: u32, text: &str) -> Split {
    Splitter {
        source,
        text,
        at: 0,
        open: Vec::new(),
        too_deep: 0,
        item: None,
        docs: Vec::new(),
        operand: false,
        last_end: 0,
        out: Split::default(),
    }
    .run()
}

struct Splitter<'a> {
    source: u32,
    text: &'a str,
    at: usize,
    /// Open brackets of the current item: the sign and its place.
    open: Vec<(char, usize)>,
    /// Further open brackets, past the deepest that is read.
    too_deep: usize,
    item: Option<Pending>,
    docs: Vec<String>,
    /// Whether the last token ends an operand, so that `/` divides rather than begins a regex.
    operand: bool,
    /// Where the last token that is no comment ended.
    last_end: usize,
    out: Split,
}

/// The item being read.
struct Pending {
    keyword: &'static str,
    start: usize,
    docs: Vec<String>,
    /// Its brackets or quotes are wrong and that has been said: parsing it would only add noise.
    broken: bool,
}

impl Splitter<'_> {
    fn run(mut self) -> Split {
        while let Some(c) = self.rest().chars().next() {
            let start = self.at;
            let between_items = self.item.is_none();
            match c {
                // Some editors begin a file with a byte order mark.
                _ if c.is_whitespace() || c == '\u{feff}' && start == 0 => {
                    self.at += c.len_utf8();
                    continue;
                }
                '/' if self.rest().starts_with("//") => {
                    self.comment();
                    continue;
                }
                '"' => self.string(),
                '/' if !self.operand => self.regex(),
                '(' | '[' | '{' => self.open_bracket(c),
                ')' | ']' | '}' => self.close_bracket(c),
                _ if c == '_' || c.is_alphanumeric() => self.word(),
                _ => {
                    self.at += c.len_utf8();
                    self.operand = c == '?';
                }
            }
            if between_items && self.item.is_none() {
                self.stray(start);
            }
            self.last_end = self.at;
        }
        self.finish_item(self.last_end);
        self.out
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { source: self.source, start: start as u32, end: end as u32 }
    }

    fn comment(&mut self) {
        let start = self.at;
        let line = self.rest().split('\n').next().unwrap_or_default().trim_end_matches('\r');
        let (length, text) = (line.len(), line.to_owned());
        if self.open.is_empty()
            && let Some(doc) = text.strip_prefix("///")
        {
            self.docs.push(doc.strip_prefix(' ').unwrap_or(doc).to_owned());
        }
        self.at += length;
        self.out.comments.push(Spanned { value: text, span: self.span(start, start + length) });
    }

    fn string(&mut self) {
        let start = self.at;
        let mut escaped = false;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => {
                    self.at = start + offset;
                    self.unclosed_string(start);
                    return;
                }
                '"' if !escaped => {
                    self.at = start + offset + 1;
                    self.operand = true;
                    return;
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        self.at = self.text.len();
        self.unclosed_string(start);
    }

    fn unclosed_string(&mut self, start: usize) {
        self.out.diagnostics.push(syntax::unclosed_string(self.span(start, self.at)));
        self.operand = true;
        self.give_up_item();
    }

    fn regex(&mut self) {
        let start = self.at;
        let mut escaped = false;
        self.operand = true;
        for (offset, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                '/' if !escaped => {
                    self.at = start + offset + 1;
                    return;
                }
                _ => escaped = c == '\\' && !escaped,
            }
        }
        // No end on this line: a lone sign, which the parser will complain about.
        self.at = start + 1;
        self.operand = false;
    }

    fn open_bracket(&mut self, c: char) {
        if self.open.len() < NESTING_LIMIT {
            self.open.push((c, self.at));
        } else {
            self.report(syntax::too_deep(self.span(self.at, self.at + 1)));
            self.too_deep += 1;
        }
        self.at += 1;
        self.operand = false;
    }

    fn close_bracket(&mut self, c: char) {
        let matching = match c {
            ')' => '(',
            ']' => '[',
            _ => '{',
        };
        self.operand = true;
        if self.too_deep > 0 {
            self.too_deep -= 1;
            self.at += 1;
            return;
        }
        let found = self.open.iter().rposition(|(open, _)| *open == matching);
        match (found, self.open.last().copied()) {
            (Some(place), Some((open, _))) if open == matching => self.open.truncate(place),
            (Some(place), Some((open, at))) => {
                self.report(syntax::unclosed(self.span(at, at + 1), open));
                self.open.truncate(place);
            }
            _ => self.report(syntax::unmatched(self.span(self.at, self.at + 1), c)),
        }
        self.at += 1;
        let is_block =
            |item: &Pending| matches!(item.keyword, "policy" | "template" | "rule" | "test" | "schema");
        if c == '}' && self.open.is_empty() && self.item.as_ref().is_some_and(is_block) {
            self.finish_item(self.at);
        }
    }

    /// Reports what is wrong with the brackets of the current item, once.
    fn report(&mut self, diagnostic: Diagnostic) {
        if let Some(item) = &mut self.item {
            if !item.broken {
                self.out.diagnostics.push(diagnostic);
            }
            item.broken = true;
        }
    }

    fn word(&mut self) {
        let start = self.at;
        let length =
            self.rest().find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(self.rest().len());
        self.at += length;
        let word = self.text.get(start..self.at).unwrap_or_default();
        self.operand = !matches!(
            word,
            "matches" | "and" | "or" | "not" | "in" | "when" | "unless" | "if" | "then" | "else"
        );
        let Some(keyword) = DECLARATIONS.into_iter().find(|keyword| *keyword == word) else { return };
        // Right behind the word that begins a declaration it can only be meant as a name.
        if self.item.as_ref().is_some_and(|item| self.last_end == item.start + item.keyword.len()) {
            return;
        }
        let before = self.text.get(..start).unwrap_or_default();
        let after = self.rest().trim_start_matches([' ', '\t']);
        let at_line_start = before.is_empty() || before.ends_with('\n');
        let a_name_follows = after.starts_with(|c: char| c == '_' || c.is_alphabetic() || c == '"');
        if before.ends_with('.')
            || after.starts_with('<')
            || !(self.open.is_empty() || at_line_start && a_name_follows)
        {
            return;
        }
        self.finish_item(self.last_end);
        let docs = std::mem::take(&mut self.docs);
        self.item = Some(Pending { keyword, start, docs, broken: false });
    }

    /// Something stands where only a declaration may begin: say so once, up to the next declaration.
    fn stray(&mut self, start: usize) {
        let span = self.span(start, self.at);
        match self.out.diagnostics.last_mut() {
            Some(last)
                if last.code == syntax::STRAY && last.span.end as usize == self.last_end && start > 0 =>
            {
                last.span.end = span.end;
            }
            _ => self
                .out
                .diagnostics
                .push(syntax::stray(span, self.text.get(start..self.at).unwrap_or_default())),
        }
    }

    fn give_up_item(&mut self) {
        if let Some(item) = &mut self.item {
            item.broken = true;
        }
    }

    fn finish_item(&mut self, end: usize) {
        let open = std::mem::take(&mut self.open);
        self.too_deep = 0;
        let Some(item) = self.item.take() else { return };
        match open.first() {
            _ if item.broken => self.out.broken.extend(declared_name(self.text, item.start)),
            Some((sign, place)) => {
                self.out.diagnostics.push(syntax::unclosed(self.span(*place, place + 1), *sign));
                self.out.broken.extend(declared_name(self.text, item.start));
            }
            None => {
                let span = self.span(item.start, end);
                self.out.items.push(RawItem { keyword: item.keyword, docs: item.docs, span });
            }
        }
    }
}

/// The name that follows the word with which a declaration begins.
pub(crate) fn declared_name(text: &str, start: usize) -> Option<String> {
    let mut words =
        text.get(start..)?.split(|c: char| c != '_' && !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keywords(text: &str) -> Vec<&'static str> {
        split(0, text).items.iter().map(|item| item.keyword).collect()
    }

    #[test]
    fn declarations_need_no_lines_of_their_own() {
        assert_eq!(
            keywords("policy p { } rule a on intent { deny } rule b on log { warn }"),
            ["policy", "rule", "rule"]
        );
    }

    #[test]
    fn words_inside_brackets_strings_and_paths_begin_nothing() {
        let text = "rule a on log {\n when properties.rule == \"rule x {\" and name matches /rule \" {/\n because \"}\" // rule c {\n}\nparam names: list<string> = [\"list\"]";
        assert_eq!(keywords(text), ["rule", "param"]);
    }

    #[test]
    fn a_missing_brace_costs_one_declaration() {
        let split = split(0, "rule a on intent {\n  deny\n\nrule b on intent { deny }\n");
        assert_eq!(split.items.len(), 1);
        assert_eq!(split.diagnostics.len(), 1);
    }

    #[test]
    fn text_behind_a_declaration_costs_nothing_but_itself() {
        let split = split(0, "rule a on log { warn } oops, and more\nrule b on log { warn }\n");
        assert_eq!(split.items.len(), 2);
        assert_eq!(split.diagnostics.len(), 1);
    }

    #[test]
    fn an_unclosed_bracket_is_blamed_where_it_opens() {
        let split = split(0, "rule a on log { when (status == \"x\" warn }\nrule b on log { warn }\n");
        assert_eq!(split.items.len(), 1);
        assert_eq!(
            split.diagnostics.iter().map(|d| (d.code, d.span.start)).collect::<Vec<_>>(),
            [("L0103", 21)]
        );
    }

    #[test]
    fn depth_is_bounded() {
        let text =
            format!("def f() = {}1{}\nrule b on intent {{ deny }}", "(".repeat(200_000), ")".repeat(200_000));
        let split = split(0, &text);
        assert_eq!(split.diagnostics.len(), 1);
        assert_eq!(split.items.len(), 1);
    }

    #[test]
    fn comments_are_kept_and_docs_belong_to_the_next_declaration() {
        let split = split(0, "// one\n/// Why.\nrule a on log { warn } // two\n");
        assert_eq!(split.comments.len(), 3);
        assert_eq!(split.items[0].docs, ["Why."]);
    }
}
