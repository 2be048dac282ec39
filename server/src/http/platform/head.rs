//! What has to be known of an event before it is read as one: whose it is, and whether it is only asked about.
//!
//! Nothing is checked here, as reading the event checks all of it. So what is found holds only of a text that then is
//! read without a fault: well-formed JSON in which no object says a key twice. Passing the text a second time with
//! every check took as long as reading the event.

/// What a request says beside its event.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The id or the name of the agent.
    pub agent: &'a str,
    /// Whether nothing is to be recorded.
    pub dry_run: bool,
}

impl Head<'_> {
    /// Nothing, if it has many events, names no agent, or is written in a way that has to be looked at closely.
    pub fn find(text: &str) -> Option<Head<'_>> {
        let mut scan = Scan { text, at: 0 };
        let (mut agent, mut dry_run) = (None, false);
        let (mut depth, mut in_agent) = (0_usize, false);
        while let Some(byte) = scan.next() {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    in_agent &= depth > 1;
                }
                b'"' => {
                    let said = scan.string()?;
                    if depth > 2 || (depth == 2 && !in_agent) || !scan.colon() {
                        continue;
                    }
                    match (depth, said.plain()?) {
                        (1, "events") => return None,
                        (1, "agent") => in_agent = scan.rest().starts_with('{'),
                        (1, "dry_run") => dry_run = scan.boolean()?,
                        (2, "id") => agent = Some(scan.value()?.plain()?),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        agent.map(|agent| Head { agent, dry_run })
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// What stands between two quotes.
struct Said<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> Said<'a> {
    /// The text, where it is written as it is.
    fn plain(&self) -> Option<&'a str> {
        (!self.escaped).then_some(self.text)
    }
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The rest of a string whose first quote was passed.
    fn string(&mut self) -> Option<Said<'a>> {
        let (start, mut escaped) = (self.at, false);
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                }
                _ => {}
            }
        }
        Some(Said { text: self.text.get(start..self.at - 1)?, escaped })
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    /// Whether a colon follows; then it is passed, and what stands before the value.
    fn colon(&mut self) -> bool {
        self.space();
        let is_key = self.rest().starts_with(':');
        if is_key {
            self.at += 1;
            self.space();
        }
        is_key
    }

    fn boolean(&self) -> Option<bool> {
        match self.rest() {
            rest if rest.starts_with("true") => Some(true),
            rest if rest.starts_with("false") => Some(false),
            _ => None,
        }
    }

    /// The string that follows.
    fn value(&mut self) -> Option<Said<'a>> {
        self.next().filter(|byte| *byte == b'"')?;
        self.string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that can't go on should say so")]

    use lictor_engine::event::{AgentFacts, Event, Origin};

    use super::*;

    fn found(text: &str) -> Option<(&str, bool)> {
        Head::find(text).map(|head| (head.agent, head.dry_run))
    }

    #[test]
    fn one_event_names_its_agent() {
        for text in [
            r#"{"agent":{"id":"bot"}}"#,
            r#" {"id": "x", "a": [1, {"id": "y", "agent": {"id": "z"}}], "agent" : {"x": {"id": 2}, "id" : "bot"}} "#,
            r#"{"b": "agent", "agent": {"tags": ["id", "agent"], "id": "bot", "y": null}, "c": "\"agent\":{\"id\":\"x\"}"}"#,
            r#"{"agent": {"id": "bot"}, "dry_run": false, "note": "\\", "list": ["dry_run"]}"#,
        ] {
            assert_eq!(found(text), Some(("bot", false)), "{text}");
        }
        assert_eq!(found(r#"{"dry_run": true, "agent": {"id": "bot"}}"#), Some(("bot", true)));
    }

    #[test]
    fn all_else_is_looked_at_closely() {
        for text in [
            "",
            "[]",
            "{}",
            "}",
            r#"{"agent": "bot"}"#,
            r#"{"agent": null, "x": {"id": "bot"}}"#,
            r#"{"agent": [], "x": {"id": "bot"}}"#,
            r#"{"agent": {"id": 5}}"#,
            r#"{"agent": {"id": "b\u006ft"}}"#,
            r#"{"agent": {"\u0069d": "bot"}}"#,
            r#"{"\u0061gent": {"id": "bot"}}"#,
            r#"{"agent": {"x": {"id": "bot"}}}"#,
            r#"{"agent": {"id": "a"}, "events": []}"#,
            r#"{"agent": {"id": "a"}, "dry_run": null}"#,
            r#"{"agent": {"id": "a"}, "x": "unfinished"#,
            "{\"agent\": {\"id\": \"a\"}, \"x\": \"\\",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    /// What is found rests on that: of two values for one key another reader could take the other.
    #[test]
    fn no_event_says_a_key_twice() {
        let agent = AgentFacts { id: "a".to_owned(), ..AgentFacts::default() };
        let origin = Origin::Server { org: "o", source: "s", agent: &agent };
        let read = |text: &str| Event::decode(text.as_bytes(), origin);
        assert!(read(r#"{"event":"intent","action":"x","agent":{"id":"a"},"dry_run":true}"#).is_ok());
        for text in [
            r#"{"event":"intent","action":"x","agent":{"id":"a"},"agent":{"id":"b"}}"#,
            r#"{"event":"intent","action":"x","agent":{"id":"a","id":"b"}}"#,
            r#"{"event":"intent","action":"x","agent":{"id":"a"},"dry_run":true,"dry_run":false}"#,
        ] {
            let invalid = read(text).expect_err("a key twice");
            assert!(invalid.errors[0].message.contains("twice"), "{invalid:?}");
        }
    }
}
