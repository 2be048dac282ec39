//! Ids of what comes often: requests and decisions.

use std::cell::RefCell;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use uuid::{Builder, Uuid};

/// Random bytes of one id.
const ID_BYTES: usize = 10;
/// Random bytes fetched at once: asking the system for each id costs more than the rest of making it.
const FETCHED: usize = 128 * ID_BYTES;

/// Random bytes that no id has yet.
struct Pool {
    bytes: [u8; FETCHED],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; FETCHED], used: FETCHED }) };
}

/// A new UUIDv7. Those of one millisecond are in no order.
pub fn new() -> Uuid {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(passed.as_millis()).unwrap_or_default();
    match POOL.with_borrow_mut(Pool::take) {
        Some(random) => Builder::from_unix_timestamp_millis(millis, &random).into_uuid(),
        None => Uuid::now_v7(),
    }
}

impl Pool {
    fn take(&mut self) -> Option<[u8; ID_BYTES]> {
        if self.used >= FETCHED {
            rand::fill(&mut self.bytes).ok()?;
            self.used = 0;
        }
        let random = *self.bytes.get(self.used..)?.first_chunk()?;
        self.used += ID_BYTES;
        Some(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_id_comes_twice() {
        let ids: HashSet<Uuid> = (0..1_000).map(|_| new()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }
}
