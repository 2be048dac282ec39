//! The Merkle tree over a ledger (RFC 6962, section 2.1): hashes of leaves, nodes and ranges of leaves, and the tiles
//! that keep them.
//!
//! A leaf is the canonical bytes of one entry. A perfect subtree of height 8 × level over 256 hashes of the level below
//! is a tile; full tiles never change, so they can be stored, and every other hash of the tree follows from a few.

use std::collections::HashMap;
use std::ops::Range;

use super::sha256;
use crate::vault::Bytes32;

/// The height of the subtree that a tile holds: 2^8 hashes.
const TILE_HEIGHT: u32 = 8;
/// Hashes of a full tile.
pub const TILE_WIDTH: usize = 1 << TILE_HEIGHT;

/// The hash of a leaf over these bytes.
pub fn leaf(bytes: &[u8]) -> Bytes32 {
    sha256(&[&[0], bytes])
}

/// The hash of a node over two others.
pub fn node(left: &Bytes32, right: &Bytes32) -> Bytes32 {
    let mut bytes = [1; 65];
    let (_, hashes) = bytes.split_at_mut(1);
    let (first, second) = hashes.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    sha256(&[&bytes])
}

/// The root of a tree without leaves.
pub fn empty_root() -> Bytes32 {
    sha256(&[&[]])
}

/// The largest power of two below a number, which is at least 2: where RFC 6962 splits so many leaves.
pub(super) fn split(leaves: u64) -> u64 {
    1 << (leaves.saturating_sub(1) | 1).ilog2()
}

/// A tree that grows by one leaf after the other and keeps no more than its right edge.
#[derive(Debug, Clone, Default)]
pub struct Frontier {
    size: u64,
    /// The roots of the perfect subtrees that the leaves fall into, the largest first.
    roots: Vec<Bytes32>,
}

impl Frontier {
    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Bytes32) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            // INVARIANT: there is a root for each bit of the size.
            if let Some(left) = self.roots.pop() {
                hash = node(&left, &hash);
            }
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The hash of the whole tree.
    pub fn root(&self) -> Bytes32 {
        joined(self.roots.iter().copied()).unwrap_or_else(empty_root)
    }
}

/// The hash over perfect subtrees that stand side by side, the largest first.
fn joined(roots: impl DoubleEndedIterator<Item = Bytes32>) -> Option<Bytes32> {
    roots.rev().reduce(|right, left| node(&left, &right))
}

/// A perfect subtree: the `index`-th of those over 2^`height` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subtree {
    height: u32,
    index: u64,
}

impl Subtree {
    /// The tile that its root follows from, and the hashes of it that it covers.
    fn place(self) -> (TilePlace, Range<usize>) {
        let (level, height) = (self.height / TILE_HEIGHT, self.height % TILE_HEIGHT);
        let first = self.index << height;
        let offset = usize::try_from(first % TILE_WIDTH as u64).unwrap_or(TILE_WIDTH);
        (TilePlace { level, index: first / TILE_WIDTH as u64 }, offset..offset + (1 << height))
    }
}

/// The perfect subtrees that a range of leaves falls into, the largest first where the range is one of RFC 6962.
fn subtrees(leaves: &Range<u64>) -> impl Iterator<Item = Subtree> + use<> {
    let (mut start, end) = (leaves.start, leaves.end);
    std::iter::from_fn(move || {
        let left = end.checked_sub(start).filter(|left| *left > 0)?;
        let height = left.ilog2().min(start.trailing_zeros());
        let index = start >> height;
        start += 1 << height;
        Some(Subtree { height, index })
    })
}

/// Where a tile is: the `index`-th of its level, counted from the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePlace {
    /// 0 for leaves.
    pub level: u32,
    /// Counted from 0.
    pub index: u64,
}

/// Hashes of tiles, as far as they are needed.
#[derive(Debug, Clone, Default)]
pub struct Tiles(HashMap<TilePlace, Vec<Bytes32>>);

impl Tiles {
    /// The tiles that the hashes of these ranges follow from, each once.
    pub fn needed(ranges: &[Range<u64>]) -> Vec<TilePlace> {
        let mut places: Vec<_> = ranges.iter().flat_map(subtrees).map(|subtree| subtree.place().0).collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// With the hashes of a tile, which need not be full.
    pub fn put(&mut self, place: TilePlace, hashes: Vec<Bytes32>) {
        self.0.insert(place, hashes);
    }

    /// The hash of a range of leaves; none if a tile that it follows from is not here.
    pub fn hash(&self, leaves: &Range<u64>) -> Option<Bytes32> {
        let roots = subtrees(leaves).map(|subtree| {
            let (place, covered) = subtree.place();
            tile_root(self.0.get(&place)?.get(covered)?)
        });
        Some(joined(roots.collect::<Option<Vec<_>>>()?.into_iter()).unwrap_or_else(empty_root))
    }
}

/// The root over as many hashes as a power of two, as those of a full tile.
pub fn tile_root(hashes: &[Bytes32]) -> Option<Bytes32> {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node(left, right)).collect();
    }
    row.pop()
}

/// The right edge of a tree in tiles: on every level the hashes that do not fill a tile yet.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Bytes32>>,
}

/// A tile that is full, and so stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    /// Where it is.
    pub place: TilePlace,
    /// Its 256 hashes.
    pub hashes: Vec<Bytes32>,
}

impl Edge {
    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf. Tiles that it fills leave the edge.
    pub fn push(&mut self, leaf: Bytes32, mut filled: impl FnMut(FullTile)) {
        let mut hash = leaf;
        self.size += 1;
        let mut width = 1;
        for level in 0.. {
            if self.levels.len() <= level {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(hashes) = self.levels.get_mut(level) else { return };
            hashes.push(hash);
            width *= TILE_WIDTH as u64;
            if hashes.len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::replace(hashes, Vec::with_capacity(TILE_WIDTH));
            let Some(root) = tile_root(&hashes) else { return };
            hash = root;
            let level = u32::try_from(level).unwrap_or(u32::MAX);
            filled(FullTile { place: TilePlace { level, index: self.size / width - 1 }, hashes });
        }
    }

    /// The edge of a tree of as many leaves as its full tiles cover, from the roots of the tiles of each level that do
    /// not fill one of the level above, leaves first.
    pub fn of_full_tiles(tiles: u64, roots: Vec<Vec<Bytes32>>) -> Edge {
        let levels = std::iter::once(Vec::new()).chain(roots).collect();
        Edge { size: tiles * TILE_WIDTH as u64, levels }
    }

    /// Those hashes of a tile that are on the edge.
    pub fn tile(&self, place: TilePlace) -> Option<&[Bytes32]> {
        let level = usize::try_from(place.level).ok()?;
        let width = 1_u64.checked_shl(TILE_HEIGHT * (place.level + 1))?;
        (self.size / width == place.index).then(|| self.levels.get(level).map(Vec::as_slice))?
    }

    /// The hash of the whole tree.
    pub fn root(&self) -> Bytes32 {
        let whole = 0..self.size;
        let mut tiles = Tiles::default();
        for place in Tiles::needed(std::slice::from_ref(&whole)) {
            if let Some(hashes) = self.tile(place) {
                tiles.put(place, hashes.to_vec());
            }
        }
        tiles.hash(&whole).unwrap_or_else(empty_root)
    }
}
