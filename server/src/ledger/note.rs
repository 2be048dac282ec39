//! Signed notes (C2SP signed-note): a text, and lines below it in which keys sign it with Ed25519.
//!
//! A key is known by a name and four bytes that follow from name and key, and is written as C2SP's `vkey`.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::sha256;
use crate::vault::{Bytes32, hex};

/// What C2SP writes before an Ed25519 key.
const ED25519_KIND: u8 = 1;
/// Bytes of the id of a key.
const ID: usize = 4;
/// What a signature's line begins with.
const SIGNED: &str = "\u{2014} ";

/// Why a text is not a key or a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is not a public key.
    #[error("a public key looks like `name+0123abcd+AbC…`, with the id that follows from name and key")]
    Key,
    /// It is not a note.
    #[error("a signed note is a text, an empty line, and lines that begin with `\u{2014} ` and sign it")]
    Note,
    /// Its text is not a checkpoint.
    #[error("a checkpoint is three lines: the log's name, its size, the hash of its tree in base64")]
    Checkpoint,
}

/// The id of a key with this name.
fn id(name: &str, key: &Bytes32) -> [u8; ID] {
    let [first, second, third, fourth, ..] = sha256(&[name.as_bytes(), b"\n", &[ED25519_KIND], key]);
    [first, second, third, fourth]
}

/// Whether a key may have this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace())
}

/// A key that notes are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: Bytes32,
}

impl PublicKey {
    /// A key under this name.
    pub fn new(name: impl Into<String>, key: Bytes32) -> PublicKey {
        PublicKey { name: name.into(), key }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What signatures name it by, in hexadecimal.
    pub fn id(&self) -> String {
        hex(&id(&self.name, &self.key))
    }

    /// The key itself.
    pub fn bytes(&self) -> &Bytes32 {
        &self.key
    }

    /// Reads a `vkey`.
    pub fn parse(text: &str) -> Result<PublicKey, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key);
        };
        let bytes = BASE64_STANDARD.decode(key).map_err(|_| NoteError::Key)?;
        let Some((&ED25519_KIND, key)) = bytes.split_first() else { return Err(NoteError::Key) };
        let key = PublicKey::new(name, key.try_into().map_err(|_| NoteError::Key)?);
        if is_name(name) && key.id() == id { Ok(key) } else { Err(NoteError::Key) }
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = vec![ED25519_KIND];
        bytes.extend(self.key);
        write!(f, "{}+{}+{}", self.name, self.id(), BASE64_STANDARD.encode(bytes))
    }
}

/// A key that signs notes.
pub struct SigningKey {
    name: String,
    pair: Ed25519KeyPair,
    public: Bytes32,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public().to_string()).finish()
    }
}

impl SigningKey {
    /// The key that follows from this secret, under this name.
    pub fn new(name: impl Into<String>, secret: &Bytes32) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(secret).expect("every 32 bytes are an Ed25519 secret");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        SigningKey { name: name.into(), pair, public }
    }

    /// What checks its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.name.as_str(), self.public)
    }

    /// Signs a text.
    pub fn sign(&self, text: &str) -> Signature {
        let bytes = self.pair.sign(text.as_bytes()).as_ref().to_vec();
        Signature { name: self.name.clone(), id: id(&self.name, &self.public), bytes }
    }
}

/// One line below a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    id: [u8; ID],
    bytes: Vec<u8>,
}

impl Signature {
    /// Reads a line without its end.
    fn parse(line: &str) -> Option<Signature> {
        let (name, code) = line.strip_prefix(SIGNED)?.split_once(' ')?;
        let code = BASE64_STANDARD.decode(code).ok()?;
        let (id, bytes) = code.split_first_chunk::<ID>()?;
        let signature = Signature { name: name.to_owned(), id: *id, bytes: bytes.to_vec() };
        (is_name(name) && !bytes.is_empty()).then_some(signature)
    }

    /// What is signed with, without the line around it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A signature of this key that was kept without the line around it.
    pub fn of(key: &PublicKey, bytes: Vec<u8>) -> Signature {
        Signature { name: key.name.clone(), id: id(&key.name, &key.key), bytes }
    }

    /// Whether it says that it is this key's.
    fn names(&self, key: &PublicKey) -> bool {
        self.name == key.name && self.id == id(&key.name, &key.key)
    }
}

/// A text with signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What is signed; ends with a line end.
    pub text: String,
    /// By whom.
    pub signatures: Vec<Signature>,
}

/// What keys say of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// One of them signed it, and none of their signatures is wrong.
    Yes,
    /// None of its signatures names one of them.
    Unknown,
    /// A signature names one of them, which did not make it.
    Wrong,
}

