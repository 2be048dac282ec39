//! `/api/v1/orgs`: where the caller belongs.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::auth::Reader;
use super::super::problem::ReadProblems;
use crate::clock::rfc3339;

/// An org.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"id": "0198c0de-0000-7000-8000-000000000000", "name": "default", "role": "owner",
    "is_verified": true, "created_at": "2026-11-21T12:00:00.000Z"}))]
pub struct OrgBody {
    /// What other places call `org_id` and `x-org-id`.
    id: Uuid,
    name: String,
    /// What the caller is there.
    role: &'static str,
    /// Whether its members are known to belong to it.
    is_verified: bool,
    created_at: String,
}

/// The orgs that the caller belongs to.
#[utoipa::path(get, path = "/api/v1/orgs", tag = "orgs",
    responses((status = 200, description = "The home org first", body = Vec<OrgBody>), ReadProblems))]
pub async fn list_orgs(reader: Reader) -> axum::Json<Vec<OrgBody>> {
    let view = &reader.org.view;
    axum::Json(vec![OrgBody {
        id: view.id,
        name: view.name.clone(),
        role: reader.person.role.name(),
        is_verified: true,
        created_at: rfc3339(view.created_at_us),
    }])
}
