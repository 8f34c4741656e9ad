//! Two gateways behind nginx, configured as `docs/operating.md` says.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sekisho_tests::follower::Follower;
use sekisho_tests::processes::{Process, binary, eventually};
use sekisho_tests::stream_runtime::StreamRuntime;
use socket2::{Domain, Socket, Type};

/// A port that is kept for a program which cannot choose one by itself: bound, and not listened on.
fn keep_port() -> (Socket, SocketAddr) {
    let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    port.set_reuse_port(true).unwrap();
    port.set_reuse_address(true).unwrap();
    port.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = port.local_addr().unwrap().as_socket().unwrap();
    (port, address)
}

/// The block of nginx in `docs/operating.md`.
fn block() -> &'static str {
    let page = include_str!("../../docs/operating.md");
    let (_, rest) = page.split_once("```nginx\n").unwrap();
    rest.split_once("```").unwrap().0
}

struct Nginx(Child);

impl Nginx {
    /// Starts it in front of two gateways; `None` where it is not installed.
    fn start(folder: &Path, at: SocketAddr, sockets: [&Path; 2]) -> Option<Self> {
        let server = |socket: &Path| format!("unix:{}", socket.display());
        let site = block()
            .replace("127.0.0.1:8787", &server(sockets[0]))
            .replace("127.0.0.1:8788", &server(sockets[1]))
            .replace("listen 80;", &format!("listen {at} reuseport;"));
        // Where the test runs as root, nginx would go to the sockets of the gateways as another user.
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap();
        let around = "daemon off; pid nginx.pid; error_log nginx.log;\nevents {}\nhttp {\naccess_log off; \
             client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;\n";
        fs::write(folder.join("config"), format!("user {};\n{around}{site}}}\n", user.trim())).unwrap();
        let mut command = Command::new("nginx");
        command.current_dir(folder).args(["-p", ".", "-e", "nginx.log", "-c", "config"]);
        let process = match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{error}"),
        };
        eventually("nginx listens", || TcpStream::connect(at).ok());
        Some(Self(process))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked to end rather than killed: its workers would outlive their master.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn gateway(folder: &Path, socket: &Path, runtime: &StreamRuntime) -> Process {
    let config = folder.join(socket.with_extension("toml").file_name().unwrap());
    let key = folder.join("cursor.key");
    let text = format!(
        "listen = 'unix:{}'\ncursor_key_file = {key:?}\n[embedded]\nenabled = false\n{}",
        socket.display(),
        runtime.configuration()
    );
    fs::write(&config, text).unwrap();
    Process::start_anywhere(Command::new(binary("sekisho-server")).arg("--config").arg(config))
}

#[test]
fn viewers_move_between_gateways_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = StreamRuntime::start(4096);
    let sockets = [folder.path().join("one"), folder.path().join("two")];
    let (_port, at) = keep_port();
    let Some(_nginx) = Nginx::start(folder.path(), at, [&sockets[0], &sockets[1]]) else {
        println!("skipped: nginx is not installed");
        return;
    };
    let mut gateways = sockets.each_ref().map(|socket| gateway(folder.path(), socket, &runtime));
    let mut followers: Vec<Follower> = (0..8).map(|_| Follower::new(at)).collect();
    let mut told = 0;
    let mut tell = |followers: &mut [Follower]| {
        (0..10).for_each(|_| runtime.publish());
        told += 10;
        followers.iter_mut().for_each(|follower| follower.read_to(told, || at));
    };
    tell(&mut followers);
    for dies in [0, 1, 0] {
        gateways[dies].signal("KILL");
        gateways[dies].ended();
        tell(&mut followers);
        gateways[dies] = gateway(folder.path(), &sockets[dies], &runtime);
        tell(&mut followers);
    }
    assert!(followers.iter().all(|follower| follower.resynchronized == 0));
    assert!(runtime.streams().1 >= 4, "each gateway has watched, and each one again that came back");
}
