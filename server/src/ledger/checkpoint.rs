//! Checkpoints (C2SP tlog-checkpoint): a ledger's name, its size and the root of its tree, signed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use uuid::Uuid;

use super::note::{Note, NoteError, SigningKey};
use crate::vault::Bytes32;

/// What a ledger was at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many entries it had.
    pub size: u64,
    /// The root of their tree.
    pub root: Bytes32,
}

/// The name of an org's ledger, which is also the name of its keys.
pub fn origin(org: Uuid) -> String {
    format!("lictor/ledger/{org}")
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64_STANDARD.encode(self.root))
    }

    /// The note that this key signs.
    pub fn sign(&self, key: &SigningKey) -> Note {
        let text = self.text();
        Note { signatures: vec![key.sign(&text)], text }
    }

    /// What a note says. Lines below the first three say more about the log than is asked here.
    pub fn of(note: &Note) -> Result<Checkpoint, NoteError> {
        let mut lines = note.text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Checkpoint);
        };
        let root = BASE64_STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let (size, Some(root)) = (whole(size), root) else { return Err(NoteError::Checkpoint) };
        match (origin, size) {
            ("", _) | (_, None) => Err(NoteError::Checkpoint),
            (origin, Some(size)) => Ok(Checkpoint { origin: origin.to_owned(), size, root }),
        }
    }
}

/// A whole number in its one spelling: digits only, no zeros in front.
pub(super) fn whole(digits: &str) -> Option<u64> {
    let is_canonical = digits == "0" || !digits.starts_with(['0', '+']);
    digits.parse::<u64>().ok().filter(|_| is_canonical)
}

#[cfg(test)]
mod tests {
    use super::super::note::Signed;
    use super::*;

    #[test]
    fn a_checkpoint_is_read_back_from_its_note() {
        let checkpoint = Checkpoint { origin: origin(Uuid::from_u128(7)), size: 42, root: [9; 32] };
        let key = SigningKey::new(checkpoint.origin.as_str(), &[1; 32]);
        let note = Note::parse(&checkpoint.sign(&key).to_string()).unwrap();
        assert_eq!(Checkpoint::of(&note), Ok(checkpoint));
        assert_eq!(note.signed_by(&[key.public()]), Signed::Yes);
        let more = Note { text: format!("{}more\n", note.text), ..note };
        assert_eq!(Checkpoint::of(&more).map(|checkpoint| checkpoint.size), Ok(42));
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let root = BASE64_STANDARD.encode([0; 32]);
        for text in [
            format!("\n1\n{root}\n"),
            format!("log\n01\n{root}\n"),
            format!("log\n+1\n{root}\n"),
            format!("log\n\n{root}\n"),
            format!("log\n1\n{root}AA\n"),
            format!("log\n18446744073709551616\n{root}\n"),
            "log\n1\n".to_owned(),
            "log\n".to_owned(),
        ] {
            let note = Note { text: text.clone(), signatures: Vec::new() };
            assert_eq!(Checkpoint::of(&note), Err(NoteError::Checkpoint), "{text:?}");
        }
    }
}
