//! Streams of a runtime, through the public interface alone.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

#[path = "observation/follower.rs"]
mod follower;

use std::thread;

use bytes::Bytes;
use http::{Method, Request};
use sekisho_core::id::WorkerId;
use sekisho_runtime::{Limits, Runtime, RuntimeConfig};
use serde_json::{Value, json};

use follower::{Follower, cursor};

const RECORDED: &str = include_str!("../../core/src/runtime_api/recorded-streams.json");

/// How many events are kept of a worker, and how many streams there may be.
const MAX_EVENTS: usize = 1000;
const MAX_SUBSCRIPTIONS: usize = 100;

fn echo() -> (Runtime, WorkerId) {
    let limits =
        Limits { max_backlog_events: MAX_EVENTS, max_subscriptions: MAX_SUBSCRIPTIONS, ..Limits::default() };
    let config = RuntimeConfig { limits, ..RuntimeConfig::new("rt".parse().unwrap()) };
    let runtime = Runtime::start(config).unwrap();
    let worker_id = create(&runtime);
    (runtime, worker_id)
}

fn create(runtime: &Runtime) -> WorkerId {
    let body = r#"{"intent":{"kind":"assistant"},"profile":{"kind":"runtime_default"}}"#;
    let request = Request::post("/v1/workers").body(Bytes::from(body)).unwrap();
    let answer: Value = serde_json::from_slice(runtime.handle(&request).body()).unwrap();
    answer["worker"]["worker_id"].as_str().unwrap().parse().unwrap()
}

/// Two events and two items: what was said, and its echo.
fn say(runtime: &Runtime, worker_id: &WorkerId, content: &str) {
    let body = json!({"kind": "user", "content": content}).to_string();
    let request = Request::post(format!("/v1/workers/{worker_id}/input")).body(Bytes::from(body)).unwrap();
    assert_eq!(runtime.handle(&request).status(), 200);
}

fn code(frame: &Value) -> &str {
    frame["diagnostic"]["code"].as_str().unwrap()
}

/// What was said and echoed in these frames, and the number of each.
fn told(frames: &[Value]) -> Vec<(String, String)> {
    let told = frames.iter().map(|frame| {
        let envelope = &frame["envelope"];
        assert_eq!(envelope["event_id"], envelope["cursor"], "{frame}");
        let data = &envelope["payload"]["data"];
        let text = data["text"].as_str().or(data["segments"][0]["content"].as_str());
        let place = envelope["cursor"].as_str().unwrap().split_once('.').unwrap().1;
        (place.to_owned(), text.unwrap().to_owned())
    });
    told.collect()
}

