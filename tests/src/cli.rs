//! The command line, as a person uses it on the machine of the installation.
//!
//! Must never read or write the own files of whoever runs the tests.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::system::{START, System, executable};

/// What a command did.
#[derive(Debug)]
pub struct Done {
    /// Exit code; -1 when it ended by a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl System {
    /// A command that must succeed; its output, as JSON where it is JSON.
    pub async fn cli(&self, arguments: &[&str]) -> Result<Value> {
        let done = self.cli_with(arguments, "").await?;
        ensure!(done.code == 0, "palladium {}: {}", arguments.join(" "), done.err);
        Ok(serde_json::from_str(&done.out).unwrap_or(Value::String(done.out)))
    }

    /// A command with something on its standard input, whatever comes of it.
    pub async fn cli_with(&self, arguments: &[&str], stdin: &str) -> Result<Done> {
        let mut command = Command::new(executable("palladium")?);
        command
            .arg("--data-dir")
            .arg(self.data())
            .args(arguments)
            .env_clear()
            .env("HOME", self.home());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut pipe = child.stdin.take().context("no standard input")?;
        pipe.write_all(stdin.as_bytes()).await?;
        drop(pipe);
        let output = timeout(START, child.wait_with_output())
            .await
            .context("it does not end")??;
        Ok(Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A project with a managed key-value store `kvstore`; answers with its id.
    pub async fn project(&self, name: &str) -> Result<String> {
        let made = self.cli(&["project", "create", name, "--wait", "-o", "json"]).await?;
        self.cli(&[
            "component",
            "create",
            "kvstore",
            "-p",
            name,
            "--type",
            "state.diagrid",
            "--wait",
        ])
        .await?;
        Ok(made["metadata"]["projectId"]
            .as_str()
            .or(made["metadata"]["id"].as_str())
            .context("no id")?
            .to_owned())
    }
}
