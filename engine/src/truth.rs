//! The three truth values. Their numbers are chosen so that `and` is the least, `or` the greatest, `not` 2 − x.

use serde::{Deserialize, Serialize};

/// What a condition says about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[repr(u8)]
pub enum Truth {
    /// Certainly not.
    #[default]
    False = 0,
    /// It can't be known: something is absent, or of another type.
    Unknown = 1,
    /// Certainly.
    True = 2,
}

impl Truth {
    /// Kleene's and.
    pub fn and(self, other: Truth) -> Truth {
        self.min(other)
    }

    /// Kleene's or.
    pub fn or(self, other: Truth) -> Truth {
        self.max(other)
    }

    /// Kleene's not.
    #[expect(clippy::should_implement_trait, reason = "`!` on a truth would read as if it were two-valued")]
    pub fn not(self) -> Truth {
        match self {
            Truth::False => Truth::True,
            Truth::Unknown => Truth::Unknown,
            Truth::True => Truth::False,
        }
    }

    /// The truth with this number, as machine code returns it. Any other number is unknown.
    pub fn from_byte(byte: u8) -> Truth {
        match byte {
            0 => Truth::False,
            2 => Truth::True,
            _ => Truth::Unknown,
        }
    }

    /// The word shown in explanations.
    pub fn name(self) -> &'static str {
        match self {
            Truth::False => "false",
            Truth::Unknown => "unknown",
            Truth::True => "true",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Truth {
        if value { Truth::True } else { Truth::False }
    }
}
