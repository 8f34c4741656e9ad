use super::*;

#[test]
fn an_incarnation_is_32_hexadecimal_digits() {
    let (first, second) = (fresh(), fresh());
    assert_ne!(first, second);
    for incarnation in [first, second, simulated(0), simulated(u128::MAX)] {
        assert_eq!(incarnation.len(), 32, "{incarnation}");
        assert!(incarnation.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{incarnation}");
    }
    assert_eq!(simulated(26), format!("{}1a", "0".repeat(30)));
}
