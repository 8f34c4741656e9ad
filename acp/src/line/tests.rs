use super::*;

fn message(text: &str) -> Line {
    Line::Message(Bytes::copy_from_slice(text.as_bytes()))
}

fn stray(text: &str) -> Line {
    Line::Stray { text: Bytes::copy_from_slice(text.as_bytes()), cont: false }
}

/// The lines of an output that arrives in pieces of one size.
fn lines(output: &[u8], piece: usize) -> Vec<Line> {
    let mut found = Vec::new();
    let mut lines = Lines::default();
    for piece in output.chunks(piece) {
        lines.push(piece);
        found.extend(std::iter::from_fn(|| lines.next()));
    }
    found.extend(lines.finish());
    assert_eq!(lines.finish(), None);
    found
}

#[test]
fn lines_are_the_same_however_they_arrive() {
    for (output, expected) in [
        ("", vec![]),
        ("{}\n", vec![message("{}")]),
        ("{}\r\n{1}\n", vec![message("{}\r"), message("{1}")]),
        ("\n\r\n  {}\n", vec![message("  {}")]),
        ("oh\n{}\n no\r\n", vec![stray("oh"), message("{}"), stray(" no")]),
        ("{\"half", vec![message("{\"half")]),
        ("half", vec![stray("half")]),
        ("<html>\n<body>", vec![stray("<html>"), stray("<body>")]),
        (" \n \t", vec![]),
    ] {
        for piece in 1..=output.len().max(1) {
            assert_eq!(lines(output.as_bytes(), piece), expected, "{output:?} by {piece}");
        }
    }
}

#[test]
fn long_lines_that_are_no_messages_are_pieces() {
    let output = "x".repeat(2 * MAX_STRAY + 1) + "\n{}\n";
    for piece in [1000, MAX_STRAY, output.len()] {
        let found = lines(output.as_bytes(), piece);
        let sizes: Vec<(usize, bool)> = found
            .iter()
            .filter_map(|line| match line {
                Line::Stray { text, cont } => Some((text.len(), *cont)),
                _ => None,
            })
            .collect();
        assert_eq!(sizes, [(MAX_STRAY, false), (MAX_STRAY, true), (1, true)]);
        assert_eq!(found.last(), Some(&message("{}")));
    }
    let exactly = "x".repeat(MAX_STRAY) + "\ny";
    assert_eq!(lines(exactly.as_bytes(), 999).len(), 2);
    let spaces = " ".repeat(MAX_STRAY + 1) + "{}\n";
    assert_eq!(lines(spaces.as_bytes(), 999).len(), 2);
}

#[test]
fn pieces_are_cut_between_characters() {
    let output = "x".repeat(MAX_STRAY - 1) + "関\n";
    let found = lines(output.as_bytes(), 4096);
    let whole = found.iter().all(|line| match line {
        Line::Stray { text, .. } => std::str::from_utf8(text).is_ok(),
        _ => false,
    });
    assert!(whole && found.len() == 2, "{found:?}");
    let no_text = [b"x".as_slice(), &[0xFF; MAX_STRAY]].concat();
    assert_eq!(lines(&no_text, 4096).len(), 2);
}

#[test]
fn a_message_that_is_too_long_is_left_out_up_to_its_end() {
    let output = format!("{{{}\n{{}}\n", "x".repeat(MAX_LINE));
    for piece in [64 << 10, output.len()] {
        let found = lines(output.as_bytes(), piece);
        let [Line::TooLong { head }, rest] = found.as_slice() else { panic!("{} lines", found.len()) };
        assert_eq!((head.len(), rest), (MAX_LINE_HEAD, &message("{}")));
    }
    let exactly = format!("{{{}\n", "x".repeat(MAX_LINE - 1));
    assert!(matches!(lines(exactly.as_bytes(), 64 << 10).as_slice(), [Line::Message(_)]));
}

#[test]
fn no_more_than_a_line_is_held() {
    let mut lines = Lines::default();
    let chunk = [b"{".as_slice(), &[b'x'; 64 << 10]].concat();
    let mut too_long = 0;
    for _ in 0..400 {
        lines.push(&chunk);
        too_long += std::iter::from_fn(|| lines.next()).count();
        assert!(lines.buffer.len() <= MAX_LINE + chunk.len());
    }
    assert_eq!((too_long, lines.finish()), (1, None));
}
