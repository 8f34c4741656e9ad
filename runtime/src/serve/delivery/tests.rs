use http::Request;
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::*;
use crate::{Runtime, RuntimeConfig};

const CREATE: &str = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;

fn post(runtime: &Runtime, path: &str, body: String) -> Value {
    let response = runtime.handle(&Request::post(path).body(body.into()).unwrap());
    assert_eq!(response.status(), 200);
    serde_json::from_slice(response.body()).unwrap()
}

struct Fixture {
    runtime: Runtime,
    worker: String,
    client: WebSocketStream<DuplexStream>,
    delivery: JoinHandle<()>,
    drain: watch::Sender<bool>,
}

/// A delivery to a client whose end of the connection holds so many bytes.
async fn fixture(room: usize) -> Fixture {
    let runtime = Runtime::start(RuntimeConfig::new("rt".parse().unwrap())).unwrap();
    let created = post(&runtime, "/v1/workers", CREATE.to_owned());
    let worker = format!("/v1/workers/{}", created["worker"]["worker_id"].as_str().unwrap());
    let stream = format!("{worker}/events/ws");
    let frames = runtime.observe(&Request::get(stream).body(Bytes::new()).unwrap()).unwrap();
    let (client, server) = tokio::io::duplex(room);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let (drain, draining) = watch::channel(false);
    let delivery = tokio::spawn(deliver(server, frames, draining));
    Fixture { runtime, worker, client, delivery, drain }
}

impl Fixture {
    fn say(&self, content: &str) {
        let body = format!(r#"{{"kind":"user","content":"{content}"}}"#);
        post(&self.runtime, &format!("{}/input", self.worker), body);
    }

    async fn next(&mut self) -> Message {
        self.client.next().await.unwrap().unwrap()
    }

    async fn text(&mut self) -> String {
        loop {
            match self.next().await {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn close_code(&mut self) -> CloseCode {
        match self.next().await {
            Message::Close(Some(CloseFrame { code, .. })) => code,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_lives_is_kept_and_one_that_does_not_is_not() {
    let mut fixture = fixture(1024).await;
    assert!(fixture.text().await.contains("snapshot"));
    let begun = Instant::now();
    for beat in 1..=4 {
        // Reading is what answers.
        assert_eq!(fixture.next().await, Message::Ping(Bytes::new()));
        assert_eq!(begun.elapsed(), HEARTBEAT * beat);
        fixture.client.flush().await.unwrap();
    }
    let Fixture { delivery, client, .. } = fixture;
    delivery.await.unwrap();
    // The fifth was not answered, which shows at the sixth.
    assert_eq!(begun.elapsed(), HEARTBEAT * 6);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_given_up() {
    let fixture = fixture(64).await;
    let begun = Instant::now();
    fixture.delivery.await.unwrap();
    assert!((WRITE_TIMEOUT..=WRITE_TIMEOUT + HEARTBEAT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_is_not_given_up() {
    let mut fixture = fixture(64).await;
    let long = "x".repeat(1024 * 1024);
    fixture.say(&long);
    assert!(fixture.text().await.contains("snapshot"));
    tokio::time::advance(WRITE_TIMEOUT - HEARTBEAT).await;
    assert!(fixture.text().await.contains(&long));
    assert!(fixture.text().await.contains("text_delta"));
}

#[tokio::test(start_paused = true)]
async fn what_is_long_goes_in_pieces() {
    let mut fixture = fixture(1024 * 1024).await;
    fixture.text().await;
    // Every size around the bounds, so that one of them falls on each.
    for length in (FRAGMENT - 300..FRAGMENT).chain([FRAGMENT * 3]) {
        fixture.say(&"x".repeat(length));
        for _ in 0..2 {
            assert!(fixture.text().await.contains(&"x".repeat(length)), "{length}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_runtime_is_the_end() {
    let mut fixture = fixture(1024).await;
    fixture.text().await;
    fixture.runtime.shutdown();
    for told in [r#""status":"paused""#, r#""kind":"ended""#, "runtime.unavailable"] {
        assert!(fixture.text().await.contains(told), "{told}");
    }
    assert_eq!(fixture.close_code().await, CloseCode::Normal);
    assert!(fixture.client.next().await.is_none());
    fixture.delivery.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_server_ends_in_the_middle_of_a_message() {
    let mut fixture = fixture(1024).await;
    let long = "x".repeat(FRAGMENT * 3);
    fixture.text().await;
    fixture.say(&long);
    // Its turn is long enough for the first piece, and there is no room for more than a part of that.
    tokio::task::yield_now().await;
    fixture.drain.send_replace(true);
    assert!(fixture.text().await.contains(&long));
    assert!(fixture.text().await.contains("runtime.unavailable"));
    assert_eq!(fixture.close_code().await, CloseCode::Away);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_is_the_end() {
    for message in [Message::text("x"), Message::binary("x")] {
        let mut fixture = fixture(1024).await;
        fixture.text().await;
        fixture.client.send(message).await.unwrap();
        assert!(fixture.text().await.contains("runtime.observation_only"));
        assert_eq!(fixture.close_code().await, CloseCode::Normal);
        assert!(fixture.client.next().await.is_none());
        fixture.delivery.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_is_answered() {
    let mut fixture = fixture(1024).await;
    fixture.text().await;
    fixture.client.close(None).await.unwrap();
    assert!(matches!(fixture.next().await, Message::Close(_)));
    assert!(fixture.client.next().await.is_none());
    fixture.delivery.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_close_is_not_waited_for() {
    let mut fixture = fixture(1024).await;
    fixture.text().await;
    fixture.drain.send_replace(true);
    let begun = Instant::now();
    let Fixture { delivery, client, .. } = fixture;
    delivery.await.unwrap();
    assert_eq!(begun.elapsed(), FAREWELL);
    drop(client);
}