impl Note {
    /// Reads one note.
    pub fn parse(text: &str) -> Result<Note, NoteError> {
        if text.contains(|c: char| c.is_ascii_control() && c != '\n') {
            return Err(NoteError::Note);
        }
        let (body, below) = text.rsplit_once("\n\n").ok_or(NoteError::Note)?;
        let lines = below.strip_suffix('\n').ok_or(NoteError::Note)?;
        let signatures = lines.split('\n').map(Signature::parse).collect::<Option<Vec<_>>>();
        Ok(Note { text: format!("{body}\n"), signatures: signatures.ok_or(NoteError::Note)? })
    }

    /// Reads notes that stand one below the other, with empty lines between them or none.
    pub fn parse_all(text: &str) -> Result<Vec<Note>, NoteError> {
        let mut notes = Vec::new();
        let mut rest = text.trim_start_matches('\n');
        while !rest.is_empty() {
            let (note, others) = Note::parse_first(rest).ok_or(NoteError::Note)?;
            notes.push(note);
            rest = others;
        }
        Ok(notes)
    }

    /// The first of several notes, if there is a whole one, and what stands behind it and empty lines.
    pub fn parse_first(text: &str) -> Option<(Note, &str)> {
        let (note, rest) = text.split_at_checked(end_of_first(text)?)?;
        Some((Note::parse(note).ok()?, rest.trim_start_matches('\n')))
    }

    /// Whether these keys signed it.
    pub fn signed_by(&self, keys: &[PublicKey]) -> Signed {
        let mut found = Signed::Unknown;
        for signature in &self.signatures {
            // Several keys may share an id by chance: one of them has to fit.
            let mut named = keys.iter().filter(|key| signature.names(key)).peekable();
            if named.peek().is_none() {
                continue;
            }
            let fits = |key: &PublicKey| {
                UnparsedPublicKey::new(&ED25519, key.key)
                    .verify(self.text.as_bytes(), &signature.bytes)
                    .is_ok()
            };
            if !named.any(fits) {
                return Signed::Wrong;
            }
            found = Signed::Yes;
        }
        found
    }
}

/// Where the first of several notes ends: behind its last signature.
fn end_of_first(text: &str) -> Option<usize> {
    let mut end = text.find("\n\n")? + 2;
    let start = end;
    while let Some(line) = text.get(end..).filter(|rest| rest.starts_with(SIGNED)) {
        end += line.find('\n')? + 1;
    }
    (end > start).then_some(end)
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        for Signature { name, id, bytes } in &self.signatures {
            writeln!(f, "{SIGNED}{name} {}", BASE64_STANDARD.encode([id.as_slice(), bytes].concat()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Go's package `golang.org/x/mod/sumdb/note`.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn a_known_note_is_read_and_checked() {
        let (key, note) = (PublicKey::parse(KEY).unwrap(), Note::parse(NOTE).unwrap());
        assert_eq!((key.to_string(), note.to_string()), (KEY.to_owned(), NOTE.to_owned()));
        assert_eq!(note.signed_by(std::slice::from_ref(&key)), Signed::Yes);
        let other = SigningKey::new("PeterNeumann", &[7; 32]).public();
        assert_eq!(note.signed_by(&[other]), Signed::Unknown);
        let changed = Note { text: note.text.replace("problem", "Problem"), ..note };
        assert_eq!(changed.signed_by(&[key]), Signed::Wrong);
    }

    #[test]
    fn a_key_whose_id_does_not_fit_is_none() {
        for text in [
            "",
            "a+b",
            &KEY.replace("c74f20a3", "c74f20a4"),
            &KEY.replace("Peter", "Paul"),
            &KEY.replace("ARpc", "AFpc"),
            &KEY.replace("10TW", "10T"),
        ] {
            assert_eq!(PublicKey::parse(text), Err(NoteError::Key), "{text}");
        }
    }

    #[test]
    fn what_two_keys_sign_is_checked_with_either() {
        let keys = [SigningKey::new("log", &[1; 32]), SigningKey::new("log", &[2; 32])];
        let text = "a text\n";
        let note =
            Note { text: text.to_owned(), signatures: keys.iter().map(|key| key.sign(text)).collect() };
        let read = Note::parse_all(&format!("{note}\n{note}{NOTE}")).unwrap();
        assert_eq!(read, [note.clone(), note.clone(), Note::parse(NOTE).unwrap()]);
        for key in &keys {
            assert_eq!(note.signed_by(&[key.public()]), Signed::Yes);
        }
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for text in [
            "",
            "a\n",
            "a\n\nb\n",
            "a\n\n\u{2014} b\n",
            "a\n\n\u{2014} b AAAAAA==\n",
            "a\t\n\n\u{2014} b AAAAAAA=\n",
        ] {
            assert_eq!(Note::parse(text), Err(NoteError::Note), "{text:?}");
        }
        assert_eq!(Note::parse_all("a\n\nb\n"), Err(NoteError::Note));
        assert_eq!(Note::parse_all(NOTE.trim_end()), Err(NoteError::Note));
        assert_eq!(Note::parse_all("\n\n"), Ok(Vec::new()));
    }
}
