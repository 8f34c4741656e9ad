use super::*;

fn is_in(text: &str, content: &str, ignore_case: bool) -> bool {
    Contains::filter(Some(&Contains { text: text.to_owned(), ignore_case }))(content)
}

#[test]
fn case_counts_unless_it_is_ignored() {
    assert!(is_in("Needle", "a Needle", false));
    assert!(!is_in("needle", "a Needle", false));
    for (text, content) in [
        ("needle", "A NEEDLE"),
        ("NEEDLE", "needles"),
        ("ÄRGER", "ärgerlich"),
        ("жук", "ЖУКИ"),
        // Letters of which one case is several letters, or the same as that of others.
        ("straße", "STRASSE 1"),
        ("STRASSE", "straße 1"),
        ("STRAẞE", "straße"),
        ("ΟΔΟΣ", "οδος"),
        ("οδοσ", "οδος"),
        // The Kelvin sign and the long s.
        ("k", "\u{212a}"),
        ("S", "\u{17f}"),
    ] {
        assert!(is_in(text, content, true), "{text} in {content}");
    }
    // Accents, composition, signs, and what only looks alike.
    for (text, content) in [("arger", "Ärger"), ("\u{e4}", "A\u{308}"), ("a", "\u{430}"), ("[", "{")] {
        assert!(!is_in(text, content, true), "{text} in {content}");
    }
}

#[test]
fn without_a_text_everything_is_asked_for() {
    assert!(Contains::filter(None)(""));
}

#[test]
fn shortcuts_come_to_the_same() {
    for character in '\0'..=char::MAX {
        let expected: String = mapped(character).collect();
        assert_eq!(without_case(character.encode_utf8(&mut [0; 4])), expected, "{character:?}");
        // The part of a text that is ASCII may be looked up, too.
        assert_eq!(without_case(&format!("ß{character}")), format!("SS{expected}"), "{character:?}");
    }
}
