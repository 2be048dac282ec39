//! Databases of earlier versions: whatever wrote them, this version goes on from them.
//!
//! `tests/fixtures/N` is what the version wrote whose last migration was `N`: two agents, a policy with a memory, six
//! decisions of which three were denied, three steps of a task, an intent and an acknowledged incident.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::home::Home;
use crate::running::{Server, serve, text};

/// The API key that the fixtures know.
const KEY: &str = "KvKey-a7d2fb4bace5a0eb58e0a81075fd0c29464d230e0bce4b31689338d47d24a0f7";
/// How long a server runs before it is killed while it brings a database up to date.
const PAUSES_MS: [u64; 8] = [0, 2, 5, 10, 20, 40, 80, 160];

/// A copy of a fixture.
fn copy(fixture: &Path) -> Home {
    let home = Home::on_files();
    for name in ["lictor.db", "lictor.db.key"] {
        let place = Path::new(&home.database).with_file_name(name);
        fs::copy(fixture.join(name), &place).unwrap();
    }
    let key = format!("{}.key", home.database);
    fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    home
}

#[tokio::test]
async fn a_database_of_an_earlier_version_is_served() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut served = 0;
    for fixture in fs::read_dir(fixtures).unwrap() {
        let fixture = fixture.unwrap().path();
        let home = copy(&fixture);
        // Killed while it brings the tables up to date, again and again: they are the old ones or the new ones.
        for pause in PAUSES_MS {
            let mut process = serve(&home).stdout(Stdio::null()).spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
            process.kill().unwrap();
            process.wait().unwrap();
        }
        let server = Server::start(&home);
        let owner = server.owner().await;
        let ledger = owner.get("/api/v1/ledger?limit=1000").await.expect(200);
        assert!(ledger.as_array().unwrap().len() >= 17, "{}: {ledger}", fixture.display());
        let policy = owner.get("/api/v1/policies/limits").await.expect(200);
        assert_eq!((&policy["state"], &policy["version"]), (&json!("live"), &json!(1)));
        let incidents = owner.get("/api/v1/incidents?status=acknowledged").await.expect(200);
        assert_eq!(incidents[0]["rule"], "limits.many");
        // What was remembered is remembered: of the same agent there were too many already.
        let agent = owner.with(KEY);
        let step = json!({"agent_id": "bot", "task_id": "t", "node_type": "TOOL_CALL"});
        assert_eq!(agent.post("/api/v1/logs", &step).await.expect(201)["step_number"], 4);
        for (name, verdict) in [("other", "allow")] {
            let event = json!({"event": "intent", "agent": {"id": name}, "action": "pay", "amount": 1});
            let decided = agent.post("/api/v1/decisions", &event).await.expect(200);
            assert_eq!(text(&decided["decision"]), verdict, "{decided}");
        }
        served += 1;
    }
    assert!(served > 0);
}
