//! HTTP: every route on one page, and what all of them share.

pub mod access;
pub mod acting;
pub mod answer;
pub mod auth;
pub mod body;
pub mod documentation;
pub mod intents;
pub mod listen;
pub mod members;
pub mod operations;
pub mod platform;
pub mod problem;
pub mod progress;
pub mod rates;
pub mod retries;
pub mod review;
mod storage;
pub mod values;
pub mod verdicts;

use std::sync::Arc;

use axum::Router;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use answer::{panicked, tell_route};
use documentation::Documentation;
use platform::{
    agents, auth as accounts, decisions, erasures, incidents, keys, ledger, logs, orgs, policies, proofs,
    template_preview, templates,
};
use problem::Problem;
use rates::limited;
use retries::once;
use verdicts::{keys as console_keys, people};

/// The routes, and the document that describes them.
pub struct Routes {
    router: Router<Arc<App>>,
    api: utoipa::openapi::OpenApi,
}

/// Every route.
pub fn routes() -> Routes {
    let (router, mut api) = OpenApiRouter::with_openapi(Documentation::openapi())
        // Operations.
        .routes(routes!(operations::health))
        .routes(routes!(operations::ready))
        .routes(routes!(operations::livez))
        .routes(routes!(operations::metrics))
        // The platform: accounts.
        .routes(routes!(accounts::login))
        .routes(routes!(review::login))
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::set_password))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(console_keys::create_key, console_keys::list_keys))
        .routes(routes!(orgs::list_orgs, orgs::create_org))
        .routes(routes!(people::invite))
        .routes(routes!(people::set_role))
        .routes(routes!(people::set_groups))
        .routes(routes!(people::issue_password))
        .routes(routes!(people::leave))
        .routes(routes!(people::list_members))
        .routes(routes!(people::remove_member))
        // The platform: what agents call.
        .routes(routes!(agents::register_agent, agents::list_agents))
        .routes(routes!(agents::get_agent))
        .routes(routes!(logs::log_step))
        .routes(routes!(decisions::decide))
        // The platform: what people look after.
        .routes(routes!(policies::create_policy, policies::list_policies))
        .routes(routes!(policies::check_policy))
        .routes(routes!(policies::get_policy, policies::update_policy, policies::delete_policy))
        .routes(routes!(policies::enable_policy))
        .routes(routes!(policies::disable_policy))
        .routes(routes!(policies::shadow_policy))
        .routes(routes!(policies::list_versions))
        .routes(routes!(templates::list_templates))
        .routes(routes!(templates::get_template, templates::delete_template))
        .routes(routes!(templates::apply_template))
        .routes(routes!(template_preview::preview_template))
        .routes(routes!(templates::set_template_parameters))
        .routes(routes!(templates::upgrade_template))
        .routes(routes!(templates::remove_template))
        .routes(routes!(incidents::list_incidents))
        .routes(routes!(incidents::acknowledge))
        .routes(routes!(incidents::resolve))
        .routes(routes!(incidents::ignore))
        .routes(routes!(incidents::reactivate))
        .routes(routes!(ledger::list_entries))
        .routes(routes!(proofs::checkpoint))
        .routes(routes!(proofs::prove_inclusion))
        .routes(routes!(proofs::prove_consistency))
        .routes(routes!(proofs::list_ledger_keys, proofs::rotate_ledger_key))
        .routes(routes!(proofs::export))
        .routes(routes!(erasures::erase_content))
        // Governed execution.
        .routes(routes!(intents::declare_intent))
        .routes(routes!(intents::evaluate_intent))
        .split_for_parts();
    retries::document(&mut api);
    Routes { router, api }
}

impl Routes {
    /// The method and the path of each.
    pub fn names(&self) -> Vec<(Method, String)> {
        let paths = self.api.paths.paths.iter();
        let methods = paths.flat_map(|(path, item)| {
            let there = [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ];
            let there = there.into_iter().filter(|(_, operation)| operation.is_some());
            there.map(|(method, _)| (method, path.clone()))
        });
        methods.collect()
    }

    /// What answers requests.
    pub fn served_by(self, app: Arc<App>) -> Router {
        self.router
            .merge(documentation::routes(self.api))
            .route_layer(from_fn_with_state(Arc::clone(&app), once))
            .route_layer(CatchPanicLayer::custom(panicked))
            .route_layer(from_fn_with_state(Arc::clone(&app), limited))
            .route_layer(from_fn_with_state(Arc::clone(&app), access::admit))
            .route_layer(from_fn(tell_route))
            .fallback(async || Problem::not_found("path"))
            .method_not_allowed_fallback(async || Problem::method_not_allowed())
            .with_state(app)
    }
}
