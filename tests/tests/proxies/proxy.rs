//! A proxy that runs with its block of `docs/proxies.md`, with addresses and paths of this test in it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sekisho_tests::processes::eventually;
use socket2::{Domain, Socket, Type};

use super::client::write_certificate;

/// The gateway's access token.
pub(crate) const TOKEN: &str = "proxied-access-token";

/// Which proxy.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
    Haproxy,
}

/// A proxy of one kind, which ends with the test.
pub(crate) struct Proxy {
    process: Child,
    address: SocketAddr,
    // Bound and not listening: it keeps the port for a proxy that cannot choose one by itself.
    _port: Socket,
}

/// The one block of a language in `docs/proxies.md`.
pub(crate) fn block(language: &str) -> String {
    let page = include_str!("../../../docs/proxies.md");
    let fence = format!("```{language}\n");
    let (_, rest) = page.split_once(&fence).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

impl Proxy {
    /// Starts it in front of `gateway`; `None` where it is not installed.
    pub(crate) fn start(kind: Kind, folder: &Path, gateway: SocketAddr) -> Option<Self> {
        write_certificate(folder);
        let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        port.set_reuse_port(true).unwrap();
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = port.local_addr().unwrap().as_socket().unwrap();
        let mut command = kind.command(folder, address, gateway);
        command
            .current_dir(folder)
            .env("HOME", folder)
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME");
        let process = match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{kind:?}: {error}"),
        };
        let mut proxy = Self { process, address, _port: port };
        eventually("the proxy listens", || {
            assert_eq!(proxy.process.try_wait().unwrap(), None, "{kind:?} does not start");
            TcpStream::connect(address).ok()
        });
        Some(proxy)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Kind {
    fn command(self, folder: &Path, address: SocketAddr, gateway: SocketAddr) -> Command {
        let language = match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddyfile",
            Self::Haproxy => "haproxy",
        };
        let config = block(language)
            .replace("127.0.0.1:8787", &gateway.to_string())
            .replace("/etc/ssl/sekisho", folder.to_str().unwrap());
        let (config, arguments): (String, &[&str]) = match self {
            Self::Nginx => {
                let config = config.replace("listen 443 ssl", &format!("listen {address} reuseport ssl"));
                let around = "daemon off; pid nginx.pid; error_log nginx.log;\nevents {}\nhttp {\naccess_log off; \
                     client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; \
                     scgi_temp_path e;\n";
                (format!("{around}{config}}}\n"), &["-p", ".", "-e", "nginx.log", "-c", "config"])
            }
            Self::Caddy => {
                let site = format!("sekisho.example:{} {{\n    bind 127.0.0.1", address.port());
                let config = config.replace("sekisho.example {", &site);
                let global = "{\n    admin off\n    auto_https disable_redirects\n}\n";
                (format!("{global}{config}"), &["run", "--config", "config", "--adapter", "caddyfile"])
            }
            Self::Haproxy => {
                (config.replace("bind :443", &format!("bind {address}")), &["-db", "-f", "config"])
            }
        };
        std::fs::write(folder.join("config"), config).unwrap();
        let name = match self {
            Self::Nginx => "nginx",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
        };
        let mut command = Command::new(name);
        command.args(arguments);
        command
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Asked to end rather than killed: nginx's workers would outlive their master.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
