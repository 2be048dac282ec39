//! The server when its storage fails: a disk of our own below SQLite, on which calls go wrong and the power is cut; and
//! files and databases that are locked, moved or gone.
//!
//! `LICTOR_CUTS=…` cuts the power so many times, `LICTOR_SEED=…` chooses the moments, `LICTOR_LOCKED_S=…` says how long
//! somebody else holds the lock.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails says where")]

mod answers;
#[path = "../api/app.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod app;
mod calls;
mod cuts;
mod disk;
mod gone;
#[path = "../api/home.rs"]
#[allow(dead_code, reason = "shared with the tests of the API")]
mod home;
mod on_disk;
mod power;
mod random;
mod sharing;
mod storm;
mod vanished;
mod vfs;
