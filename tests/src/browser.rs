//! A real browser, and sites for it whose pages report.

use std::env;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tungstenite::WebSocket;

use crate::client::PATIENCE;
use crate::processes::eventually;
use crate::upstream::{self, Act, Asked, Upstream, with_headers};

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
                    upstream::json(200, "{}")
                }
                ("GET", Some((media_type, text))) => {
                    with_headers(200, &format!("content-type: {media_type}\r\n"), &text)
                }
                _ => upstream::json(404, "{}"),
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

/// A browser with a profile of its own; its processes and its profile go with the test.
struct Browser {
    child: Child,
    directory: tempfile::TempDir,
}

impl Browser {
    fn start(chromium: &Path, url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        let child = Command::new(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--enable-logging=stderr"])
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
            .arg(url)
            .envs(["HOME", "TMPDIR"].map(|name| (name, directory.path())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
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
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        // Processes that have left its group end when they hear no more of it, and may write until then.
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir_all(self.directory.path()).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A page in a browser of its own that can be looked at and used, over the DevTools protocol.
pub struct Tab {
    socket: WebSocket<TcpStream>,
    asked: u64,
    session: Value,
    browser: Browser,
}

impl Tab {
    /// Opens a page.
    pub fn open(chromium: &Path, url: &str) -> Self {
        let browser = Browser::start(chromium, url);
        let (port, path) = eventually("the browser's port", || {
            let file =
                fs::read_to_string(browser.directory.path().join("profile/DevToolsActivePort")).ok()?;
            let (port, path) = file.split_once('\n')?;
            Some((port.parse::<u16>().ok()?, path.to_owned())).filter(|(_, path)| !path.is_empty())
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(format!("ws://{address}{}", path.trim()), stream).unwrap();
        let mut tab = Self { socket, asked: 0, session: Value::Null, browser };
        let target = eventually("a page", || {
            let targets = tab.order("Target.getTargets", json!({}))["targetInfos"].take();
            targets.as_array()?.iter().find(|target| target["type"] == "page").cloned()
        });
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        tab.session = tab.order("Target.attachToTarget", attach)["sessionId"].take();
        tab
    }

    fn order(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut order = json!({ "id": self.asked, "method": method, "params": parameters });
        if !self.session.is_null() {
            order["sessionId"] = self.session.clone();
        }
        self.socket.send(order.to_string().into()).unwrap();
        loop {
            let message = self.socket.read().unwrap();
            let mut said: Value = serde_json::from_str(message.to_text().unwrap()).unwrap_or_default();
            if said["id"] == self.asked {
                return said["result"].take();
            }
        }
    }

    /// What a script in the page comes to.
    pub fn evaluate(&mut self, script: &str) -> Value {
        let parameters = json!({ "expression": script, "returnByValue": true });
        self.order("Runtime.evaluate", parameters)["result"]["value"].take()
    }

    /// Waits until the page has all of this in it; what it has then.
    ///
    /// # Panics
    ///
    /// Where it never has, or where its own policy keeps it from something.
    pub fn until(&mut self, expected: &[&str]) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let page = self.evaluate("document.documentElement?.outerHTML ?? ''");
            let page = page.as_str().unwrap_or_default();
            let said = self.browser.said();
            assert!(!said.contains("Content Security Policy"), "{said}");
            match expected.iter().find(|text| !page.contains(**text)) {
                None => return page.to_owned(),
                Some(missing) => assert!(Instant::now() < deadline, "never {missing:?}: {page}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
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
