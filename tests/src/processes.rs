//! The real binaries, which end with the test that started them.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::PATIENCE;

/// A binary of this workspace. `cargo test --workspace` builds all of them before it runs any test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{name} is not built: run `cargo test --workspace`");
    path
}

/// A server of ours that listens somewhere of its own.
pub struct Process {
    child: Child,
    said: String,
    logs: Option<JoinHandle<String>>,
}

/// A state directory in which nothing can be made.
pub const NO_STATE: &str = "/dev/null/none";

impl Process {
    /// Starts it, and waits until it says on which port it listens.
    pub fn start(command: &mut Command) -> Self {
        let process = Self::start_anywhere(command);
        process.address();
        process
    }

    /// The same where it may listen on something else than a port.
    pub fn start_anywhere(command: &mut Command) -> Self {
        Self::start_with_input(command, Stdio::null())
    }

    /// The same with this as its standard input.
    pub fn start_with_input(command: &mut Command, input: Stdio) -> Self {
        // No test leaves a key or a store in the state directory of the user who runs it.
        if !command.get_envs().any(|(name, _)| name == "STATE_DIRECTORY") {
            command.env("STATE_DIRECTORY", NO_STATE);
        }
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let logs = thread::spawn(move || {
            let mut logs = Vec::new();
            let _ = stderr.read_to_end(&mut logs);
            String::from_utf8_lossy(&logs).into_owned()
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut process = Self { child, said: line.trim().to_owned(), logs: Some(logs) };
        if !process.said.starts_with("listening on ") {
            let (status, logs) = process.ended();
            panic!("{status}: {logs}");
        }
        process
    }

    /// The line in which it said where it listens.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let address = self.said.rsplit("//").next().and_then(|address| address.parse().ok());
        address.unwrap_or_else(|| panic!("no address in {:?}", self.said))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, by name.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended; what it logged.
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.logs.take().map(|logs| logs.join().unwrap()).unwrap_or_default());
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until the answer is there.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
