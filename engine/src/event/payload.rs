//! Json fields: checked text, read when a rule asks for it, and no further than it asks.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::json::{self, Cursor, Json, unescaped};

/// A json field: checked text, read when a rule first asks for it. Its clones share both.
#[derive(Debug, Clone)]
pub struct JsonField(Arc<Lazy>);

#[derive(Debug)]
struct Lazy {
    text: Box<str>,
    value: OnceLock<Json>,
    members: OnceLock<Vec<Member>>,
}

/// One member of an object.
#[derive(Debug)]
struct Member {
    /// Where its key stands, between the quotes.
    key: Range<usize>,
    /// The key itself, where it is spelled with escapes: nobody's key is decoded twice.
    decoded: Option<Box<str>>,
    text: Range<usize>,
    value: OnceLock<Json>,
}

impl JsonField {
    /// Takes text that a [`Cursor`] has passed.
    pub(super) fn new(checked: &str) -> JsonField {
        JsonField(Arc::new(Lazy { text: checked.into(), value: OnceLock::new(), members: OnceLock::new() }))
    }

    /// The value. Reads the text the first time.
    pub fn value(&self) -> &Json {
        self.0.value.get_or_init(|| parsed(&self.0.text))
    }

    /// The member of this key; none where this is no object, and for `null`, as [`Json::get`] has it.
    ///
    /// Reads that member alone: to make a tree of all of a payload takes as long as to read the event that brought it,
    /// and most rules ask for one member or two.
    pub fn member(&self, key: &str) -> Option<&Json> {
        if let Some(value) = self.0.value.get() {
            return value.get(key);
        }
        let spelled = |member: &&Member| match &member.decoded {
            Some(decoded) => **decoded == *key,
            None => self.part(&member.key) == key,
        };
        let member = self.members().iter().find(spelled)?;
        let value = member.value.get_or_init(|| parsed(self.part(&member.text)));
        Some(value).filter(|value| !value.is_null())
    }

    fn members(&self) -> &[Member] {
        self.0.members.get_or_init(|| {
            let member = |(key, text): (Range<usize>, Range<usize>)| {
                let decoded = match unescaped(self.part(&key)) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(decoded) => Some(decoded.into()),
                };
                Member { key, decoded, text, value: OnceLock::new() }
            };
            Cursor::spans(&self.0.text).into_iter().map(member).collect()
        })
    }

    /// How many members a look-up may have to pass.
    pub(crate) fn breadth(&self) -> usize {
        match self.0.value.get() {
            Some(value) => value.breadth(),
            None => self.members().len(),
        }
    }

    /// Bytes that were read so far: once to find the members, and for what was made of them or of all of it.
    pub(super) fn bytes_read(&self) -> usize {
        let members = self.0.members.get().into_iter().flatten();
        let made = members.filter(|member| member.value.get().is_some()).map(|member| member.text.len());
        let passes = usize::from(self.0.members.get().is_some()) + usize::from(self.0.value.get().is_some());
        passes * self.0.text.len() + made.sum::<usize>()
    }

    /// The JSON text as it was received.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.0.text.get(range.clone()).unwrap_or_default()
    }
}

/// The text is well-formed; were it not, nothing would be known of it.
fn parsed(text: &str) -> Json {
    json::parse(text.as_bytes()).unwrap_or(Json::Null)
}

/// Certain equality of the values.
impl PartialEq for JsonField {
    fn eq(&self, other: &JsonField) -> bool {
        self.value() == other.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_what_the_tree_has() {
        for text in [
            r#"{"a":1.50,"b":null,"c":{"a":[1,{"x":"\n"}]},"\u0064\"":"d","":[] , "a.b" : true}"#,
            "{}",
            "[1]",
            r#""a""#,
            "null",
        ] {
            for key in ["a", "b", "c", "d\"", "\\u0064\\\"", "", "a.b", "x", "0"] {
                let (by_member, by_tree) = (JsonField::new(text), JsonField::new(text));
                assert_eq!(by_member.member(key), by_tree.value().get(key), "{text} {key}");
                assert_eq!(by_tree.member(key), by_tree.value().get(key), "{text} {key}");
                assert!(by_member.0.value.get().is_none());
            }
        }
    }
}
