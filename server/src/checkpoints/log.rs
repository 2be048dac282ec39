//! A ledger's tree as far as it was read: its right edge in memory, its full tiles in the database.

use std::ops::Range;

use uuid::Uuid;

use super::CheckpointError;
use crate::db::{Database, StoreError};
use crate::ledger::tree::{Edge, FullTile, TILE_WIDTH, TilePlace, Tiles, leaf, tile_root};
use crate::ledger::{Head, StoredEntry, Verified, verify};
use crate::vault::Bytes32;

/// Entries that are read at once.
const ENTRIES_AT_ONCE: i64 = 1_000;

/// The tree over the first entries of a ledger.
#[derive(Debug)]
pub(super) struct Log {
    edge: Edge,
    /// Where the ledger stood behind them.
    head: Head,
    /// Tiles that are full and not stored yet. Whoever reads may be gone before they are.
    filled: Vec<FullTile>,
}

impl Log {
    /// The tree over some of the first entries, no more than so many: those of full tiles that are stored.
    pub(super) async fn load(database: &Database, org: Uuid, at_most: u64) -> Result<Log, CheckpointError> {
        let width = TILE_WIDTH as u64;
        let wanted = at_most / width;
        let mut levels = Vec::new();
        let (mut level, mut tiles) = (0, wanted);
        while tiles > 0 {
            let places: Vec<_> =
                (tiles / width * width..tiles).map(|index| TilePlace { level, index }).collect();
            let stored = database.ledger_tiles(org, &places).await?;
            if stored.len() != places.len() {
                // They can be made from the entries again.
                tracing::warn!(%org, level, "tiles of the ledger's tree are missing and are made again");
                return Ok(Log { edge: Edge::default(), head: Head::EMPTY, filled: Vec::new() });
            }
            levels.push(stored.iter().filter_map(|tile| tile_root(&tile.hashes)).collect());
            (level, tiles) = (level + 1, tiles / width);
        }
        let edge = Edge::of_full_tiles(wanted, levels);
        let next_seq = number(edge.size());
        let before = database.stored_entries(org, next_seq - 2, 1).await?.pop();
        let head = match before.filter(|entry| entry.seq == next_seq - 1) {
            Some(StoredEntry { hash, .. }) => Head { next_seq, hash, at_us: 0 },
            None if next_seq == 0 => Head::EMPTY,
            None => return Err(CheckpointError::Unsound(format!("entry {} is missing", next_seq - 1))),
        };
        Ok(Log { edge, head, filled: Vec::new() })
    }

    /// How many entries it has.
    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root over them.
    pub(super) fn root(&self) -> Bytes32 {
        self.edge.root()
    }

    /// Reads on until it has so many entries. Tiles that they fill are stored.
    pub(super) async fn read(
        &mut self,
        database: &Database,
        org: Uuid,
        size: u64,
    ) -> Result<(), CheckpointError> {
        while self.size() < size {
            let left = number(size - self.size()).min(ENTRIES_AT_ONCE);
            let entries = database.stored_entries(org, self.head.next_seq - 1, left).await?;
            if entries.is_empty() {
                return Err(CheckpointError::Unsound(format!("entry {} is missing", self.head.next_seq)));
            }
            let leaves: Vec<_> = entries.iter().map(|entry| leaf(&entry.canonical)).collect();
            match verify(self.head, entries) {
                Verified::Ok(head) => self.head = head,
                found => return Err(CheckpointError::Unsound(format!("{found:?}"))),
            }
            for leaf in leaves {
                self.edge.push(leaf, |tile| self.filled.push(tile));
            }
            self.store(database, org).await?;
        }
        self.store(database, org).await
    }

    async fn store(&mut self, database: &Database, org: Uuid) -> Result<(), CheckpointError> {
        database.keep_ledger_tiles(org, &self.filled).await?;
        self.filled.clear();
        Ok(())
    }

    /// The hashes of these ranges of entries, which it has.
    pub(super) async fn hashes(
        &self,
        database: &Database,
        org: Uuid,
        ranges: &[Range<u64>],
    ) -> Result<std::vec::IntoIter<Bytes32>, CheckpointError> {
        let mut tiles = Tiles::default();
        let (mut full, edge): (Vec<_>, Vec<_>) =
            Tiles::needed(ranges).into_iter().partition(|place| self.edge.tile(*place).is_none());
        for place in edge {
            if let Some(hashes) = self.edge.tile(place) {
                tiles.put(place, hashes.to_vec());
            }
        }
        full.dedup();
        for FullTile { place, hashes } in database.ledger_tiles(org, &full).await? {
            tiles.put(place, hashes);
        }
        let hashes = ranges.iter().map(|range| tiles.hash(range)).collect::<Option<Vec<_>>>();
        Ok(hashes.ok_or(StoreError::Corrupt("tile of the ledger's tree"))?.into_iter())
    }
}

fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
