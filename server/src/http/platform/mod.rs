//! The platform, `/api/v1`: agents report here, and people look after them.

pub mod agents;
pub mod auth;
pub mod decisions;
pub mod dry_run;
pub mod erasures;
pub mod head;
pub mod incidents;
pub mod keys;
pub mod ledger;
pub mod logs;
pub mod orgs;
pub mod plain;
pub mod policies;
pub mod proofs;
pub mod template_preview;
mod template_values;
pub mod templates;
