use super::*;

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}

fn numbers(pool: &IdlePool<u32>) -> Vec<u32> {
    pool.idle.iter().map(|(_, pooled)| pooled.connection).collect()
}

#[test]
fn the_connection_used_last_is_used_next_unless_it_has_been_idle_for_too_long() {
    let (mut pool, now) = (IdlePool::default(), epoch());
    pool.keep(now, Pooled::new(1));
    pool.keep(now + Duration::from_secs(1), Pooled::new(2));
    let take = |pool: &mut IdlePool<u32>, after, max_idle| {
        let taken = pool.take(now + Duration::from_secs(after), &Via::Any, Duration::from_secs(max_idle));
        taken.map(|pooled| pooled.connection)
    };
    assert_eq!(take(&mut pool, 4, 2), None);
    assert_eq!(take(&mut pool, 3, 2), Some(2));
    assert_eq!(take(&mut pool, 3, 2), None);
    assert_eq!(take(&mut pool, 3, 60), Some(1));
    assert_eq!(take(&mut pool, 3, 60), None);
}

#[test]
fn what_needs_an_identified_connection_gets_no_other() {
    let (mut pool, now, identity) = (IdlePool::default(), epoch(), Identity::new());
    let mut first = Pooled::new(1);
    first.used_by(&Via::Identify(identity.clone()));
    pool.keep(now, first);
    pool.keep(now, Pooled::new(2));
    assert!(pool.take(now, &Via::Identified, MAX_IDLE).is_none(), "the answer has not been judged");
    identity.confirm();
    let mut taken = pool.take(now, &Via::Identified, MAX_IDLE).unwrap();
    assert_eq!(taken.connection, 1);
    assert!(pool.take(now, &Via::Identified, MAX_IDLE).is_none());
    taken.used_by(&Via::Identified);
    pool.keep(now, taken);
    let mut taken = pool.take(now, &Via::Any, MAX_IDLE).unwrap();
    taken.used_by(&Via::Any);
    pool.keep(now, taken);
    assert!(pool.take(now, &Via::Identified, MAX_IDLE).is_some(), "what was shown stays shown");
}

#[test]
fn an_identity_lasts_as_long_as_its_connection() {
    let (mut pool, now, identity) = (IdlePool::default(), epoch(), Identity::new());
    let mut pooled = Pooled::new(1);
    pooled.used_by(&Via::Identify(identity.clone()));
    pool.keep(now, pooled);
    identity.confirm();
    let weak = identity.downgrade();
    drop(identity);
    assert!(weak.is_confirmed());
    pool.prune(now, |_| false);
    assert!(!weak.is_confirmed());
}

#[test]
fn few_connections_are_kept_and_fewer_for_long() {
    let (mut pool, now) = (IdlePool::default(), epoch());
    for number in 0..MAX_IDLE_CONNECTIONS as u32 + 3 {
        pool.keep(now, Pooled::new(number));
    }
    assert_eq!(pool.idle.len(), MAX_IDLE_CONNECTIONS);
    assert_eq!(numbers(&pool)[0], 3, "those that were used before the others go first");
    pool.prune(now + MAX_IDLE_FOR_ONCE, |_| true);
    assert_eq!(pool.idle.len(), MAX_IDLE_CONNECTIONS);
    pool.prune(now + MAX_IDLE_FOR_ONCE + Duration::from_millis(1), |_| true);
    assert_eq!(numbers(&pool), [MAX_IDLE_CONNECTIONS as u32 + 1, MAX_IDLE_CONNECTIONS as u32 + 2]);
    pool.prune(now + MAX_IDLE + Duration::from_millis(1), |_| true);
    assert!(pool.idle.is_empty());
}

#[test]
fn which_responses_end_a_connection() {
    let ends = |version: Version, connection: &str| {
        let response = Response::builder().version(version).header("connection", connection);
        ends_connection(&response.body(Bytes::new()).unwrap())
    };
    assert!(!ends(Version::HTTP_11, "keep-alive"));
    assert!(!ends(Version::HTTP_11, "x-close, closed"));
    assert!(ends(Version::HTTP_11, "keep-alive, Close"));
    assert!(ends(Version::HTTP_10, "keep-alive"));
    assert!(!ends_connection(&Response::default()));
}
