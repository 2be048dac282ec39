//! Machine code joins a set that decides already.

use std::sync::Arc;
use std::time::Duration;

use lictor_dsl::{Source, load};
use lictor_engine::generation::Generation;
use tokio::time::{sleep, timeout};

use super::code_for;
use super::kept::SLOW;

fn planned(cap: u32) -> Arc<Generation> {
    let text = format!("policy p {{}}\nrule r on intent {{ when action == \"x\" and amount > {cap} deny }}");
    let set = load(vec![Source::new("p", text)]).into_set().unwrap();
    Arc::new(Generation::interpreted(&set).unwrap())
}

#[tokio::test]
async fn code_joins_the_set_that_was_planned() {
    let (first, next) = (planned(1), planned(2));
    assert!(next.no_code().is_some());
    code_for(&next, first).await.unwrap();
    assert!(next.no_code().is_none());
}

#[tokio::test]
async fn who_does_not_wait_for_code_gets_it_all_the_same() {
    let (first, next, newer) = (planned(1), planned(2), planned(3));
    let busy = SLOW.acquire_many(2).await.unwrap();
    assert!(timeout(Duration::from_millis(5), code_for(&next, Arc::clone(&first))).await.is_err());
    assert!(timeout(Duration::from_millis(5), code_for(&newer, Arc::clone(&next))).await.is_err());
    assert!(next.no_code().is_some() && newer.no_code().is_some(), "both are interpreted meanwhile");
    drop(busy);
    while next.no_code().is_some() || newer.no_code().is_some() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_set_that_nobody_holds_is_let_go() {
    let (first, next) = (planned(1), planned(2));
    let gone = Arc::downgrade(&next);
    let busy = SLOW.acquire_many(2).await.unwrap();
    let code = code_for(&next, first);
    drop(next);
    drop(busy);
    code.await.unwrap();
    assert!(gone.upgrade().is_none());
}
