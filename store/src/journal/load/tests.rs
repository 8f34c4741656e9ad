use super::*;

#[test]
fn a_later_start_goes_on_behind_an_earlier_one() {
    let year = 366 * 24 * 3600 * 1000;
    assert_eq!(place_at(FIRST_MILLIS + 1), PLACES_A_MILLISECOND);
    assert_eq!(place_at(FIRST_MILLIS + 1001) - place_at(FIRST_MILLIS + 1), 1000 * PLACES_A_MILLISECOND);
    let in_a_life = place_at(FIRST_MILLIS + 500 * year);
    assert!(in_a_life > place_at(FIRST_MILLIS + 499 * year) && in_a_life < LAST_PLACE);
    // Clocks that nobody has set, and those that are set to no time of this world.
    for wrong in [0, FIRST_MILLIS, Millis::MIN, Millis::MAX, FIRST_MILLIS + 5_000 * year] {
        assert_eq!(place_at(wrong), 0, "{wrong}");
    }
}
