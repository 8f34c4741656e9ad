use super::*;

#[test]
fn texts_in_lists_are_cut() {
    for (length, truncated) in [(0, false), (512, false), (513, true), (60_000, true)] {
        let text = "関".repeat(length);
        let mut told = false;
        let intent = Intent::Role { role: "r".into(), purpose: Some(text.clone()) };
        let Intent::Role { role, purpose: Some(shown) } = shortened(&intent, &mut told) else { panic!() };
        assert_eq!((role.as_str(), told), ("r", truncated));
        match truncated {
            true => assert_eq!((shown.chars().count(), shown.ends_with('…')), (MAX_LIST_TEXT, true)),
            false => assert_eq!(shown, text),
        }
    }
}
