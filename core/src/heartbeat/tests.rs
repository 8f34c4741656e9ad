use super::*;

#[expect(clippy::disallowed_methods, reason = "an instant has no other origin")]
fn epoch() -> Instant {
    Instant::now()
}

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_ping_is_due_at_each_interval_while_pongs_come() {
    let mut now = epoch();
    let mut heartbeat = Heartbeat::new(now);
    for _ in 0..3 {
        assert_eq!(heartbeat.poll(now), Beat::WaitToPing(now + PING_EVERY));
        assert_eq!(heartbeat.poll(now + PING_EVERY - MOMENT), Beat::WaitToPing(now + PING_EVERY));
        now += PING_EVERY;
        assert_eq!(heartbeat.poll(now), Beat::Ping);
        assert_eq!(heartbeat.poll(now), Beat::WaitForPong(now + PONG_WITHIN), "a ping is said once");
        heartbeat.pong();
    }
}

#[test]
fn a_missing_pong_is_overdue_at_its_bound() {
    let start = epoch();
    let mut heartbeat = Heartbeat::new(start);
    let pinged = start + PING_EVERY;
    assert_eq!(heartbeat.poll(pinged), Beat::Ping);
    assert_eq!(
        heartbeat.poll(pinged + PONG_WITHIN - MOMENT),
        Beat::WaitForPong(pinged + PONG_WITHIN),
        "the wait ends with the pong's bound, and not with the next ping"
    );
    assert_eq!(heartbeat.poll(pinged + PONG_WITHIN), Beat::Overdue);
}

#[test]
fn time_in_which_pongs_could_not_be_read_does_not_count() {
    let start = epoch();
    let mut heartbeat = Heartbeat::new(start);
    heartbeat.extend(PONG_WITHIN);
    let pinged = start + PING_EVERY;
    assert_eq!(heartbeat.poll(pinged), Beat::Ping, "there was no pong to wait for yet");
    heartbeat.extend(Duration::from_secs(40));
    let blocked = pinged + Duration::from_secs(40);
    assert_eq!(heartbeat.poll(blocked + MOMENT), Beat::Ping, "the next ping was due all the same");
    let until = blocked + PONG_WITHIN;
    assert_eq!(heartbeat.poll(blocked + MOMENT), Beat::WaitForPong(until), "the bound is the first ping's");
    assert_eq!(heartbeat.poll(until), Beat::Overdue);
}

#[test]
fn a_slow_reader_is_given_the_time_for_what_is_before_the_ping() {
    let start = epoch();
    let mut heartbeat = Heartbeat::new(start);
    heartbeat.wrote(10 * SLOWEST_READER);
    let mut pinged = start + PING_EVERY;
    assert_eq!(heartbeat.poll(pinged), Beat::Ping);
    // What is written later does not stand before it.
    heartbeat.wrote(MAX_UNDER_WAY * 2);
    assert_eq!(heartbeat.poll(pinged + PING_EVERY), Beat::Ping);
    let until = pinged + PONG_WITHIN + Duration::from_secs(10);
    assert_eq!(heartbeat.poll(pinged + PING_EVERY), Beat::WaitForPong(until));
    heartbeat.pong();
    // More than the systems of both sides hold is not on its way.
    heartbeat.wrote(MAX_UNDER_WAY * 2);
    pinged += 2 * PING_EVERY;
    assert_eq!(heartbeat.poll(pinged), Beat::Ping);
    let reading = Duration::from_secs((MAX_UNDER_WAY / SLOWEST_READER) as u64);
    let mut last = pinged;
    while let Beat::WaitToPing(at) = heartbeat.poll(last) {
        last = at;
        assert_eq!(heartbeat.poll(last), Beat::Ping);
    }
    assert_eq!(heartbeat.poll(last), Beat::WaitForPong(pinged + PONG_WITHIN + reading));
    heartbeat.pong();
    assert_eq!(heartbeat.poll(last + PING_EVERY), Beat::Ping);
    let until = last + PING_EVERY + PONG_WITHIN;
    assert_eq!(heartbeat.poll(last + PING_EVERY), Beat::WaitForPong(until), "nothing is on its way any more");
}
