//! A real browser, and sites for it whose pages report.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

use crate::upstream::{Act, Asked, Upstream, json, with_headers};

/// How long a browser may take from its start to its report. Pages give up sooner, and say what they have seen.
const REPORT_WITHIN: Duration = Duration::from_secs(60);

/// A site of an origin of its own. Its pages report with `fetch("/report", { method: "POST", body })`.
pub struct Site {
    server: Upstream,
    reports: Receiver<Value>,
}

impl Site {
    /// A site of files: the media type and the text of a path.
    pub fn start(files: impl Fn(&str) -> Option<(&'static str, String)> + Send + Sync + 'static) -> Self {
        let (report, reports) = mpsc::channel();
        let server = Upstream::start(move |Asked { head, body }| -> Act {
            let mut words = head.split(' ');
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            match (method, files(path)) {
                ("POST", _) if path == "/report" => {
                    // A report that comes after the test has given up is dropped.
                    let _ = report.send(serde_json::from_str(body).unwrap());
                    json(200, "{}")
                }
                ("GET", Some((media_type, text))) => {
                    with_headers(200, &format!("content-type: {media_type}\r\n"), &text)
                }
                _ => json(404, "{}"),
            }
        });
        Self { server, reports }
    }

    /// The origin of its pages.
    pub fn origin(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Shows a page in a browser of its own; what it reports. A report with an `error` fails the test.
    pub fn visit(&self, chromium: &Path, page: &str) -> Value {
        self.visit_at(chromium, &format!("{}{page}", self.origin()))
    }

    /// The same with a page of another site, which reports here.
    pub fn visit_at(&self, chromium: &Path, url: &str) -> Value {
        let browser = Browser::start(chromium, url);
        let report = self.reports.recv_timeout(REPORT_WITHIN);
        let report = report.unwrap_or_else(|_| panic!("the page reports nothing: {}", browser.said()));
        assert!(report.get("error").is_none(), "{report}: {}", browser.said());
        report
    }
}

/// A browser with a profile of its own, which ends with the test.
struct Browser {
    child: Child,
    directory: tempfile::TempDir,
}

impl Browser {
    fn start(chromium: &Path, url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let child = command(chromium, directory.path())
            .arg(url)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", chromium.display()));
        Self { child, directory }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.directory.path().join("log")).unwrap()).into_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its other processes end when they hear no more of this one.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser that keeps all it has in this directory.
fn command(chromium: &Path, directory: &Path) -> Command {
    let mut command = Command::new(chromium);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--no-proxy-server", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", directory.join("profile").display()))
        .envs(["HOME", "TMPDIR"].map(|name| (name, directory)))
        .stdin(Stdio::null());
    command
}

/// What a page has become three of its seconds after it was opened.
///
/// # Panics
///
/// Where the page's own policy keeps it from something.
pub fn shown(chromium: &Path, url: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut browser = command(chromium, directory.path());
    let output = browser.args(["--virtual-time-budget=3000", "--dump-dom", url]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("Content Security Policy"), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Where Chromium is; where it is not installed, that is printed.
pub fn chromium() -> Option<PathBuf> {
    if let Some(named) = env::var_os("CHROMIUM") {
        return Some(named.into());
    }
    let directories = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&directories)
        .flat_map(|directory| ["chromium", "chromium-browser"].map(|name| directory.join(name)))
        .find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: chromium is not installed (apt-get install chromium)");
    }
    found
}
