//! A bare server: axum, a look-up of the key, the fields that the rules read, the hand-written rules. With a ledger if
//! it is told where.

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

use crate::bare_ledger::{Ledger, Row};
use crate::by_hand::ByHand;
use crate::peer::Peer;
use crate::workload::{self, Shape};

/// The key that it knows.
pub const KEY: &str = "Bearer bare-0123456789abcdef0123456789abcdef";

struct App {
    keys: HashMap<[u8; 32], &'static str>,
    rules: ByHand,
    ledger: Option<Ledger>,
}

#[derive(Serialize)]
struct Answer {
    decision: &'static str,
    rules: Vec<String>,
}

/// The argument by which this very program becomes it.
pub const COMMAND: &str = "serve-bare";

/// Serves until it is killed; says where it listens. Decisions are kept in this file, or in this database of PostgreSQL.
pub fn serve(ledger: Option<&str>) -> Result<()> {
    let rules = ByHand::load(Vec::new(), &workload::rules(Shape::Indexable, crate::RULES))?;
    let keys = HashMap::from([(Sha256::digest(KEY).into(), "acme")]);
    tokio::runtime::Runtime::new()?.block_on(async {
        let ledger = match ledger {
            Some(place) => Some(Ledger::open(place).await?),
            None => None,
        };
        let app = Arc::new(App { keys, rules, ledger });
        let app = Router::new().route("/decide", post(decide)).with_state(app);
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
    let rules: Vec<_> = matched.iter().map(|name| (*name).to_owned()).collect();
    if let Some(ledger) = &app.ledger {
        let row = Row { body, decision, rules: rules.len() };
        ledger.keep(row).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    }
    Ok(Json(Answer { decision, rules }))
}
