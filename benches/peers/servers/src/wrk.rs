//! Load by `wrk`: a script with all bodies, one round, and what it says of it.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::CONNECTIONS;
use crate::servers::Server;

/// One round.
pub struct Round {
    /// Requests a second.
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// What a request cost the server's process.
    pub cpu_us: f64,
}

impl Server {
    pub fn load(&self, folder: &Path, duration: Duration) -> Result<Round> {
        let path = folder.join("load.lua");
        std::fs::write(&path, self.script())?;
        let before = self.cpu_us()?;
        let output = Command::new("wrk")
            .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{}s", duration.as_secs()), "-s"])
            .args([path.as_os_str(), self.base.as_ref()])
            .output()
            .context("wrk makes the load; it is not there")?;
        let cpu_us = self.cpu_us()? - before;
        let said = String::from_utf8_lossy(&output.stdout);
        let figures =
            said.lines().find_map(|line| line.strip_prefix("figures ")).context("wrk said nothing")?;
        let figures: Vec<f64> = figures.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [requests, took_us, p50_us, p99_us, errors] = figures[..] else {
            anyhow::bail!("wrk said {figures:?}")
        };
        ensure!(errors == 0.0 && requests > 0.0, "{}: {errors} of {requests} requests failed", self.name);
        Ok(Round { rate: requests / took_us * 1e6, p50_us, p99_us, cpu_us: cpu_us / requests })
    }

    fn script(&self) -> String {
        let mut script = "local headers = { [\"content-type\"] = \"application/json\"".to_owned();
        if let Some(key) = &self.authorization {
            write!(script, ", [\"authorization\"] = \"{key}\"").expect("strings take writes");
        }
        script.push_str(" }\nlocal bodies = {\n");
        for body in &self.bodies {
            writeln!(script, "[==[{body}]==],").expect("strings take writes");
        }
        write!(
            script,
            r#"}}
local requests, at = {{}}, 0
function init()
  for number, body in ipairs(bodies) do requests[number] = wrk.format("POST", "{}", headers, body) end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency)
  local e = summary.errors
  print(string.format("figures %d %d %d %d %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"#,
            self.path
        )
        .expect("strings take writes");
        script
    }

    /// CPU time of the process so far.
    fn cpu_us(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process_id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no such process")?;
        // User and system time, in ticks of a hundredth of a second.
        let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
        Ok(ticks.iter().sum::<f64>() * 1e4)
    }
}
