//! The tree and its proofs: known answers, every size and pair up to 256, and forgeries.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use super::super::proof::{consistency, inclusion, proves_consistency, proves_inclusion};
use super::super::tree::{Edge, Frontier, Tiles, empty_root, leaf, node};
use crate::vault::{Bytes32, hex};

/// The largest size of which every pair is tried.
const SIZES: u64 = 256;

/// The leaves of the known answers of Certificate Transparency, and the roots of the trees over the first of them.
const KNOWN: [(&[u8], &str); 8] = [
    (b"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
    (b"\x00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
    (b"\x10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
    (b"\x20\x21", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
    (b"\x30\x31", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
    (b"\x40\x41\x42\x43", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
    (b"\x50\x51\x52\x53\x54\x55\x56\x57", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
    (
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ),
];

/// A tree as RFC 6962 defines it, straight from its text. Hashes that were found once are kept.
struct Slow(Vec<Bytes32>, RefCell<HashMap<Range<u64>, Bytes32>>);

impl Slow {
    fn new(leaves: impl IntoIterator<Item = Bytes32>) -> Slow {
        Slow(leaves.into_iter().collect(), RefCell::default())
    }

    fn of(size: u64) -> Slow {
        Slow::new((0..size).map(|number| leaf(&number.to_be_bytes())))
    }

    fn hash(&self, leaves: &Range<u64>) -> Bytes32 {
        let known = self.1.borrow().get(leaves).copied();
        known.unwrap_or_else(|| {
            let hash = self.find(leaves);
            self.1.borrow_mut().insert(leaves.clone(), hash);
            hash
        })
    }

    fn find(&self, leaves: &Range<u64>) -> Bytes32 {
        let count = leaves.end - leaves.start;
        match count {
            0 => empty_root(),
            1 => self.0[leaves.start as usize],
            _ => {
                let mut k = 1;
                while k * 2 < count {
                    k *= 2;
                }
                let middle = leaves.start + k;
                node(&self.hash(&(leaves.start..middle)), &self.hash(&(middle..leaves.end)))
            }
        }
    }

    fn hashes(&self, ranges: Vec<Range<u64>>) -> Vec<Bytes32> {
        ranges.iter().map(|range| self.hash(range)).collect()
    }

    /// The roots of the trees of all sizes up to this one.
    fn roots(&self) -> Vec<Bytes32> {
        let mut tree = Frontier::default();
        let mut roots = vec![tree.root()];
        for leaf in &self.0 {
            tree.push(*leaf);
            roots.push(tree.root());
        }
        roots
    }
}

#[test]
fn the_known_roots_come_out() {
    assert_eq!(hex(&empty_root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    let mut tree = Frontier::default();
    let slow = Slow::new(KNOWN.iter().map(|(bytes, _)| leaf(bytes)));
    for (size, (bytes, root)) in (1..).zip(KNOWN) {
        tree.push(leaf(bytes));
        assert_eq!((tree.size(), hex(&tree.root()).as_str()), (size, root));
        assert_eq!(hex(&slow.hash(&(0..size))), root);
    }
}

#[test]
fn the_known_proofs_come_out() {
    let tree = Slow::new(KNOWN.iter().map(|(bytes, _)| leaf(bytes)));
    let path = |ranges: Option<Vec<Range<u64>>>| -> Vec<String> {
        tree.hashes(ranges.unwrap()).iter().map(|hash| hex(hash)).collect()
    };
    assert!(path(inclusion(0, 1)).is_empty());
    assert_eq!(
        path(inclusion(0, 8)),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
        ]
    );
    assert_eq!(
        path(inclusion(5, 8)),
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
        ]
    );
    assert_eq!(
        path(consistency(6, 8)),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
        ]
    );
    assert_eq!(
        path(consistency(2, 5)),
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
        ]
    );
    assert_eq!((inclusion(8, 8), consistency(9, 8)), (None, None));
}

/// Every forgery of a proof: a byte of each hash changed, a hash less at each place, one more at each end.
fn forgeries(proof: &[Bytes32]) -> impl Iterator<Item = Vec<Bytes32>> + '_ {
    let flipped = (0..proof.len() * 32).map(|place| {
        let mut forged = proof.to_vec();
        forged[place / 32][place % 32] ^= 1 << (place % 8);
        forged
    });
    let shorter = (0..proof.len()).map(|place| {
        let mut forged = proof.to_vec();
        forged.remove(place);
        forged
    });
    let more = |hash: Bytes32| [[&[hash], proof].concat(), [proof, &[hash]].concat()];
    let last = proof.last().copied().unwrap_or_default();
    flipped.chain(shorter).chain(more([0; 32])).chain(more(last))
}

#[test]
fn every_leaf_of_every_size_is_proved_and_nothing_else_is() {
    let tree = Slow::of(SIZES);
    let roots = tree.roots();
    let mut forged = 0_u64;
    for size in 1..=SIZES {
        let root = &roots[size as usize];
        assert_eq!(*root, tree.hash(&(0..size)));
        for number in 0..size {
            let hash = &tree.0[number as usize];
            let proof = tree.hashes(inclusion(number, size).unwrap());
            assert!(proves_inclusion(number, hash, size, root, &proof), "{number} in {size}");
            for other in [size - 1, size + 1, 2 * size, size / 2].into_iter().filter(|other| *other != size) {
                if let Some(root) = roots.get(other as usize) {
                    assert!(
                        !proves_inclusion(number, hash, other, root, &proof),
                        "{number} in {size} not {other}"
                    );
                    forged += 1;
                }
            }
            for other in [number ^ 1, number + 1, number / 2, size, u64::MAX] {
                let is_forged = other != number;
                assert!(
                    !is_forged || !proves_inclusion(other, hash, size, root, &proof),
                    "{other} for {number}"
                );
                forged += u64::from(is_forged);
            }
            assert!(!proves_inclusion(number, root, size, root, &proof) || size == 1);
            // All bytes of small proofs, and of some of the others.
            if size <= 40 || (number + size) % 61 == 0 {
                for proof in forgeries(&proof) {
                    assert!(!proves_inclusion(number, hash, size, root, &proof), "{number} in {size}");
                    forged += 1;
                }
            }
        }
    }
    assert!(forged > 300_000, "{forged} forgeries were tried");
}

#[test]
fn every_pair_of_sizes_is_proved_and_nothing_else_is() {
    let tree = Slow::of(SIZES);
    let roots = tree.roots();
    let mut forged = 0_u64;
    for to in 0..=SIZES {
        for from in 0..=to {
            let (first, second) = ((from, &roots[from as usize]), (to, &roots[to as usize]));
            let proof = tree.hashes(consistency(from, to).unwrap());
            assert!(proves_consistency(first, second, &proof), "{from} to {to}");
            for other in [from.wrapping_sub(1), from + 1, to, 0].into_iter().filter(|other| *other != from) {
                if let Some(root) = roots.get(other as usize) {
                    assert!(
                        !proves_consistency((other, root), second, &proof) || proof.is_empty(),
                        "{other} for {from}"
                    );
                    // With the wrong root, or the wrong size, an empty proof proves nothing either.
                    assert!(!proves_consistency((from, root), second, &proof), "{other} for {from}");
                    forged += 2;
                }
            }
            for other in [to.wrapping_sub(1), to + 1].into_iter().filter(|other| *other >= from && from > 0) {
                if let Some(root) = roots.get(other as usize) {
                    assert!(!proves_consistency(first, (other, root), &proof) || proof.is_empty());
                    assert!(!proves_consistency(first, (to, root), &proof), "{from} to {to}");
                    forged += 2;
                }
            }
            assert!(from == to || !proves_consistency(second, first, &proof), "{from} to {to}");
            if to <= 40 || (from + to) % 61 == 0 {
                for proof in forgeries(&proof) {
                    assert!(!proves_consistency(first, second, &proof), "{from} to {to}");
                    forged += 1;
                }
            }
        }
    }
    assert!(forged > 300_000, "{forged} forgeries were tried");
}

#[test]
fn tiles_give_the_same_hashes_as_leaves() {
    const SIZE: u64 = 70_000;
    let mut edge = Edge::default();
    let (mut frontier, mut full) = (Frontier::default(), Tiles::default());
    let mut checked = 0;
    for number in 0..SIZE {
        let hash = leaf(&number.to_be_bytes());
        frontier.push(hash);
        edge.push(hash, |tile| full.put(tile.place, tile.hashes));
        if number % 4_999 == 0 || [255, 256, 257, 65_535, 65_536].contains(&number) {
            assert_eq!((edge.size(), edge.root()), (frontier.size(), frontier.root()));
            checked += 1;
        }
    }
    assert!(checked > 15);
    let root = edge.root();
    for number in (0..SIZE).step_by(997).chain([SIZE - 1, 65_535, 65_536]) {
        let ranges = inclusion(number, SIZE).unwrap();
        let tiles = with_edge(&full, &edge, &ranges);
        let proof: Vec<_> = ranges.iter().map(|range| tiles.hash(range).unwrap()).collect();
        assert!(proves_inclusion(number, &leaf(&number.to_be_bytes()), SIZE, &root, &proof));
        let ranges = consistency(number, SIZE).unwrap();
        let earlier = 0..number;
        let before = with_edge(&full, &edge, std::slice::from_ref(&earlier)).hash(&earlier).unwrap();
        let tiles = with_edge(&full, &edge, &ranges);
        let proof: Vec<_> = ranges.iter().map(|range| tiles.hash(range).unwrap()).collect();
        assert!(proves_consistency((number, &before), (SIZE, &root), &proof), "{number}");
    }
}

fn with_edge(full: &Tiles, edge: &Edge, ranges: &[Range<u64>]) -> Tiles {
    let mut tiles = full.clone();
    for place in Tiles::needed(ranges) {
        if let Some(hashes) = edge.tile(place) {
            tiles.put(place, hashes.to_vec());
        }
    }
    tiles
}
