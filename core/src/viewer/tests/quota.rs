use super::*;

#[test]
fn a_viewer_that_ends_makes_room_for_another() {
    let quota = Arc::new(Quota::new(2));
    let first = quota.admit().unwrap();
    let second = quota.admit().unwrap();
    assert_eq!(quota.count(), 2);
    assert_eq!(quota.admit().unwrap_err().kind(), ErrorKind::TooManyViewers);
    drop(first);
    let third = quota.admit().unwrap();
    assert_eq!(quota.count(), 2);
    drop((second, third));
    assert_eq!(quota.count(), 0);
}

#[test]
fn a_few_viewers_go_at_once_and_many_over_some_seconds() {
    for (count, over) in [(1, GOING_AWAY_EACH), (100, GOING_AWAY_EACH * 100), (10_000, GOING_AWAY_OVER)] {
        let quota = Arc::new(Quota::new(count));
        let permits: Vec<_> = (0..count).map(|_| quota.admit().unwrap()).collect();
        let mut pauses: Vec<_> = permits.iter().map(Permit::going_away_in).collect();
        assert!(pauses.iter().all(|pause| *pause < over), "{count}");
        pauses.sort();
        pauses.dedup();
        assert!(pauses.len() > count.min(1000) / 2, "{count} viewers go at {} times", pauses.len());
        assert!(count == 1 || *pauses.last().unwrap() > over * 9 / 10, "{count}");
    }
}
