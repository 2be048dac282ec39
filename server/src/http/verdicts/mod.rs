//! The console of `/v1`: who belongs to the org, and its keys.

pub mod keys;
pub mod people;
