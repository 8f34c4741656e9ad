use super::*;

#[test]
fn what_was_written_is_read() {
    let epoch = epoch_of("0123456789abcdef0123456789abcdef");
    for place in [0, 7, u64::MAX] {
        let cursor = Cursor { epoch: &epoch, place };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
    }
}

#[test]
fn what_nobody_wrote_is_not() {
    for text in [
        "",
        ".",
        "zzz",
        "wo_0000000000000013",
        "0123456789abcdef",
        "0123456789abcdef.",
        "0123456789abcdef.-1",
        "0123456789abcdef.+1",
        "0123456789abcdef.01",
        "0123456789abcdef.1.1",
        "0123456789abcdef.18446744073709551616",
        "0123456789ABCDEF.1",
        "0123456789abcde.1",
        "0123456789abcdef0.1",
        "0123456789abcde\u{e9}.1",
    ] {
        assert_eq!(Cursor::parse(text), None, "{text}");
    }
}
