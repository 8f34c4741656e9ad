use std::num::NonZeroU16;

use bytes::Bytes;
use http::Response;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sekisho_core::error::{ErrorKind, MAX_RUNTIME_TEXT};
use sekisho_core::runtime_api::{
    Answer, Command, CreateWorker, Fault, FaultCode, Input, InputKind, Intent, MAX_RETRY_AFTER, Profile,
    Reason, Rejection, Reply, TerminalSize,
};
use sekisho_core::secret::{Access, Scrubber};
use serde_json::json;

use crate::any::{ack, damaged, detail, input_ack, list, profiles, requests, summary, text, transcript};
use crate::cases;

const EIGHTY: NonZeroU16 = NonZeroU16::new(80).unwrap();

/// Where each kind of reply comes from.
fn commands() -> [Command; 16] {
    let worker_id = || "w".parse().unwrap();
    let worker = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
    let input = Input::new(InputKind::User, "x");
    [
        Command::Runtime,
        Command::workers(),
        Command::Worker(worker_id()),
        Command::Create { worker: Box::new(worker), key: None },
        Command::Input { worker_id: worker_id(), input, key: None },
        Command::Stop { worker_id: worker_id(), reason: Reason::default() },
        Command::Cancel { worker_id: worker_id(), reason: Reason::default() },
        Command::Transcript { worker_id: worker_id(), start: None, limit: None, contains: None },
        Command::Interrupt { worker_id: worker_id(), key: None },
        Command::Resize { worker_id: worker_id(), size: TerminalSize { cols: EIGHTY, rows: EIGHTY } },
        Command::Resume(worker_id()),
        Command::Remove(worker_id()),
        Command::Requests(worker_id()),
        Command::AllRequests,
        Command::Answer {
            worker_id: worker_id(),
            request_id: "q".parse().unwrap(),
            answer: Answer::Dismiss,
            key: None,
        },
        Command::Profiles,
    ]
}

/// A command and an answer to it.
fn exchange() -> BoxedStrategy<(Command, Reply)> {
    let [
        runtime,
        workers,
        worker,
        create,
        input,
        stop,
        cancel,
        transcribe,
        interrupt,
        resize,
        resume,
        remove,
        asked,
        asked_of_all,
        answer,
        listed,
    ] = commands();
    let acked = select(vec![stop, cancel, interrupt, resize, resume, answer]);
    prop_oneof![
        summary().prop_map(move |it| (runtime.clone(), Reply::Runtime(it))).boxed(),
        list().prop_map(move |it| (workers.clone(), Reply::Workers(it))).boxed(),
        detail().prop_map(move |it| (worker.clone(), Reply::Worker(it.into()))).boxed(),
        detail().prop_map(move |it| (create.clone(), Reply::Worker(it.into()))).boxed(),
        input_ack().prop_map(move |it| (input.clone(), Reply::Input(it))).boxed(),
        (acked, ack()).prop_map(|(command, it)| (command, Reply::Ack(it))).boxed(),
        Just((remove, Reply::Removed)).boxed(),
        requests(None).prop_map(move |it| (asked.clone(), Reply::Requests(it))).boxed(),
        requests(Some("w")).prop_map(move |it| (asked_of_all.clone(), Reply::Requests(it))).boxed(),
        profiles().prop_map(move |it| (listed.clone(), Reply::Profiles(it))).boxed(),
        transcript().prop_map(move |it| (transcribe.clone(), Reply::Transcript(it))).boxed(),
    ]
    // By value they would be too large for the stack of a test.
    .boxed()
}

fn read(command: &Command, scrubber: &Scrubber, response: &Response<Bytes>) -> Result<Reply, Rejection> {
    Reply::from_response(command, &"rt".parse().unwrap(), scrubber, response)
}

fn secretive() -> Access {
    Access::remote("http://vault.example:7700".parse().unwrap(), "s3cr3t-t0k3n".parse().ok())
}

/// What a rejection says is fit to be shown, and no more than can be known.
fn is_fit(rejection: &Rejection, scrubber: &Scrubber, response: &Response<Bytes>) {
    let status = response.status();
    let full = status == 503 && rejection.runtime_code.as_deref() == Some("runtime_full");
    let refused = status.is_client_error() || status == 501 || full;
    assert!(!rejection.not_applied || refused, "{rejection:?} at {status}");
    for text in [rejection.runtime_code.as_deref(), rejection.message.as_deref()].into_iter().flatten() {
        assert!(text.chars().count() <= MAX_RUNTIME_TEXT && !text.contains(char::is_control), "{text:?}");
        assert!(!scrubber.finds(text), "{text}");
    }
    assert!(rejection.retry_after.is_none_or(|wait| wait <= MAX_RETRY_AFTER));
}

