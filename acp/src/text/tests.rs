use super::*;

#[test]
fn halves_of_surrogate_pairs_become_one_mark_each() {
    for (json, expected) in [
        (r#""plain""#, "plain"),
        (r#""\ud83d\ude00""#, "😀"),
        (r#""\ud83d""#, "\u{FFFD}"),
        (r#""a\ude00b""#, "a\u{FFFD}b"),
        (r#""\ud83d\ud83d\ude00""#, "\u{FFFD}😀"),
        (r#""\n\"\\""#, "\n\"\\"),
    ] {
        assert_eq!(serde_json::from_str::<Text>(json).unwrap().0, expected, "{json}");
    }
    for json in ["1", "null", "[1]", "{}"] {
        assert!(serde_json::from_str::<Text>(json).is_err(), "{json}");
    }
}

#[test]
fn texts_are_cut_between_characters() {
    for (text, max, expected) in
        [("abc", 3, "abc"), ("abcd", 3, "…"), ("abcdef", 5, "ab…"), ("関所関所", 9, "関所…"), ("", 0, "")]
    {
        assert_eq!(cut(text, max), expected);
        assert!(cut(text, max).len() <= max.max("…".len()));
    }
}

#[test]
fn a_summary_is_one_line() {
    for (text, expected) in [("a", "a"), ("\n a \n", "a"), ("a\nb", "a …"), ("", ""), ("a\r\nb", "a …")] {
        assert_eq!(one_line(text, 100), expected);
    }
}
