use super::*;

fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

fn at(age: Duration) -> Timestamp {
    Timestamp::from_millis(u64::try_from(age.as_millis()).unwrap())
}

fn answer(name: &str, fingerprint: Fingerprint, age: Duration, worker: Option<&str>) -> KeptAnswer {
    KeptAnswer {
        key: key(name),
        fingerprint,
        at: at(age),
        worker_id: worker.map(|worker| worker.parse().unwrap()),
        body: Some(Bytes::from_static(b"{}")),
    }
}

const NOW: Duration = Duration::from_secs(1_000_000);
const A: Fingerprint = Fingerprint([1; 32]);
const B: Fingerprint = Fingerprint([2; 32]);

#[test]
fn a_key_stands_for_one_command() {
    let (mut answers, now) = (Answers::default(), at(NOW));
    assert_eq!(answers.recall(now, &key("k"), A), Ok(None));
    answers.keep(answer("k", A, NOW, None));
    assert_eq!(answers.recall(now, &key("k"), A), Ok(Some("{}".into())));
    assert_eq!(answers.recall(now, &key("k"), B), Err(Conflict));
    assert_eq!(answers.recall(now, &key("K"), B), Ok(None));
    answers.remove(&key("k"));
    assert_eq!(answers.recall(now, &key("k"), B), Ok(None));
}

#[test]
fn answers_age() {
    let mut answers = Answers::default();
    answers.keep(answer("a", A, NOW, None));
    answers.keep(answer("b", A, NOW + MAX_AGE / 2, None));
    assert_eq!(answers.recall(at(NOW + MAX_AGE), &key("a"), B), Ok(None));
    assert_eq!(answers.recall(at(NOW + MAX_AGE), &key("b"), A), Ok(Some("{}".into())));
    assert_eq!((answers.by_key.len(), answers.by_scope[&None].len()), (1, 1));
}

#[test]
fn what_is_told_to_one_worker_pushes_out_nothing_of_another() {
    let mut answers = Answers::default();
    answers.keep(answer("create", A, NOW, None));
    answers.keep(answer("other", A, NOW, Some("w2")));
    for number in 0..=MAX_ANSWERS {
        answers.keep(answer(&number.to_string(), A, NOW, Some("w1")));
    }
    let mut knows = |name: &str| answers.recall(at(NOW), &key(name), A).unwrap().is_some();
    assert!(knows("create") && knows("other") && knows("1") && knows(&MAX_ANSWERS.to_string()));
    assert!(!knows("0"));
    assert_eq!(answers.by_key.len(), MAX_ANSWERS + 2);
}

#[test]
fn all_answers_together_are_bounded() {
    let mut answers = Answers::default();
    answers.keep(answer("small", A, NOW, Some("w")));
    let large = Bytes::from(vec![b'x'; 100_000]);
    for number in 0..500 {
        answers.keep(KeptAnswer { body: Some(large.clone()), ..answer(&number.to_string(), A, NOW, None) });
    }
    assert!(answers.shares.bytes() <= MAX_BYTES);
    let mut knows = |name: &str| answers.recall(at(NOW), &key(name), A).unwrap().is_some();
    assert!(knows("small") && knows("499") && knows("300") && !knows("0") && !knows("100"));
}

#[test]
fn what_was_said_of_a_worker_goes_with_it() {
    let mut answers = Answers::default();
    answers.keep(answer("a", A, NOW, Some("w")));
    answers.keep(answer("b", A, NOW, None));
    answers.forget(&"w".parse().unwrap());
    answers.forget(&"x".parse().unwrap());
    assert_eq!(answers.recall(at(NOW), &key("a"), B), Ok(None));
    assert_eq!(answers.recall(at(NOW), &key("b"), A), Ok(Some("{}".into())));
}

#[test]
fn fingerprints_tell_parts_apart() {
    let of = |method: &str, path: &str, body: &'static str| {
        Fingerprint::of(&Request::builder().method(method).uri(path).body(Bytes::from(body)).unwrap())
    };
    let first = of("POST", "/v1/workers", "{}");
    assert_eq!(first, of("POST", "/v1/workers", "{}"));
    for other in
        [of("PUT", "/v1/workers", "{}"), of("POST", "/v1/worker", "s{}"), of("POST", "/v1/workers", "{ }")]
    {
        assert_ne!(first, other);
    }
}
