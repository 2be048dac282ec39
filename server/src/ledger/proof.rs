//! Proofs about a ledger's tree: that an entry is in it, and that a later tree begins with an earlier one.
//!
//! What a proof consists of is said as ranges of leaves, so that whoever keeps the tree looks up their hashes; checking
//! one needs the proof alone (RFC 9162, sections 2.1.3.2 and 2.1.4.2; the trees are those of RFC 6962).

use std::ops::Range;

use super::tree::{empty_root, node, split};
use crate::vault::Bytes32;

/// The hashes that prove that a leaf is in a tree of this size, lowest first; none if it can't be in it.
pub fn inclusion(leaf: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if leaf >= size {
        return None;
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if leaf < middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The hashes that prove that the tree of the size `to` begins with the one of the size `from`, lowest first; none if it
/// is the smaller one.
pub fn consistency(from: u64, to: u64) -> Option<Vec<Range<u64>>> {
    if from > to {
        return None;
    }
    if from == 0 {
        return Some(Vec::new());
    }
    let (mut start, mut end) = (0, to);
    let mut path = Vec::new();
    while end != from {
        let middle = start + split(end - start);
        if from <= middle {
            path.push(middle..end);
            end = middle;
        } else {
            path.push(start..middle);
            start = middle;
        }
    }
    // Who checks it knows the hash of the whole earlier tree.
    if start > 0 {
        path.push(start..end);
    }
    path.reverse();
    Some(path)
}

/// Whether the proof shows that this leaf is the one of this number in the tree of this size with this root.
pub fn proves_inclusion(leaf: u64, hash: &Bytes32, size: u64, root: &Bytes32, proof: &[Bytes32]) -> bool {
    if leaf >= size {
        return false;
    }
    let (mut place, mut last) = (leaf, size - 1);
    let mut hash = *hash;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            hash = node(sibling, &hash);
            (place, last) = to_right_child(place, last);
        } else {
            hash = node(&hash, sibling);
        }
        (place, last) = (place / 2, last / 2);
    }
    last == 0 && hash == *root
}

/// Whether the proof shows that the tree of the size `to` with the second root begins with the tree of the size `from`
/// with the first.
pub fn proves_consistency(
    (from, from_root): (u64, &Bytes32),
    (to, to_root): (u64, &Bytes32),
    proof: &[Bytes32],
) -> bool {
    if from == 0 {
        return *from_root == empty_root() && proof.is_empty() && (to > 0 || to_root == from_root);
    }
    if from >= to {
        return from == to && from_root == to_root && proof.is_empty();
    }
    // A perfect earlier tree is a node of the later one, so the proof leaves it out.
    let (first, siblings) = match from.is_power_of_two() {
        true => (from_root, proof),
        false => match proof.split_first() {
            Some(split) => split,
            None => return false,
        },
    };
    let (mut place, mut last) = to_right_child_start(from - 1, to - 1);
    let (mut earlier, mut later) = (*first, *first);
    for sibling in siblings {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            earlier = node(sibling, &earlier);
            later = node(sibling, &later);
            (place, last) = to_right_child(place, last);
        } else {
            later = node(&later, sibling);
        }
        (place, last) = (place / 2, last / 2);
    }
    last == 0 && earlier == *from_root && later == *to_root
}

/// Up from a node that has no sibling on its level, until it is a right child.
fn to_right_child(mut place: u64, mut last: u64) -> (u64, u64) {
    while place.is_multiple_of(2) && place != 0 {
        (place, last) = (place / 2, last / 2);
    }
    (place, last)
}

/// Up from the last leaf of the earlier tree, to the largest perfect subtree that it ends.
fn to_right_child_start(mut place: u64, mut last: u64) -> (u64, u64) {
    while place % 2 == 1 {
        (place, last) = (place / 2, last / 2);
    }
    (place, last)
}
