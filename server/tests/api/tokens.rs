//! Forged access tokens: each is refused, soon, and for the reason that it is there for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode};
use lictor_server::accounts::Membership;
use lictor_server::accounts::checks::Checks;
use lictor_server::accounts::tokens::{Claims, Tokens};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{TestApp, answer, text};

const LIFETIME_S: i64 = 86_400;
/// Within this time a forged token is refused.
const SOON: Duration = Duration::from_millis(10);

/// The longest head of a request, about.
const MAX_HEAD: usize = 32 * 1024;

/// What stands between a forged token and the org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// It is signed by somebody else, or not at all.
    Signature,
    /// Its header is not ours.
    Header,
    /// It says what we never say.
    Claims,
}

struct Forged {
    what: String,
    token: String,
    guard: Guard,
}

/// Bytes as tokens spell them.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        text.extend(
            (0..=chunk.len()).map(|place| char::from(DIGITS[(word >> (18 - 6 * place)) as usize & 63])),
        );
    }
    text
}

fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", base64(header.as_bytes()), base64(claims.as_bytes()));
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

const OURS: &str = r#"{"typ":"JWT","alg":"HS256"}"#;

/// Claims that are good for this person, with one member replaced by this text of JSON.
fn claims(person: &Person, name: &str, value: &str) -> String {
    let all = [
        ("sub", json!(person.sub).to_string()),
        ("org", json!(person.org).to_string()),
        ("iss", r#""lictor""#.to_owned()),
        ("aud", r#""lictor-api""#.to_owned()),
        ("iat", person.now.to_string()),
        ("exp", (person.now + LIFETIME_S).to_string()),
    ];
    let mut members: Vec<_> = all.into_iter().filter(|(known, _)| *known != name).collect();
    if !value.is_empty() {
        members.push((name, value.to_owned()));
    }
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Whom tokens are forged for.
struct Person {
    sub: String,
    org: String,
    now: i64,
    secret: [u8; 32],
}

fn forged(person: &Person) -> Vec<Forged> {
    let mut all = Vec::new();
    let mut add = |guard, what: &str, token: String| all.push(Forged { what: what.to_owned(), token, guard });
    let secret = &person.secret;
    let good = claims(person, "", "");
    let real = signed(OURS, &good, secret);
    let (message, signature) = real.rsplit_once('.').unwrap();
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#);
        let message = format!("{}.{}", base64(header.as_bytes()), base64(good.as_bytes()));
        add(Guard::Header, &format!("alg {algorithm} unsigned"), format!("{message}."));
        add(Guard::Header, &format!("alg {algorithm} signed"), signed(&header, &good, secret));
    }
    for algorithm in ["HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA", "hs256", "HS256 "] {
        let header = format!(r#"{{"typ":"JWT","alg":"{algorithm}"}}"#);
        add(Guard::Header, &format!("alg {algorithm}"), signed(&header, &good, secret));
    }
    for more in [
        r#""kid":"../../../../dev/null""#,
        r#""kid":"' UNION SELECT 'x' -- ""#,
        r#""jku":"https://evil.example/keys""#,
        r#""x5u":"https://evil.example/cert""#,
        r#""jwk":{"kty":"oct","k":"AAAA"}"#,
        r#""x5c":["AAAA"]"#,
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["http://example.com/unknown"],"http://example.com/unknown":true"#,
        r#""b64":false,"crit":["b64"]"#,
        r#""zip":"DEF""#,
        r#""cty":"JWT""#,
        r#""alg":"none""#,
    ] {
        let header = format!(r#"{{"typ":"JWT","alg":"HS256",{more}}}"#);
        add(Guard::Header, more, signed(&header, &good, secret));
    }
    add(Guard::Header, "no alg", signed(r#"{"typ":"JWT"}"#, &good, secret));
    add(Guard::Header, "no JSON", signed("JWT", &good, secret));
    for (what, key) in [
        ("empty", &b""[..]),
        ("guessed", b"secret"),
        ("public", b"-----BEGIN PUBLIC KEY-----"),
        ("zeros", &[0; 32]),
    ] {
        add(Guard::Signature, &format!("signed with the {what} key"), signed(OURS, &good, key));
    }
    for (what, signature) in [
        ("empty", String::new()),
        ("cut", signature[..42].to_owned()),
        ("of zeros", "A".repeat(43)),
        ("with padding", format!("{signature}=")),
        ("twice", format!("{signature}{signature}")),
        ("of another alphabet", format!("{}+", &signature[..42])),
    ] {
        add(Guard::Signature, &format!("signature {what}"), format!("{message}.{signature}"));
    }
    let owner = claims(person, "sub", "\"0198c0de-0000-7000-8000-00000000dead\"");
    let swapped = format!("{}.{}.{signature}", base64(OURS.as_bytes()), base64(owner.as_bytes()));
    add(Guard::Signature, "another person under the same signature", swapped);
    for kib in [8, 100] {
        let signature = "A".repeat(kib * 1024);
        add(Guard::Signature, &format!("{kib} KiB of signature"), format!("{message}.{signature}"));
    }
    add(Guard::Signature, "four parts", format!("{real}.{signature}"));
    let (now, over) = (person.now, person.now + LIFETIME_S);
    for (name, value) in [
        ("exp", format!("\"{over}\"")),
        ("exp", format!("{over}.5")),
        ("exp", format!("{over}.0")),
        ("exp", "1e400".to_owned()),
        ("exp", "-1".to_owned()),
        ("exp", "null".to_owned()),
        ("exp", "true".to_owned()),
        ("exp", format!("[{over}]")),
        ("exp", "99999999999999999999".to_owned()),
        ("exp", i64::MAX.to_string()),
        ("exp", (over + 1).to_string()),
        ("exp", String::new()),
        ("iat", format!("{now}.0")),
        ("iat", (now + 600).to_string()),
        ("iat", i64::MIN.to_string()),
        ("iat", String::new()),
        ("nbf", (now + 600).to_string()),
        ("nbf", "\"soon\"".to_owned()),
        ("nbf", "0".to_owned()),
        ("iss", "\"somebody\"".to_owned()),
        ("iss", "[\"lictor\"]".to_owned()),
        ("iss", String::new()),
        ("aud", "\"other-api\"".to_owned()),
        ("aud", "[\"lictor-api\"]".to_owned()),
        ("aud", "[\"lictor-api\",\"other-api\"]".to_owned()),
        ("aud", String::new()),
        ("sub", "\"owner\"".to_owned()),
        ("sub", "{}".to_owned()),
        ("sub", String::new()),
        ("org", String::new()),
        ("role", "\"owner\"".to_owned()),
        ("admin", "true".to_owned()),
    ] {
        add(Guard::Claims, &format!("{name}: {value}"), signed(OURS, &claims(person, name, &value), secret));
    }
    let twice = |name: &str, value: &str| format!("{},\"{name}\":{value}}}", good.trim_end_matches('}'));
    for (name, value) in
        [("exp", over.to_string()), ("sub", json!(person.sub).to_string()), ("iss", "\"lictor\"".to_owned())]
    {
        add(Guard::Claims, &format!("{name} twice"), signed(OURS, &twice(name, &value), secret));
    }
    let expired = good.replace(&over.to_string(), &(now - 10).to_string());
    let expired = expired.replace(&now.to_string(), &(now - 10 - LIFETIME_S).to_string());
    add(Guard::Claims, "expired", signed(OURS, &expired, secret));
    add(Guard::Claims, "a list", signed(OURS, "[]", secret));
    for kib in [8, 100] {
        let long = claims(person, "x", &json!("x".repeat(kib * 1024)).to_string());
        add(Guard::Claims, &format!("{kib} KiB of claims"), signed(OURS, &long, secret));
    }
    all
}

/// Whether a token gets in where this guard is missing and the others are there.
fn gets_in_without(guard: Guard, token: &str, secret: &[u8]) -> bool {
    let has_our_header = token.starts_with(&format!("{}.", base64(OURS.as_bytes())));
    let mut rules = Validation::new(Algorithm::HS256);
    (rules.validate_exp, rules.validate_aud) = (false, false);
    rules.required_spec_claims.clear();
    let is_signed = decode::<Value>(token, &DecodingKey::from_secret(secret), &rules).is_ok();
    match guard {
        Guard::Signature => has_our_header && insecure_decode::<Value>(token).is_ok(),
        Guard::Header => is_signed,
        Guard::Claims => has_our_header && is_signed,
    }
}

/// Checks of tokens with one guard missing.
#[derive(Debug)]
struct Without {
    guard: Guard,
    secret: [u8; 32],
}

impl Checks for Without {
    fn token(&self, token: &str, _now_us: i64) -> Option<Claims> {
        if !gets_in_without(self.guard, token, &self.secret) {
            return None;
        }
        let said = insecure_decode::<Value>(token).ok()?.claims;
        let or_nobody = |name: &str| said[name].as_str().map_or(Uuid::nil().to_string(), str::to_owned);
        let (sub, org) = (or_nobody("sub"), or_nobody("org"));
        serde_json::from_value(json!({"sub": sub, "org": org, "iss": "", "aud": "", "iat": 0, "exp": 0})).ok()
    }

    fn in_org(&self, own: &[Membership], named: Uuid) -> Option<Membership> {
        Tokens::new(&self.secret).in_org(own, named)
    }
}

/// The owner of a server, as tokens are forged for them.
fn owner(app: &TestApp, secret: [u8; 32]) -> Person {
    let ours = insecure_decode::<Value>(&app.token).unwrap().claims;
    Person { sub: text(&ours["sub"]), org: app.org.clone(), now: ours["iat"].as_i64().unwrap(), secret }
}

#[tokio::test]
async fn without_a_guard_forged_tokens_are_found_to_get_in() {
    for (guard, at_least) in [(Guard::Signature, 8), (Guard::Header, 10), (Guard::Claims, 25)] {
        let without =
            |secret: &[u8; 32]| Some(Arc::new(Without { guard, secret: *secret }) as Arc<dyn Checks>);
        let (app, secret) = TestApp::start_checked(without).await;
        let forged = forged(&owner(&app, secret));
        let mut inside = 0;
        for Forged { token, .. } in forged.iter().filter(|one| one.guard == guard) {
            let answer = answer(app.request(Method::GET, "/api/v1/orgs", Some(token))).await;
            inside += usize::from(answer.status == 200);
        }
        assert!(inside >= at_least, "{guard:?}: {inside}");
    }
}

#[tokio::test]
async fn forged_tokens_are_refused_at_once() {
    let (app, secret) = TestApp::start_checked(|_| None).await;
    let person = owner(&app, secret);
    let ask = |token: &str| answer(app.request(Method::GET, "/api/v1/orgs", Some(token)));
    // What is forged below starts from what is good.
    ask(&signed(OURS, &claims(&person, "", ""), &secret)).await.expect(200);
    let forged = forged(&person);
    assert!(forged.len() >= 60, "{}", forged.len());
    let mut slow = Vec::new();
    for Forged { what, token, .. } in &forged {
        let mut fastest = Duration::MAX;
        // Others use the machine as well: what takes too long once is asked again.
        for _ in 0..20 {
            let begun = Instant::now();
            let answer = ask(token).await;
            fastest = fastest.min(begun.elapsed());
            // What is longer than the head of a request may be does not get as far as that.
            let refused = if token.len() > MAX_HEAD { 431 } else { 401 };
            assert_eq!(answer.status.as_u16(), refused, "{what}: {}", answer.body);
            if fastest <= SOON {
                break;
            }
        }
        if fastest > SOON {
            slow.push((what, fastest));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}
