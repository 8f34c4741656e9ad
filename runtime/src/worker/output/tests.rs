use super::*;

/// All fragments of an output that arrives in pieces of one size, without a pause.
fn fragments(output: &[u8], piece: usize) -> Vec<Fragment> {
    let now = Instant::now();
    let mut told = Output::new(Pace::LINES);
    let mut fragments: Vec<_> = output.chunks(piece).filter_map(|piece| told.push(now, piece)).collect();
    fragments.extend(told.finish());
    fragments
}

/// The lines of it, with a plus before what goes on the piece before.
fn lines(fragments: &[Fragment]) -> Vec<String> {
    let mark = |line: Line<'_>| format!("{}{}", if line.continues { "+" } else { "" }, line.text);
    fragments.iter().flat_map(|fragment| fragment.lines().map(mark)).collect()
}

fn text(fragments: &[Fragment]) -> String {
    fragments.iter().map(Fragment::text).collect()
}

#[test]
fn lines_and_text_are_the_same_however_they_arrive() {
    for (output, expected) in [
        (&b""[..], &[][..]),
        (b"a", &["a"]),
        (b"a\n", &["a"]),
        (b"a\r\nb\n", &["a", "b"]),
        (b"\n\na", &["", "", "a"]),
        (b"a\rb\n", &["a\rb"]),
        (b"10%\r20%\r\n", &["10%\r20%"]),
        ("関所\n関".as_bytes(), &["関所", "関"]),
        (b"\xE9\x96\nx\xFF\n", &["\u{FFFD}", "x\u{FFFD}"]),
    ] {
        for piece in 1..=output.len().max(1) {
            let fragments = fragments(output, piece);
            assert_eq!(lines(&fragments), expected, "{output:?} by {piece}");
            assert_eq!(text(&fragments), String::from_utf8_lossy(output), "{output:?} by {piece}");
        }
    }
}

#[test]
fn complete_lines_that_are_read_together_are_one_fragment() {
    let told = fragments(b"one\ntwo\nthr", 100);
    assert_eq!(told.iter().map(Fragment::text).collect::<Vec<_>>(), ["one\ntwo\n", "thr"]);
}

#[test]
fn an_unfinished_line_is_told_after_a_time_of_silence() {
    let start = Instant::now();
    let after = |millis| start + Duration::from_millis(millis);
    let mut output = Output::new(Pace::LINES);
    assert_eq!(output.due(), None);
    assert_eq!(output.push(start, b"done\nPass"), Some(Fragment { text: "done\n".into(), continues: false }));
    assert_eq!(output.due(), Some(after(100)));
    assert_eq!(output.push(after(50), b"word: \xE9"), None);
    assert_eq!(output.due(), Some(after(150)));
    assert_eq!(output.tell_unfinished(after(149)), None);
    let prompt = output.tell_unfinished(after(150)).unwrap();
    assert_eq!(
        (prompt.text(), lines(std::slice::from_ref(&prompt))),
        ("Password: ", vec!["Password: ".into()])
    );
    // Half a character cannot be told, however long it waits.
    assert_eq!(output.due(), None);
    let rest = output.push(after(200), b"\x96\xA2!\nnext\n").unwrap();
    assert_eq!(
        (rest.text(), lines(std::slice::from_ref(&rest))),
        ("関!\nnext\n", vec!["+関!".into(), "next".into()])
    );
}

#[test]
fn the_end_of_a_line_that_was_told_is_no_line() {
    let start = Instant::now();
    let mut output = Output::new(Pace::LINES);
    for end in [&b"\n"[..], b"\r\n"] {
        assert_eq!(output.push(start, b"? "), None);
        assert_eq!(output.tell_unfinished(start + Duration::from_secs(1)).unwrap().text(), "? ");
        let fragment = output.push(start, end).unwrap();
        assert_eq!((fragment.text().as_bytes(), lines(std::slice::from_ref(&fragment)).len()), (end, 0));
    }
    assert_eq!(lines(&[output.push(start, b"a\n").unwrap()]), ["a"]);
}

#[test]
fn what_never_pauses_is_told_nevertheless() {
    let start = Instant::now();
    let mut output = Output::new(Pace::LINES);
    let mut told = Vec::new();
    for tick in 0..100 {
        let now = start + Duration::from_millis(tick * 50);
        assert_eq!(output.push(now, b"."), None);
        told.extend(output.tell_unfinished(now));
    }
    assert_eq!(told.len(), 9, "one each 550 ms");
    assert!(told.iter().skip(1).all(|fragment| fragment.continues));
}

#[test]
fn long_lines_are_cut_between_characters() {
    let sizes = |output: &str, piece: usize| -> Vec<usize> {
        let fragments = fragments(output.as_bytes(), piece);
        assert_eq!(text(&fragments), output);
        let lines: Vec<Line<'_>> = fragments.iter().flat_map(Fragment::lines).collect();
        assert_eq!(lines.iter().map(|line| line.text).collect::<String>(), output.replace('\n', ""));
        assert!(lines.iter().all(|line| line.text.len() <= MAX_LINE));
        lines.iter().map(|line| line.text.len()).collect()
    };
    let x = |count: usize| "x".repeat(count);
    for piece in [1024, 4096, MAX_LINE] {
        assert_eq!(sizes(&x(MAX_LINE), piece), [MAX_LINE]);
        assert_eq!(sizes(&(x(MAX_LINE) + "\n"), piece), [MAX_LINE]);
        assert_eq!(sizes(&(x(MAX_LINE) + "\ny"), piece), [MAX_LINE, 1]);
        assert_eq!(sizes(&x(2 * MAX_LINE + 1), piece), [MAX_LINE, MAX_LINE, 1]);
        assert_eq!(sizes(&(x(MAX_LINE - 1) + "関"), piece), [MAX_LINE - 1, 3]);
        assert_eq!(sizes(&(x(MAX_LINE - 3) + "😀"), piece), [MAX_LINE - 3, 4]);
    }
    // Pieces of one line but for the first go on.
    let marks: Vec<bool> = fragments(&vec![b'x'; 2 * MAX_LINE + 1], 4096)
        .iter()
        .flat_map(Fragment::lines)
        .map(|line| line.continues)
        .collect();
    assert_eq!(marks, [false, true, true]);
}

#[test]
fn bytes_that_are_no_text_are_told_as_such() {
    for byte in [0xFF, 0x80, 0xC3] {
        let output = vec![byte; MAX_LINE + 1];
        let fragments = fragments(&output, 4096);
        assert_eq!(text(&fragments), "\u{FFFD}".repeat(MAX_LINE + 1));
        assert!(fragments.iter().flat_map(Fragment::lines).all(|line| line.text.len() <= MAX_LINE));
    }
}
