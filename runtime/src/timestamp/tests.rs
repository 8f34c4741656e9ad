use super::*;

#[test]
fn times_are_written_as_rfc_3339_in_utc() {
    for (millis, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_764_115_200_007, "2025-11-26T00:00:00.007Z"),
        (LAST, "9999-12-31T23:59:59.999Z"),
        (u64::MAX, "9999-12-31T23:59:59.999Z"),
    ] {
        assert_eq!(Timestamp::from_millis(millis).to_string(), text);
    }
}

#[test]
fn a_clock_that_was_set_back_makes_nothing_older() {
    let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(12));
    assert_eq!((early.age(late), late.age(early)), (Duration::from_millis(7), Duration::ZERO));
    assert_eq!(Timestamp::from(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), Timestamp::from_millis(0));
}