/// The name at the `index`th place where the text has one, replaced.
fn rename(text: &str, name: &str, index: Index) -> Option<String> {
    let quoted = format!("{name}\":\"");
    let places: Vec<usize> = text.match_indices(&quoted).map(|(at, found)| at + found.len()).collect();
    let at = (!places.is_empty()).then(|| places[index.index(places.len())])?;
    Some(format!("{}another-{}", &text[..at], &text[at..]))
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn what_a_runtime_writes_is_read_as_the_same((command, reply) in exchange()) {
        let response = reply.response();
        let scrubbed = read(&command, secretive().scrubber(), &response);
        prop_assert_eq!(scrubbed, Ok(reply.clone()), "there is no secret in it");
        prop_assert_eq!(read(&command, &Scrubber::default(), &response), Ok(reply));
    }

    #[test]
    fn what_speaks_of_another_is_found(
        (command, reply) in exchange(),
        name in select(vec!["runtime_id", "worker_id"]),
        index in any::<Index>(),
    ) {
        // Texts of the worker's own may look like a name; here they have quotes, which JSON escapes.
        let response = reply.response();
        let body = std::str::from_utf8(response.body()).unwrap();
        let Some(renamed) = rename(body, name, index) else { return Ok(()) };
        // Who has just been created, or is listed, may be anybody.
        prop_assume!(name == "runtime_id" || command.worker_id().is_some());
        let rejected = read(&command, &Scrubber::default(), &Response::new(renamed.into())).unwrap_err();
        prop_assert_eq!((rejected.kind, rejected.not_applied), (ErrorKind::IdentityMismatch, false));
    }

    #[test]
    fn no_response_upsets_a_client(
        command in select(commands().to_vec()),
        status in prop_oneof![3 => Just(200), 4 => 100..=999u16, 2 => select(vec![302, 401, 404, 409, 429, 503])],
        body in prop_oneof![
            damaged(exchange().prop_map(|(_, reply)| reply.response().body().to_vec())),
            prop::collection::vec(any::<u8>(), 0..40),
        ],
        retry_after in prop::option::of("[0-9]{1,22}|[ -~]{0,12}|Sun, 06 Nov [0-9]{4} 08:49:37 GMT"),
    ) {
        let access = secretive();
        let mut response = Response::builder().status(status);
        if let Some(value) = retry_after {
            response = response.header("retry-after", value).header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        }
        let response = response.body(body.into()).unwrap();
        match read(&command, access.scrubber(), &response) {
            Ok(Reply::Removed) => prop_assert_eq!(status, 204),
            Ok(_) => prop_assert_eq!(status, 200),
            Err(rejection) => {
                is_fit(&rejection, access.scrubber(), &response);
                let failed = [ErrorKind::MalformedResponse, ErrorKind::IdentityMismatch];
                prop_assert!(status != 200 || failed.contains(&rejection.kind));
                let denied = rejection.kind == ErrorKind::RuntimeAuthFailed;
                prop_assert_eq!(denied, [401, 403].contains(&status));
                let redirected = rejection.kind == ErrorKind::UnexpectedRedirect;
                prop_assert_eq!(redirected, (300..400).contains(&status));
                prop_assert!(rejection.kind != ErrorKind::WorkerNotFound, "the reply did not say so");
            }
        }
    }

    #[test]
    fn a_refusal_keeps_its_words_and_no_secret(
        status in select(vec![400u16, 404, 409, 500, 503]),
        code in prop_oneof![text(), Just("worker_not_found".to_owned())],
        parts in prop::collection::vec(
            prop_oneof![1 => text(), 5 => select(vec!["s3cr3t-", "\u{7}", "t0k3n"]).prop_map_into()],
            0..6,
        ),
    ) {
        let access = secretive();
        let message = parts.concat();
        let body = json!({"error": {"code": code, "message": message}}).to_string();
        let response = Response::builder().status(status).body(body.into()).unwrap();
        for command in commands() {
            let rejection = read(&command, access.scrubber(), &response).unwrap_err();
            is_fit(&rejection, access.scrubber(), &response);
            let unknown = status == 404 && code == "worker_not_found" && command.worker_id().is_some();
            prop_assert_eq!(rejection.kind == ErrorKind::WorkerNotFound, unknown);
            if message.len() <= MAX_RUNTIME_TEXT && !message.contains(char::is_control) {
                let shown = access.scrubber().text(&message);
                // What it says of its own failure speaks of its machine.
                prop_assert_eq!(rejection.message.as_deref(), (status < 500).then_some(&*shown));
            }
        }
    }

    #[test]
    fn a_fault_is_read_under_its_own_code(
        code in select(FaultCode::ALL),
        message in "[ -~]{0,80}",
    ) {
        let response = Fault::new(code, message.clone()).response();
        prop_assert_eq!(response.status(), code.status());
        let rejection = read(&commands()[2], &Scrubber::default(), &response).unwrap_err();
        prop_assert_eq!(json!(rejection.runtime_code), json!(code));
        let failed = code.status().is_server_error();
        prop_assert_eq!(rejection.message.as_deref(), (!failed).then_some(&*message));
        prop_assert_eq!(rejection.kind, code.kind());
    }
}
