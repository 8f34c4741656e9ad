//! A base URL that leads to another runtime, and a token that is replaced while a call is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sekisho_core::call::{Call, CallLimits};
use sekisho_core::error::{ErrorKind, Outcome};
use sekisho_core::id::WorkerRef;
use sekisho_core::registry::{Reachability, Registry};
use sekisho_core::runtime_api::{Command, Input, InputKind, Reason};
use sekisho_core::secret::{Access, Token};
use sekisho_core::transport::TokenSource;
use sekisho_core::watch::OnExpiredCursor;
use sekisho_tests::scenarios::{NEW_TOKEN, TOKEN};
use sekisho_tests::upstream::{Upstream, json, with_headers};

use crate::run::registry;
use crate::side::{Next, SIDES, Side, To, Wish};

/// A source whose token is replaced when it is told so.
#[derive(Default)]
struct Replaced(AtomicBool);

impl TokenSource for Replaced {
    fn read(&self) -> Option<Token> {
        TOKEN.parse().ok()
    }

    fn changed(&self, _: Instant) -> Option<Token> {
        self.0.swap(false, Ordering::SeqCst).then(|| NEW_TOKEN.parse().unwrap())
    }
}

fn registry_of(upstream: &Upstream) -> Registry {
    let base_url = format!("http://{}", upstream.address()).parse().unwrap();
    registry(Access::remote(base_url, TOKEN.parse().ok()), CallLimits::default(), Duration::from_secs(60))
}

fn call(registry: &mut Registry, command: Command) -> Call {
    registry.call(Instant::now(), &"rt".parse().unwrap(), command, None).unwrap()
}

fn input() -> Command {
    Command::Input { worker_id: "w".parse().unwrap(), input: Input::new(InputKind::User, "x"), key: None }
}

fn each_side(test: impl Fn(&dyn Side, &Arc<Replaced>)) {
    for (_, make) in SIDES {
        let source = Arc::new(Replaced::default());
        test(make(To::Network(source.clone())).as_ref(), &source);
    }
}

/// Nothing but the question reaches a runtime that is not the one that was meant.
pub(crate) fn nothing_changes_there() {
    each_side(|side, _| {
        let upstream = Upstream::identified("another", |asked| panic!("it was sent {asked:?}"));
        let mut registry = registry_of(&upstream);
        let stop = Command::Stop { worker_id: "w".parse().unwrap(), reason: Reason::default() };
        for command in [input(), stop, input()] {
            let mut call = call(&mut registry, command);
            let error = side.drive(&mut call).unwrap_err();
            assert_eq!(
                (error.kind(), error.outcome()),
                (ErrorKind::IdentityMismatch, Some(Outcome::NotApplied))
            );
            registry.finish(Instant::now(), call);
        }
        let health = registry.health(&"rt".parse().unwrap()).unwrap();
        assert_eq!(health.reachability, Reachability::Misdirected);

        let worker = WorkerRef { runtime_id: "rt".parse().unwrap(), worker_id: "w".parse().unwrap() };
        let watch = registry.watch(Instant::now(), &worker, None, OnExpiredCursor::Stop).unwrap();
        side.watch(watch, &mut |next: Next| {
            let Err(Err(error)) = next else { panic!("{next:?}") };
            assert_eq!((error.kind(), error.kind().close_code()), (ErrorKind::IdentityMismatch, 4502));
            Wish::Nothing
        });
        assert_eq!(upstream.asked(), 0);
    });
}

/// A pooled connection is asked once; one that ends with each answer is asked each time, and serves all the same.
pub(crate) fn a_question_is_asked_once_for_each_connection() {
    const ACK: &str = r#"{"ack":{"worker_ref":{"runtime_id":"rt","worker_id":"w"},"status":"running","transcript_sequence":1,"event_id":8}}"#;
    for (ending, questions) in [("", 1), ("connection: close\r\n", 3)] {
        each_side(|side, _| {
            let counted = Arc::new(AtomicUsize::new(0));
            let counting = counted.clone();
            let upstream = Upstream::start(move |asked| {
                if asked.head.starts_with("GET /v1/runtime ") {
                    counting.fetch_add(1, Ordering::SeqCst);
                    return with_headers(200, ending, &sekisho_tests::upstream::runtime_summary("rt"));
                }
                with_headers(200, ending, ACK)
            });
            let mut registry = registry_of(&upstream);
            for _ in 0..3 {
                let mut call = call(&mut registry, input());
                side.drive(&mut call).unwrap();
                assert_eq!(call.attempts(), 1);
                registry.finish(Instant::now(), call);
            }
            assert_eq!(counted.load(Ordering::SeqCst), questions, "{ending:?}");
        });
    }
}

/// The runtime repeats a token that replaced the one it was asked with while it was answering.
pub(crate) fn a_token_that_is_replaced_meanwhile_does_not_come_out() {
    each_side(|side, source| {
        let replaced = source.clone();
        let upstream = Upstream::start(move |_| {
            replaced.0.store(true, Ordering::SeqCst);
            let words = format!("{TOKEN}, and from now on {NEW_TOKEN}");
            json(400, &format!(r#"{{"error":{{"code":"x","message":"{words}"}}}}"#))
        });
        let mut registry = registry_of(&upstream);
        let mut call = call(&mut registry, Command::workers());
        let error = side.drive(&mut call).unwrap_err();
        assert!(error.detail().ends_with(": [redacted], and from now on [redacted]"), "{}", error.detail());
        registry.finish(Instant::now(), call);
    });
}
