//! What is held for a client that does not read, and for how long.

use sekisho_core::browser_api::WRITE_TIMEOUT;
use socket2::SockRef;
use tokio::time::{Instant, sleep};

use super::*;
use crate::Connection;

/// What a client is sent in these tests, over and over.
const PIECE: [u8; 8 << 10] = [b'x'; 8 << 10];

async fn connected() -> (Connection, TcpStream) {
    let listener = Listener::bind(&loopback(), None).unwrap();
    let acceptor = listener.acceptor().unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connect, acceptor.accept());
    (accepted.unwrap().handshake().await.unwrap(), client.unwrap())
}

/// Writes until the client takes no more for the moment. How much that was, in bytes.
async fn fill(connection: &mut Connection) -> usize {
    let mut written = 0;
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(300), connection.write(&PIECE)).await {
        written += result.unwrap();
    }
    written
}

/// What the kernel holds that was written to `local` for `remote` and is not acknowledged, in bytes of payload; `None` where it
/// has no such connection. Linux alone tells.
fn held(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let name = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
        }
        SocketAddr::V6(_) => unreachable!("the tests listen on 127.0.0.1"),
    };
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let row = row.into_iter().find(|row| row[1] == name(local) && row[2] == name(remote))?;
    let sent = row[4].split(':').next()?;
    u64::from_str_radix(sent, 16).ok()
}

fn has_proc() -> bool {
    let has = std::path::Path::new("/proc/net/tcp").exists();
    if !has {
        println!("skipped: this system does not tell what it holds of a connection");
    }
    has
}

#[tokio::test]
async fn a_client_that_does_not_read_takes_little_of_the_kernel() {
    if !has_proc() {
        return;
    }
    let (mut connection, client) = connected().await;
    let (local, remote) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    let written = fill(&mut connection).await;
    assert!(written >= PIECE.len(), "{written}");
    let held = held(local, remote).unwrap();
    assert!(held <= 512 << 10, "{held} bytes");
    let socket = SockRef::from(connection.tcp().unwrap());
    assert!(socket.send_buffer_size().unwrap() <= 512 << 10, "even if nothing is acknowledged");
}

#[tokio::test]
async fn a_connection_that_is_given_up_is_not_kept_for_what_is_unread() {
    if !has_proc() {
        return;
    }
    let (mut connection, mut client) = connected().await;
    let (local, remote) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
    fill(&mut connection).await;
    drop(connection);
    assert_eq!(held(local, remote), None, "no orphan");
    let mut all = Vec::new();
    assert_eq!(client.read_to_end(&mut all).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_connection_whose_client_reads_is_closed_in_good_order() {
    let (mut connection, mut client) = connected().await;
    connection.write_all(&PIECE).await.unwrap();
    drop(connection);
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, PIECE);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_given_up() {
    let (mut connection, client) = connected().await;
    let started = Instant::now();
    let error = loop {
        match connection.write_all(&PIECE).await {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() >= WRITE_TIMEOUT);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_stays() {
    let (mut connection, mut client) = connected().await;
    let reads_slowly = async {
        let mut buffer = [0; 2 << 10];
        for _ in 0..10 * WRITE_TIMEOUT.as_secs() {
            client.read_exact(&mut buffer).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let writes = async {
        loop {
            connection.write_all(&PIECE).await.unwrap();
        }
    };
    tokio::select! {
        () = reads_slowly => {}
        () = writes => {}
    }
}
