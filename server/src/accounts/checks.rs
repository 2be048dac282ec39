//! What stands between a credential and an org.

use std::fmt::Debug;

use uuid::Uuid;

use super::Membership;
use super::tokens::{Claims, Tokens};

/// Says which tokens are good, and which orgs a caller may act in.
///
/// A server has one, [`Tokens`]. Tests put others in its place that check less, to see that they would notice.
pub trait Checks: Debug + Send + Sync {
    /// What an access token says, if it is good now.
    fn token(&self, token: &str, now_us: i64) -> Option<Claims>;

    /// What a caller is in the org that they name: nothing, unless they belong to it.
    fn in_org(&self, own: &[Membership], named: Uuid) -> Option<Membership>;
}

impl Checks for Tokens {
    fn token(&self, token: &str, now_us: i64) -> Option<Claims> {
        self.check(token, now_us)
    }

    fn in_org(&self, own: &[Membership], named: Uuid) -> Option<Membership> {
        own.iter().find(|membership| membership.org == named).copied()
    }
}
