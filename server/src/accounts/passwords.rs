//! Passwords: Argon2id, on threads that may be slow, with the same work for people who don't exist.

use std::sync::OnceLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

use crate::vault::{OpenError, hex, random};

/// The shortest password, in characters.
pub const MIN_CHARACTERS: usize = 8;
/// The longest password that is looked at, in bytes.
pub const MAX_BYTES: usize = 1_024;

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password can't be hashed: {0}")]
pub struct HashError(String);

/// Whether a password can be taken.
pub fn check(password: &str) -> Result<(), &'static str> {
    if password.chars().count() < MIN_CHARACTERS {
        return Err("must have at least 8 characters");
    }
    if password.len() > MAX_BYTES {
        return Err("is longer than 1024 bytes");
    }
    Ok(())
}

/// A password that nobody guesses: 96 random bits.
pub fn made_up() -> Result<String, OpenError> {
    Ok(hex(&random()?).chars().take(24).collect())
}

/// The hash to keep. Slow: not for threads that serve requests.
pub fn hash(password: &str) -> Result<String, HashError> {
    let hash =
        Argon2::default().hash_password(password.as_bytes()).map_err(|error| HashError(error.to_string()))?;
    Ok(hash.to_string())
}

/// Whether the password is the one that was hashed. Without a hash (nobody has that e-mail address, or no password is
/// good for it any more) it takes as long and says no. Slow: not for threads that serve requests.
pub fn verify(password: &str, kept: Option<&str>) -> bool {
    static NOBODY: OnceLock<Option<String>> = OnceLock::new();
    let nobody = NOBODY.get_or_init(|| hash("the password of nobody").ok());
    let kept = kept.filter(|hash| !hash.is_empty());
    let Some(text) = kept.or(nobody.as_deref()) else { return false };
    let Ok(parsed) = PasswordHash::new(text) else { return false };
    let matches = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
    matches && kept.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_of_somebody_matches() {
        let kept = hash("correct horse").unwrap();
        assert!(verify("correct horse", Some(&kept)));
        assert!(!verify("wrong horse", Some(&kept)));
        assert!(!verify("the password of nobody", None));
        assert!(!verify("", Some("")));
        assert!(!verify("x", Some("not a hash")));
    }
}
