use proptest::prelude::*;

use super::*;

/// A terminal that keeps all its rows, and wraps as real ones do: late.
struct Terminal {
    columns: usize,
    rows: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Terminal {
    fn new(columns: usize) -> Self {
        Self { columns, rows: vec![Vec::new()], row: 0, column: 0 }
    }

    fn write(&mut self, text: &str) {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\r' => self.column = 0,
                '\n' => self.go_down(),
                '\t' => self.column = (self.column / 8 * 8 + 8).min(self.columns - 1),
                '\x1b' => {
                    assert_eq!(characters.next(), Some('['));
                    let (mut parameters, mut last) = (String::new(), ' ');
                    for character in characters.by_ref() {
                        match character {
                            'A'..='Z' | 'a'..='z' => {
                                last = character;
                                break;
                            }
                            _ => parameters.push(character),
                        }
                    }
                    let count = parameters.parse().unwrap_or(1);
                    match last {
                        'A' => self.row = self.row.checked_sub(count).expect("not above the first row"),
                        'C' => {
                            self.column = (self.column.min(self.columns - 1) + count).min(self.columns - 1)
                        }
                        'J' => {
                            self.rows.truncate(self.row + 1);
                            self.rows[self.row].truncate(self.column);
                        }
                        'm' | 'h' | 'l' => {}
                        other => panic!("{other}"),
                    }
                }
                // Drawn over the one before.
                _ if character.width() == Some(0) => {}
                _ => {
                    let width = character.width().unwrap_or(0);
                    if self.column + width > self.columns {
                        self.column = 0;
                        self.go_down();
                        self.column = 0;
                    }
                    let row = &mut self.rows[self.row];
                    row.resize(row.len().max(self.column + width), ' ');
                    row[self.column] = character;
                    // What a wide character takes besides.
                    row[self.column + 1..self.column + width].fill('\0');
                    self.column += width;
                }
            }
        }
    }

    /// The terminal driver makes a carriage return of it, too.
    fn go_down(&mut self) {
        self.row += 1;
        self.column = 0;
        if self.row == self.rows.len() {
            self.rows.push(Vec::new());
        }
    }

    fn shown(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            let text: String = row.iter().filter(|character| **character != '\0').collect();
            text.trim_end().to_owned()
        });
        rows.collect::<Vec<String>>().join("\n")
    }
}

fn view<'a>(line: &'a str, at: usize) -> View<'a> {
    View { prompt: "w> ", style: Style::new().bold(), color: true, line, at }
}

#[test]
fn output_runs_on_above_the_line() {
    let (mut screen, mut terminal) = (Screen::new(20, 10), Terminal::new(20));
    terminal.write(&screen.view(&view("ls", 2)));
    assert_eq!(terminal.shown(), "w> ls");
    terminal.write(&screen.output("one\ntw", &view("ls", 2)));
    assert_eq!(terminal.shown(), "one\ntw\nw> ls");
    assert_eq!((terminal.row, terminal.column), (2, 5));
    terminal.write(&screen.output("o\n", &view("l", 0)));
    assert_eq!(terminal.shown(), "one\ntwo\nw> l");
    assert_eq!((terminal.row, terminal.column), (2, 3));
    terminal.write(&screen.note("sekisho: so\n", &view("", 0)));
    assert_eq!(terminal.shown(), "one\ntwo\nsekisho: so\nw>");
    terminal.write(&screen.close());
    assert_eq!(terminal.shown(), "one\ntwo\nsekisho: so\n");
}

#[test]
fn output_goes_on_behind_a_tab() {
    let (mut screen, mut terminal) = (Screen::new(20, 10), Terminal::new(20));
    terminal.write(&screen.output("a\t", &view("", 0)));
    terminal.write(&screen.output("b", &view("", 0)));
    assert_eq!(terminal.shown(), "a       b\nw>");
}

#[test]
fn colours_go_on_where_the_output_does() {
    let mut screen = Screen::new(20, 10);
    let first = screen.output("\x1b[2mfaint", &view("", 0));
    assert!(first.contains("faint\r\n\x1b[0m"), "{first:?}");
    let second = screen.output("er\x1b[0m\n", &view("", 0));
    assert!(second.contains("\x1b[5C\x1b[2mer"), "{second:?}");
    assert!(!screen.output("plain", &view("", 0)).contains("\x1b[2m"));
}

#[test]
fn a_line_that_is_too_long_is_shown_around_the_cursor() {
    let (mut screen, mut terminal) = (Screen::new(10, 4), Terminal::new(10));
    let line: String = ('a'..='z').chain('A'..='Z').collect();
    terminal.write(&screen.view(&view(&line, line.len())));
    assert_eq!(terminal.shown(), "BCDEFGHIJK\nLMNOPQRSTU\nVWXYZ");
    terminal.write(&screen.view(&view(&line, 0)));
    assert_eq!(terminal.shown(), "w> abcdefg\nhijklmnopq\nrstuvwxyzA");
    assert_eq!((terminal.row, terminal.column), (0, 3));
}

#[test]
fn a_long_prompt_gives_way() {
    let (mut screen, mut terminal) = (Screen::new(10, 4), Terminal::new(10));
    let view = View { prompt: "runtime/worker> ", ..view("x", 1) };
    terminal.write(&screen.view(&view));
    assert_eq!(terminal.shown(), "> x");
}

#[test]
fn what_controls_a_terminal_is_shown_instead() {
    let mut screen = Screen::new(20, 10);
    assert!(screen.view(&view("a\x1b[2J\nb", 0)).contains("a␛[2J\r\nb"));
}

fn text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        8 => "[a-z]{1,9}",
        2 => Just("\n".to_owned()),
        1 => Just("\t".to_owned()),
        1 => Just("関所".to_owned()),
        1 => Just("e\u{301}".to_owned()),
    ];
    proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// Whatever comes in whatever pieces while whatever is written: the output is what it would be without the line.
    #[test]
    fn nothing_of_the_output_is_lost(steps in proptest::collection::vec((text(), text()), 1..8), columns in 2..24usize) {
        let (mut screen, mut terminal) = (Screen::new(columns, 50), Terminal::new(columns));
        let mut alone = Terminal::new(columns);
        for (output, line) in &steps {
            // What terminals do with a tab behind a full row is not always the same.
            let output = output.replace('\t', "tab");
            alone.write(&output);
            terminal.write(&screen.output(&output, &view(line, 0)));
            terminal.write(&screen.view(&view(line, line.len())));
            terminal.write(&screen.view(&view("", 0)));
        }
        terminal.write(&screen.close());
        let (shown, expected) = (terminal.shown(), alone.shown());
        prop_assert_eq!(shown.trim_end(), expected.trim_end());
    }
}
