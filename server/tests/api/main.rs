//! The server over HTTP, as its callers see it: a real port, a fresh database, real requests.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says where")]

mod access;
mod agents;
mod app;
mod auth;
mod bad_input;
mod clock;
mod corrupt;
mod decisions;
mod erasure;
#[allow(dead_code, reason = "shared with the tests of the command")]
mod home;
mod hot_swap;
mod hygiene;
mod incidents;
mod intents;
mod keys;
mod ledger;
mod logs;
mod members;
mod memory;
mod people;
mod policies;
mod proofs;
mod retries;
mod several;
mod shared;
mod start;
mod templates;
mod tokens;
