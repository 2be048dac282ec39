//! A bare server: axum, a look-up of the key, the fields that the rules read, the hand-written rules. No ledger, no log.

use std::sync::Arc;

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use hashbrown::HashMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::by_hand::ByHand;
use crate::peer::Peer;
use crate::workload::{self, Shape};

/// The key that it knows.
pub const KEY: &str = "Bearer bare-0123456789abcdef0123456789abcdef";

struct App {
    keys: HashMap<[u8; 32], &'static str>,
    rules: ByHand,
}

#[derive(Serialize)]
struct Answer {
    decision: &'static str,
    rules: Vec<String>,
}

/// The argument by which this very program becomes it.
pub const COMMAND: &str = "serve-bare";

/// Serves until it is killed; says where it listens.
pub fn serve() -> Result<()> {
    let rules = ByHand::load(Vec::new(), &workload::rules(Shape::Indexable, crate::RULES))?;
    let keys = HashMap::from([(Sha256::digest(KEY).into(), "acme")]);
    let app = Router::new().route("/decide", post(decide)).with_state(Arc::new(App { keys, rules }));
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("listens on {}", listener.local_addr()?);
        Ok(axum::serve(listener, app).await?)
    })
}

async fn decide(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Answer>, StatusCode> {
    let key = headers.get(header::AUTHORIZATION).ok_or(StatusCode::UNAUTHORIZED)?;
    let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    app.keys.get(&hash).ok_or(StatusCode::UNAUTHORIZED)?;
    let event = app.rules.prepare(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let matched = app.rules.judge(&event);
    let decision = if matched.is_empty() { "allow" } else { "deny" };
    Ok(Json(Answer { decision, rules: matched.iter().map(|name| (*name).to_owned()).collect() }))
}
