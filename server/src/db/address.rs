//! Where a database is, as settings say it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

/// Where a database is.
#[derive(Clone)]
pub enum Address {
    /// A file: SQLite.
    File(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PgConnectOptions>),
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::File(path) => path.display().fmt(f),
            // The password stays out of it.
            Address::Postgres(options) => {
                let name = options.get_database().unwrap_or_default();
                write!(f, "{name} at {}:{}", options.get_host(), options.get_port())
            }
        }
    }
}

/// Not the address of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a kind that is there.
    #[error(
        "the database `{0}` is not of a kind that this server knows: use `sqlite:///path/to/file.db` or `postgres://user@host/name`"
    )]
    UnknownKind(String),
    /// Not a URL of PostgreSQL. The URL is not repeated: it may hold a password.
    #[error("the PostgreSQL address can't be read: use `postgres://user:password@host:5432/name`")]
    Postgres,
}

impl Address {
    /// Where the master key is kept if none is configured.
    pub fn key_file(&self) -> Option<PathBuf> {
        match self {
            Address::File(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".key");
                Some(PathBuf::from(name))
            }
            Address::Postgres(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let options = text.parse().map_err(|_| AddressError::Postgres)?;
            return Ok(Address::Postgres(Box::new(options)));
        }
        let path = match text.strip_prefix("sqlite:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if text.contains("://") => return Err(AddressError::UnknownKind(text.to_owned())),
            None => text,
        };
        if path.is_empty() {
            return Err(AddressError::UnknownKind(text.to_owned()));
        }
        Ok(Address::File(PathBuf::from(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_paths_or_urls() {
        let file = |text: &str| match text.parse::<Address>() {
            Ok(Address::File(path)) => path.to_str().map(str::to_owned),
            _ => None,
        };
        assert_eq!(file("sqlite:///var/lib/a.db").as_deref(), Some("/var/lib/a.db"));
        assert_eq!(file("sqlite://a.db").as_deref(), Some("a.db"));
        assert_eq!(file("./a.db").as_deref(), Some("./a.db"));
        assert!(matches!("postgres://me:secret@host/a".parse(), Ok(Address::Postgres(_))));
        assert!(matches!("mysql://host/a".parse::<Address>(), Err(AddressError::UnknownKind(_))));
        assert!("sqlite://".parse::<Address>().is_err());
    }

    #[test]
    fn an_address_that_can_t_be_read_does_not_show_its_password() {
        let error = "postgres://me:secret@host:port/a".parse::<Address>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        let address: Address = "postgres://me:secret@host/a".parse().unwrap();
        assert!(!format!("{address:?}").contains("secret"));
    }
}
