//! The server over HTTP, as its callers see it: a real port, a fresh database, real requests.

mod app;
mod auth;
mod start;
