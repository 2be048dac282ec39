//! Every setting, its default and its unit.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::db::AddressError;
use crate::quota::Tier;

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
    /// A file of the keys that sign checkpoints (`LICTOR_LEDGER_KEY_FILE`); made and kept in the database if none.
    pub ledger_key_file: Option<PathBuf>,
    /// The public key that signed checkpoints and that nobody has any more (`LICTOR_LEDGER_KEY_LOST`): it is replaced.
    pub ledger_key_lost: Option<String>,
    /// A file that every checkpoint is appended to (`LICTOR_CHECKPOINT_FILE`), best on another disk.
    pub checkpoint_file: Option<PathBuf>,
    /// Where callers reach it (`LICTOR_PUBLIC_URL`), such as `https://lictor.example.com`.
    pub public_url: Option<String>,
    /// What whoever reads `/metrics` has to send (`LICTOR_METRICS_TOKEN`); if none, only this machine reads it.
    pub metrics_token: Option<String>,
    /// How much an org may ask of `/api/v3` (`LICTOR_TIER`: `starter`, `growth` or `enterprise`).
    pub tier: Tier,
    /// How many intents it may declare a day, whatever its tier (`LICTOR_INTENTS_PER_DAY`).
    pub intents_per_day: Option<u32>,
    /// What callers may take of the server.
    pub limits: Limits,
}

/// What callers may take of the server, so that nobody wears it down.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that may be open at once (`LICTOR_MAX_CONNECTIONS`); further ones wait to be accepted.
    pub connections: usize,
    /// Of these, by one address (`LICTOR_MAX_CONNECTIONS_PER_ADDRESS`); further ones are closed at once.
    pub connections_per_address: usize,
    /// How long the head of a request may take to arrive (`LICTOR_HEAD_TIMEOUT_MS`), and how long a connection may
    /// stay without a request.
    pub head_timeout: Duration,
    /// How long a whole body may take to arrive after the head (`LICTOR_BODY_TIMEOUT_MS`).
    pub body_timeout: Duration,
    /// How long an answer may wait for its reader to take a part of it (`LICTOR_WRITE_TIMEOUT_MS`).
    pub write_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4_096,
            connections_per_address: 256,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(20),
        }
    }
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
            ledger_key_file: None,
            ledger_key_lost: None,
            checkpoint_file: None,
            public_url: None,
            metrics_token: None,
            tier: Tier::default(),
            intents_per_day: None,
            limits: Limits::default(),
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
    /// Not a tier.
    #[error("LICTOR_TIER `{0}` is not `starter`, `growth` or `enterprise`")]
    Tier(String),
    /// Not a number, or one that makes no sense.
    #[error("{0} `{1}` is not a whole number above 0")]
    Number(&'static str, String),
    /// Too easy to guess.
    #[error("LICTOR_OWNER_PASSWORD must have at least 8 characters")]
    OwnerPassword,
}

impl Config {
    /// The defaults, overridden by what the environment says.
    pub fn from_environment() -> Result<Config, ConfigError> {
        let default = Config::default();
        Ok(Config {
            listen: set("LICTOR_LISTEN").unwrap_or(default.listen),
            database: set("LICTOR_DATABASE").unwrap_or(default.database),
            owner_email: set("LICTOR_OWNER_EMAIL"),
            owner_password: set("LICTOR_OWNER_PASSWORD"),
            master_key: set("LICTOR_MASTER_KEY"),
            open_registration: set("LICTOR_OPEN_REGISTRATION").is_some_and(|value| value == "1"),
            ledger_key_file: set("LICTOR_LEDGER_KEY_FILE").map(PathBuf::from),
            ledger_key_lost: set("LICTOR_LEDGER_KEY_LOST"),
            checkpoint_file: set("LICTOR_CHECKPOINT_FILE").map(PathBuf::from),
            public_url: set("LICTOR_PUBLIC_URL"),
            metrics_token: set("LICTOR_METRICS_TOKEN"),
            tier: match set("LICTOR_TIER") {
                Some(tier) => tier.parse().map_err(|()| ConfigError::Tier(tier))?,
                None => Tier::default(),
            },
            intents_per_day: match number("LICTOR_INTENTS_PER_DAY", u32::MAX)? {
                u32::MAX => None,
                intents => Some(intents),
            },
            limits: Limits::from_environment()?,
        })
    }

    /// Whether callers come over TLS.
    pub fn is_behind_tls(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
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

impl Limits {
    fn from_environment() -> Result<Limits, ConfigError> {
        let default = Limits::default();
        let millis = |name, default: Duration| {
            let millis = number(name, u64::try_from(default.as_millis()).unwrap_or(u64::MAX));
            millis.map(Duration::from_millis)
        };
        Ok(Limits {
            connections: number("LICTOR_MAX_CONNECTIONS", default.connections)?,
            connections_per_address: number(
                "LICTOR_MAX_CONNECTIONS_PER_ADDRESS",
                default.connections_per_address,
            )?,
            head_timeout: millis("LICTOR_HEAD_TIMEOUT_MS", default.head_timeout)?,
            body_timeout: millis("LICTOR_BODY_TIMEOUT_MS", default.body_timeout)?,
            write_timeout: millis("LICTOR_WRITE_TIMEOUT_MS", default.write_timeout)?,
        })
    }
}

/// A variable of the environment that is set to something.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: FromStr + PartialOrd + From<u8>>(name: &'static str, default: T) -> Result<T, ConfigError> {
    let Some(text) = set(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| *number > T::from(0));
    number.ok_or(ConfigError::Number(name, text))
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