fn contents(snapshot: &Value) -> Vec<&str> {
    let entries = snapshot["envelope"]["payload"]["data"]["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["content"].as_str().unwrap()).collect()
}

fn pair(place: &str, text: &str) -> (String, String) {
    (place.to_owned(), text.to_owned())
}

#[test]
fn a_stream_begins_with_the_present_and_goes_on_with_what_comes() {
    let (runtime, worker_id) = echo();
    say(&runtime, &worker_id, "before");
    let mut follower = Follower::of(&runtime, &worker_id, None);
    let snapshot = follower.next().unwrap();
    let head = cursor(&runtime, 4);
    assert_eq!(snapshot["envelope"]["cursor"], head);
    assert_eq!(snapshot["envelope"]["event_id"], format!("snapshot:{head}"));
    assert_eq!(contents(&snapshot), ["before", "before"]);
    assert!(follower.ready().is_empty());
    say(&runtime, &worker_id, "after");
    assert_eq!(told(&follower.ready()), [pair("5", "after"), pair("6", "after")]);
}

#[test]
fn a_stream_goes_on_from_a_cursor() {
    let (runtime, worker_id) = echo();
    let other = create(&runtime);
    for content in ["a", "b"] {
        say(&runtime, &worker_id, content);
    }
    say(&runtime, &other, "other");
    for (place, before, after) in [
        (2, &[][..], &[pair("4", "a"), pair("5", "a"), pair("6", "b"), pair("7", "b")][..]),
        (5, &["a", "a"], &[pair("6", "b"), pair("7", "b")]),
        (7, &["a", "a", "b", "b"], &[]),
    ] {
        let asked = cursor(&runtime, place);
        let mut follower = Follower::of(&runtime, &worker_id, Some(&asked));
        let frames = follower.ready();
        assert_eq!(frames[0]["envelope"]["cursor"], asked);
        // The snapshot is of the place: what follows is not in it.
        assert_eq!(contents(&frames[0]), before);
        assert_eq!(told(&frames[1..]), after);
        say(&runtime, &other, "other");
        assert!(follower.ready().is_empty());
    }
}

#[test]
fn what_is_wrong_with_a_cursor_is_said_and_ends_the_stream() {
    let (runtime, worker_id) = echo();
    let other = create(&runtime);
    for _ in 0..MAX_EVENTS {
        say(&runtime, &worker_id, "x");
    }
    let newest = 3 + 2 * MAX_EVENTS as u64;
    let (oldest_place, another) = (newest - MAX_EVENTS as u64, echo().0);
    let at = |place| cursor(&runtime, place);
    for (asked, frames, end) in [
        ("zzz".to_owned(), 1, "runtime.cursor_malformed"),
        (String::new(), 1, "runtime.cursor_malformed"),
        ("wo_0000000000000013".to_owned(), 1, "runtime.cursor_malformed"),
        // Of another start, of the future, of nothing, of another worker, of too long ago.
        (cursor(&another, newest), 2, "runtime.cursor_unknown_or_expired"),
        (at(newest + 1), 2, "runtime.cursor_unknown_or_expired"),
        (at(u64::MAX), 2, "runtime.cursor_unknown_or_expired"),
        (at(0), 2, "runtime.cursor_unknown_or_expired"),
        (at(3), 2, "runtime.cursor_unknown_or_expired"),
        (at(oldest_place - 1), 2, "runtime.cursor_unknown_or_expired"),
    ] {
        let mut follower = Follower::of(&runtime, &worker_id, Some(&asked));
        let told = follower.ready();
        assert_eq!((told.len(), code(told.last().unwrap())), (frames, end), "{asked}");
        if frames == 2 {
            assert_eq!(told[0]["envelope"]["event_id"], format!("snapshot:{asked}"));
        }
        say(&runtime, &other, "x");
        assert_eq!(follower.next(), None, "{asked}");
    }
    let mut oldest = Follower::of(&runtime, &worker_id, Some(&at(oldest_place)));
    assert_eq!(oldest.ready().len(), 1 + MAX_EVENTS);
}

#[test]
fn a_subscriber_that_does_not_keep_up_is_told() {
    let (runtime, worker_id) = echo();
    let mut follower = Follower::of(&runtime, &worker_id, None);
    for _ in 0..MAX_EVENTS {
        say(&runtime, &worker_id, "x");
    }
    let frames = follower.ready();
    assert_eq!((frames.len(), code(&frames[1])), (2, "runtime.cursor_expired"));
    assert_eq!(follower.next(), None);
}

#[test]
fn snapshots_are_bounded() {
    for (content, count, expected) in [
        ("x".to_owned(), 200, 256),
        ("x".repeat(100 * 1024), 4, 5),
        ("x".repeat(600 * 1024), 1, 0),
        // Six bytes of JSON each.
        ("\0".repeat(20 * 1000), 10, 4),
        ("\0".repeat(200 * 1000), 1, 0),
    ] {
        let (runtime, worker_id) = echo();
        for _ in 0..count {
            say(&runtime, &worker_id, &content);
        }
        let snapshot = Follower::of(&runtime, &worker_id, None).next().unwrap();
        assert_eq!(contents(&snapshot).len(), expected);
        assert!(snapshot.to_string().len() < 1024 * 1024, "what a gateway passes on");
    }
}

#[test]
fn nothing_is_missed_and_nothing_told_twice_while_a_worker_speaks() {
    const SAID: usize = 400;
    let (runtime, worker_id) = echo();
    let follow = || {
        let mut follower = Follower::of(&runtime, &worker_id, None);
        let mut snapshot = follower.next().unwrap();
        let mut seen: Vec<String> = contents(&snapshot).into_iter().map(str::to_owned).collect();
        while seen.last().is_none_or(|last| *last != SAID.to_string()) || seen.len() % 2 == 1 {
            let frame = follower.next().unwrap();
            seen.extend(told(std::slice::from_ref(&frame)).into_iter().map(|(_, text)| text));
            // Drop it now and then, and go on from where it was.
            if seen.len().is_multiple_of(7) {
                let place = frame["envelope"]["cursor"].as_str().unwrap();
                follower = Follower::of(&runtime, &worker_id, Some(place));
                snapshot = follower.next().unwrap();
                assert_eq!(snapshot["envelope"]["cursor"], place);
            }
        }
        seen
    };
    thread::scope(|scope| {
        let followers: Vec<_> = (0..4).map(|_| scope.spawn(follow)).collect();
        for number in 1..=SAID {
            say(&runtime, &worker_id, &number.to_string());
        }
        for follower in followers {
            let seen = follower.join().unwrap();
            let first: usize = seen[0].parse().unwrap();
            let twice = |number: usize| [number.to_string(), number.to_string()];
            assert_eq!(seen, (first..=SAID).flat_map(twice).collect::<Vec<_>>());
        }
    });
}

#[test]
fn the_end_of_the_runtime_is_said() {
    let (runtime, worker_id) = echo();
    let follow = || {
        let mut follower = Follower::of(&runtime, &worker_id, Some(&cursor(&runtime, 2)));
        let frames: Vec<Value> = std::iter::from_fn(|| follower.next()).collect();
        let payload = |index: usize| frames[index]["envelope"]["payload"].clone();
        (frames.len(), payload(1), payload(2), code(&frames[3]).to_owned())
    };
    let paused = json!({"event": "status", "data": {"status": "paused"}});
    let end = json!({"kind": "ended", "reason": "stopped", "message": "the runtime is shutting down"});
    let ended = json!({"event": "system_item", "data": {"item": end}});
    let expected = (4, paused, ended, "runtime.unavailable".to_owned());
    thread::scope(|scope| {
        let waiting = scope.spawn(follow);
        runtime.shutdown();
        assert_eq!(waiting.join().unwrap(), expected);
    });
    // What is kept can be read even then.
    assert_eq!(follow(), expected);
    let mut late = Follower::of(&runtime, &worker_id, None);
    assert_eq!(late.next().unwrap()["envelope"]["payload"]["data"]["status"], "paused");
    // A subscription does not keep the runtime, and ends with it.
    let (runtime, worker_id) = echo();
    let mut orphan = Follower::of(&runtime, &worker_id, None);
    drop(runtime);
    assert_eq!(code(orphan.ready().last().unwrap()), "runtime.unavailable");
}

#[test]
fn there_is_an_end_to_subscriptions() {
    let (runtime, worker_id) = echo();
    let mut followers: Vec<_> =
        (0..MAX_SUBSCRIPTIONS).map(|_| Follower::of(&runtime, &worker_id, None)).collect();
    let request = Request::get(format!("/v1/workers/{worker_id}/events/ws")).body(Bytes::new()).unwrap();
    let refusal = runtime.observe(&request).unwrap_err();
    assert_eq!((refusal.status().as_u16(), refusal.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    assert!(refusal.body().starts_with(br#"{"error":{"code":"runtime_full""#));
    followers.pop();
    assert!(runtime.observe(&request).is_ok());
}

#[test]
fn refusals() {
    let config = RuntimeConfig { token: "s3cret".parse().ok(), ..RuntimeConfig::new("rt".parse().unwrap()) };
    let runtime = Runtime::start(config).unwrap();
    let request = |method: &Method, path: &str, token: &str| {
        let request = Request::builder().method(method).uri(path).header("authorization", token);
        request.body(Bytes::new()).unwrap()
    };
    let (get, post) = (Method::GET, Method::POST);
    for (method, path, token, status, code) in [
        (&get, "/v1/workers/w/events/ws", "Bearer wrong", 401, "unauthorized"),
        (&post, "/v1/workers/w/events/ws", "Bearer wrong", 401, "unauthorized"),
        (&get, "/v1/runtime", "Bearer wrong", 401, "unauthorized"),
        (&get, "/v1/workers/w/events/ws", "Bearer s3cret", 404, "worker_not_found"),
        (&get, "/v1/workers/w/events/ws?cursor=zzz", "Bearer s3cret", 404, "worker_not_found"),
        (&get, "/v1/workers/a%2Fb/events/ws", "Bearer s3cret", 400, "invalid_worker_id"),
        (&get, "/v1/workers/w/events/ws?start=1", "Bearer s3cret", 400, "invalid_query"),
        (&post, "/v1/workers/w/events/ws", "Bearer s3cret", 405, ""),
        (&get, "/v1/nothing", "Bearer s3cret", 404, ""),
        (&get, "/v1/runtime", "Bearer s3cret", 200, ""),
    ] {
        let refusal = runtime.observe(&request(method, path, token)).unwrap_err();
        let body: Value = serde_json::from_slice(refusal.body()).unwrap_or_default();
        let found = (refusal.status().as_u16(), body["error"]["code"].as_str().unwrap_or_default());
        assert_eq!(found, (status, code), "{method} {path}");
    }
    let plain = runtime.handle(&request(&get, "/v1/workers/w/events/ws", "Bearer s3cret"));
    let body: Value = serde_json::from_slice(plain.body()).unwrap();
    assert_eq!((plain.status().as_u16(), &body["error"]["code"]), (400, &json!("invalid_request")));
}

/// A text of JSON with every string of its objects emptied: what is left are the keys in their order.
fn skeleton(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap();
    let mut rest = text.to_owned();
    blank(&value, &mut rest);
    rest
}

fn blank(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => *text = text.replace(&format!(":{}", json!(string)), ":\"\""),
        Value::Object(object) => object.values().for_each(|value| blank(value, text)),
        _ => {}
    }
}

#[test]
fn frames_are_shaped_like_those_recorded() {
    let streams: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    let stream = |name: &str| streams.iter().find(|stream| stream["name"] == name).unwrap();
    let recorded = |name: &str, index: usize| stream(name)["frames"][index].as_str().unwrap().to_owned();

    let (runtime, worker_id) = echo();
    let follow = |query: &str| {
        let request = Request::get(format!("/v1/workers/{worker_id}/events/ws{query}"));
        runtime.observe(&request.body(Bytes::new()).unwrap()).unwrap()
    };
    let next = |subscription: &mut sekisho_runtime::Subscription| {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(Some(frame)) = subscription.poll_frame(&mut context) else { panic!() };
        String::from_utf8(frame.to_vec()).unwrap()
    };

    let mut fresh = follow("");
    assert_eq!(skeleton(&next(&mut fresh)), skeleton(&recorded("fresh", 0)));
    say(&runtime, &worker_id, "x");
    let _ = next(&mut fresh);
    assert_eq!(skeleton(&next(&mut fresh)), skeleton(&recorded("fresh", 1)));
    // Where there is nothing of ours in it, it is the same byte for byte.
    assert_eq!(next(&mut follow("?cursor=zzz")), recorded("cursor_malformed", 0));
    let unknown = cursor(&runtime, 999);
    let mut follower = follow(&format!("?cursor={unknown}"));
    let _ = next(&mut follower);
    let expected = recorded("cursor_unknown", 1).replace("wo_00000000ffffffff", &unknown);
    assert_eq!(next(&mut follower), expected.replace("worker-00000001", worker_id.as_str()));
}
