//! Every setting, its default and its unit.

use crate::db::AddressError;

/// What the server needs to know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, as `host:port`. Port 0 takes any free one.
    pub listen: String,
    /// The database: `sqlite:///abs/path.db`, `sqlite://relative.db`, a path, or `postgres://user:password@host/name`.
    pub database: String,
    /// The owner that the first start makes (`LICTOR_OWNER_EMAIL`); made up and printed if none.
    pub owner_email: Option<String>,
    /// The owner's password (`LICTOR_OWNER_PASSWORD`); made up and printed if none.
    pub owner_password: Option<String>,
    /// 64 hexadecimal digits (`LICTOR_MASTER_KEY`); kept in a file beside the database if none, which PostgreSQL has not.
    pub master_key: Option<String>,
    /// Whether anybody may make an org of their own (`LICTOR_OPEN_REGISTRATION=1`).
    pub open_registration: bool,
    /// Connections that may be open at once; further ones wait to be accepted.
    pub max_connections: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: "127.0.0.1:8000".to_owned(),
            database: "lictor.db".to_owned(),
            owner_email: None,
            owner_password: None,
            master_key: None,
            open_registration: false,
            max_connections: 4_096,
        }
    }
}

/// A setting can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not the address of a database.
    #[error(transparent)]
    Database(#[from] AddressError),
    /// Half an owner.
    #[error("LICTOR_OWNER_EMAIL and LICTOR_OWNER_PASSWORD belong together: set both or neither")]
    HalfAnOwner,
    /// Not an e-mail address.
    #[error("LICTOR_OWNER_EMAIL `{0}` is not an e-mail address")]
    OwnerEmail(String),
    /// Too easy to guess.
    #[error("LICTOR_OWNER_PASSWORD must have at least 8 characters")]
    OwnerPassword,
}

impl Config {
    /// The defaults, overridden by what the environment says.
    pub fn from_environment() -> Config {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let default = Config::default();
        Config {
            listen: set("LICTOR_LISTEN").unwrap_or(default.listen),
            database: set("LICTOR_DATABASE").unwrap_or(default.database),
            owner_email: set("LICTOR_OWNER_EMAIL"),
            owner_password: set("LICTOR_OWNER_PASSWORD"),
            master_key: set("LICTOR_MASTER_KEY"),
            open_registration: set("LICTOR_OPEN_REGISTRATION").is_some_and(|value| value == "1"),
            max_connections: default.max_connections,
        }
    }

    /// The owner for a first start, if one is configured.
    pub fn owner(&self) -> Result<Option<(String, String)>, ConfigError> {
        match (&self.owner_email, &self.owner_password) {
            (None, None) => Ok(None),
            (Some(email), Some(_)) if !looks_like_email(email) => Err(ConfigError::OwnerEmail(email.clone())),
            (Some(_), Some(password)) if password.chars().count() < 8 => Err(ConfigError::OwnerPassword),
            (Some(email), Some(password)) => Ok(Some((email.trim().to_lowercase(), password.clone()))),
            _ => Err(ConfigError::HalfAnOwner),
        }
    }
}

/// Whether a text can be an e-mail address.
pub fn looks_like_email(text: &str) -> bool {
    let text = text.trim();
    let parts = text.split_once('@');
    parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
        && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_whole_or_absent() {
        let owner = |email: Option<&str>, password: Option<&str>| {
            let (owner_email, owner_password) = (email.map(str::to_owned), password.map(str::to_owned));
            Config { owner_email, owner_password, ..Config::default() }.owner()
        };
        assert_eq!(owner(None, None), Ok(None));
        let want = Some(("a@b.example".to_owned(), "long enough".to_owned()));
        assert_eq!(owner(Some("A@b.example"), Some("long enough")), Ok(want));
        assert_eq!(owner(Some("a@b.example"), None), Err(ConfigError::HalfAnOwner));
        assert_eq!(owner(Some("a@b.example"), Some("short")), Err(ConfigError::OwnerPassword));
        assert!(owner(Some("nobody"), Some("long enough")).is_err());
    }
}
