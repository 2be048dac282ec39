//! The console of `/v1`: who belongs to the org.

pub mod people;
