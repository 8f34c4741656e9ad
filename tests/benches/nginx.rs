//! nginx in the gateway's place, as its manual says to set it up where connections to upstreams are to be kept.

use std::error::Error;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use sekisho_tests::processes::eventually;
use socket2::{Domain, Socket, Type};

/// An nginx with as many workers as the gateway has loops, which ends when it is dropped.
pub(crate) struct Nginx {
    master: Child,
    address: SocketAddr,
    /// nginx cannot find a port by itself. A socket that is bound and does not listen keeps one free for it.
    _port: Socket,
}

impl Nginx {
    /// Proxies what the gateway would to the same path of `runtime`, with the same credential: commands of `rt`, and
    /// WebSockets of `streams`. `None` where nginx is not installed.
    pub(crate) fn start(
        directory: &Path,
        runtime: SocketAddr,
        token: &str,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let port = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        port.set_reuse_port(true)?;
        port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        let address = port.local_addr()?.as_socket().ok_or("no address")?;
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let config = format!(
            "daemon off; worker_processes {workers}; pid nginx.pid; error_log nginx.log;
             events {{ worker_connections 1024; }}
             http {{
                 access_log off; keepalive_requests 1000000000;
                 client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
                 uwsgi_temp_path uwsgi; scgi_temp_path scgi;
                 upstream runtime {{ server {runtime}; keepalive 64; keepalive_requests 1000000000; }}
                 server {{
                     listen {address} reuseport;
                     location /api/runtimes/rt/ {{
                         proxy_pass http://runtime/v1/;
                         proxy_http_version 1.1;
                         proxy_set_header Connection '';
                         proxy_set_header Authorization 'Bearer {token}';
                     }}
                     location /api/runtimes/streams/ {{
                         proxy_pass http://runtime/v1/;
                         proxy_http_version 1.1;
                         proxy_set_header Upgrade $http_upgrade;
                         proxy_set_header Connection upgrade;
                         proxy_set_header Authorization 'Bearer {token}';
                     }}
                 }}
             }}"
        );
        fs::write(directory.join("nginx.conf"), config)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory).args(["-e", "nginx.log", "-c", "nginx.conf"]);
        let master = match command.stdin(Stdio::null()).spawn() {
            Ok(master) => master,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let nginx = Self { master, address, _port: port };
        eventually("nginx listens", || TcpStream::connect(address).ok());
        eventually("nginx has its workers", || (nginx.ids().ok()?.len() > workers).then_some(()));
        Ok(Some(nginx))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process ids of the master and its workers.
    pub(crate) fn ids(&self) -> io::Result<Vec<u32>> {
        let master = self.master.id();
        let mut ids = vec![master];
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process may end while the list is read.
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            if parent.is_some_and(|parent| parent.trim() == master.to_string()) {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed outright would leave its workers behind.
        let _ = Command::new("kill").arg(self.master.id().to_string()).status();
        let _ = self.master.wait();
    }
}
