//! The whole from outside: the built command, a running server, policies with their tests, the README, the layers.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets what it did not expect should stop right there"
)]

mod agentdojo;
mod airline;
mod backup;
mod bombs;
mod cli;
mod command;
mod corpus;
mod docs;
mod durability;
mod erasure;
mod first_start;
mod fmt;
#[path = "../../server/tests/api/home.rs"]
#[allow(dead_code, reason = "shared with the tests of the server")]
mod home;
mod layering;
mod ledger;
mod readme;
mod rebuild;
mod replay;
mod running;
mod secrets;
mod slow_connections;
mod templates;
mod upgrade;
