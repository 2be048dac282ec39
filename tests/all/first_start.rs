//! The first start: credentials that are printed once and work at once, and what is left of one that was killed.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::command::command;
use crate::home::Home;
use crate::running::{Server, serve};

#[tokio::test]
async fn without_an_owner_credentials_are_printed_once() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = command();
        command.args(["serve", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
        Server::start_by(command)
    };
    let mut server = start();
    let printed = |name: &str| {
        let line = server.said.iter().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {:?}", server.said)).trim().to_owned()
    };
    let login = json!({"email": printed("owner"), "password": printed("password")});
    let client = server.client();
    client.post("/api/v1/auth/login", &login).await.expect(200);
    let agent = client.with(printed("API key"));
    agent.post("/api/v1/agents", &json!({"agent_key": "a"})).await.expect(201);
    assert!(server.terminate().success());
    assert!(folder.path().join("lictor.db").exists(), "everything is kept in ./lictor.db");

    let server = start();
    assert!(server.said.is_empty(), "{:?}", server.said);
    server.client().post("/api/v1/auth/login", &login).await.expect(200);
}

#[tokio::test]
async fn a_first_start_that_is_killed_can_be_repeated() {
    for pause in (0..12).map(|step| Duration::from_millis(step * 10)) {
        let home = Home::on_files();
        let mut process = serve(&home).stdout(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(pause).await;
        process.kill().unwrap();
        process.wait().unwrap();
        let server = Server::start(&home);
        server.owner().await.get("/api/v1/policies").await.expect(200);
    }
}
