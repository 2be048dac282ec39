//! The checked form: names resolved, every expression typed. What the engine consumes.

/// All policies that are active together.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    /// The policies, by name.
    pub policies: Vec<Policy>,
}

/// One checked policy.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The name in its header.
    pub name: String,
    /// Its title, or its name.
    pub title: String,
    /// Decides nothing, reports everything (also `mode = "shadow"` in the header). The server may set it.
    pub shadow: bool,
}
