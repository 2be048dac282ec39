//! Accounts: who calls, by which credential, and what that lets them do.

pub mod checks;
pub mod keys;
pub mod logins;
pub mod passwords;
pub mod people;
pub mod tokens;

use std::sync::Arc;

use uuid::Uuid;

use keys::ApiKey;

pub use people::{Joining, Member, Membership};

/// What a person may do in an org, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Works with agents, policies and incidents.
    Member,
    /// Also decides approvals.
    Approver,
    /// Also manages people and settings.
    Admin,
    /// Everything.
    Owner,
}

impl Role {
    /// Every role, weakest first.
    pub const ALL: [Role; 5] = [Role::Viewer, Role::Member, Role::Approver, Role::Admin, Role::Owner];

    /// The word in the database and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Member => "member",
            Role::Approver => "approver",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// The role with this name.
    pub fn named(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// What people are told that a role can be.
    pub fn names() -> String {
        Role::ALL.map(Role::name).join(", ")
    }
}

/// A person, as stored.
#[derive(Debug, Clone)]
pub struct User {
    /// Their id, which is also their account.
    pub id: Uuid,
    /// Their home org: the one that gave out the password of their first login.
    pub org: Uuid,
    /// Their e-mail address, in lower case; unique everywhere.
    pub email: String,
    /// An Argon2id hash in PHC form; empty if no password is good any more.
    pub password_hash: String,
    /// Whether the password was made up and is good for one login.
    pub one_time: bool,
    /// Since when.
    pub created_at_us: i64,
}

/// A person behind a request.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their id, which is also their account.
    pub id: Uuid,
    /// The org that they act in.
    pub org: Uuid,
    /// What they may do there.
    pub role: Role,
}

/// Whoever is behind a request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// An API key of an agent or a service.
    Key(Arc<ApiKey>),
    /// A person with an access token.
    Person(Person),
}

impl Caller {
    /// The org that the caller acts in.
    pub fn org(&self) -> Uuid {
        match self {
            Caller::Key(key) => key.org,
            Caller::Person(person) => person.org,
        }
    }

    /// The account behind the credential.
    pub fn account(&self) -> Uuid {
        match self {
            Caller::Key(key) => key.account,
            Caller::Person(person) => person.id,
        }
    }

    /// The key, if it is one.
    pub fn key_id(&self) -> Option<Uuid> {
        match self {
            Caller::Key(key) => Some(key.id),
            Caller::Person(_) => None,
        }
    }

    /// How the ledger names the caller.
    pub fn actor(&self) -> String {
        match self {
            Caller::Key(key) => format!("key:{}", key.id),
            Caller::Person(person) => format!("user:{}", person.id),
        }
    }
}
