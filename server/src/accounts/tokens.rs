//! Access tokens of people: JWT, HS256, 24 hours, every claim required and checked.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::vault::Bytes32;

/// How long a token is good, in seconds.
pub const LIFETIME_S: i64 = 86_400;
/// The first part of every token of ours: `{"typ":"JWT","alg":"HS256"}`. Nothing else is read, so no header chooses an
/// algorithm, names a key, or asks for what we don't understand.
const HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.";
/// The longest token that is looked at; ours are shorter.
const MAX_BYTES: usize = 1_024;
const ISSUER: &str = "lictor";
const AUDIENCE: &str = "lictor-api";

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// The person.
    pub sub: Uuid,
    /// Their home org.
    pub org: Uuid,
    iss: String,
    aud: String,
    iat: i64,
    exp: i64,
}

/// Signs and checks tokens.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    rules: Validation,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Tokens under this secret.
    pub fn new(secret: &Bytes32) -> Tokens {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        // Times are checked against our own clock.
        rules.validate_exp = false;
        Tokens {
            signing: EncodingKey::from_secret(secret),
            checking: DecodingKey::from_secret(secret),
            rules,
        }
    }

    /// A token for a person, good from now on.
    pub fn issue(&self, person: Uuid, org: Uuid, now_us: i64) -> jsonwebtoken::errors::Result<String> {
        let iat = now_us / 1_000_000;
        let (iss, aud) = (ISSUER.to_owned(), AUDIENCE.to_owned());
        let claims = Claims { sub: person, org, iss, aud, iat, exp: iat + LIFETIME_S };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// What a token says, if it is ours and good now.
    pub fn check(&self, token: &str, now_us: i64) -> Option<Claims> {
        if token.len() > MAX_BYTES || !token.starts_with(HEADER) {
            return None;
        }
        let now = now_us / 1_000_000;
        let claims = decode::<Claims>(token, &self.checking, &self.rules).ok()?.claims;
        let lives_as_issued = claims.exp.checked_sub(claims.iat) == Some(LIFETIME_S);
        (lives_as_issued && claims.iat <= now && now < claims.exp).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    fn tokens() -> Tokens {
        Tokens::new(&[1; 32])
    }

    #[test]
    fn a_token_is_good_for_a_day() {
        let (person, org) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let token = tokens().issue(person, org, NOW * 1_000_000).unwrap();
        let claims = tokens().check(&token, (NOW + LIFETIME_S - 1) * 1_000_000).unwrap();
        assert_eq!((claims.sub, claims.org), (person, org));
        assert!(tokens().check(&token, (NOW + LIFETIME_S) * 1_000_000).is_none());
        assert!(tokens().check(&token, (NOW - 1) * 1_000_000).is_none());
        assert!(Tokens::new(&[2; 32]).check(&token, NOW * 1_000_000).is_none());
    }

    #[test]
    fn forged_and_crooked_tokens_are_refused() {
        let good = json!({"sub": Uuid::nil(), "org": Uuid::nil(), "iss": ISSUER, "aud": AUDIENCE, "iat": NOW, "exp": NOW + LIFETIME_S});
        let sign = |claims: &serde_json::Value, algorithm| {
            encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(&[1; 32])).unwrap()
        };
        let now_us = NOW * 1_000_000;
        assert!(tokens().check(&sign(&good, Algorithm::HS256), now_us).is_some());
        assert!(tokens().check(&sign(&good, Algorithm::HS512), now_us).is_none());
        for (name, value) in [
            ("exp", json!("2099")),
            ("exp", json!(NOW as f64 + 0.5)),
            ("exp", json!(NOW + 2 * LIFETIME_S)),
            ("exp", json!(i64::MAX)),
            ("iat", json!(i64::MIN)),
            ("iss", json!("other")),
            ("aud", json!("other")),
            ("aud", json!([AUDIENCE, "other"])),
            ("sub", json!("somebody")),
            ("admin", json!(true)),
        ] {
            let mut claims = good.clone();
            claims[name] = value;
            assert!(tokens().check(&sign(&claims, Algorithm::HS256), now_us).is_none(), "{claims}");
        }
        for name in ["exp", "iat", "iss", "aud", "sub", "org"] {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert!(tokens().check(&sign(&claims, Algorithm::HS256), now_us).is_none(), "without {name}");
        }
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";
        for token in ["", ".", "..", "a.b.c", none] {
            assert!(tokens().check(token, now_us).is_none(), "{token}");
        }
    }
}
