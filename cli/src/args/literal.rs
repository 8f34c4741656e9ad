//! What follows the worker's name in `send` is the message, as it is: no word of it is an option of ours.

use std::ffi::{OsStr, OsString};

use clap::Command;

/// The command that takes a message.
const SEND: &str = "send";

/// The arguments with the sign that ends options behind the worker's name of a `send`. A message thus cannot name a
/// server, to which the access token would go, whatever is in it.
pub(crate) fn with_literal_message(
    cli: &Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Vec<OsString> {
    let mut arguments = arguments.into_iter();
    // The program's own name.
    let mut words: Vec<OsString> = arguments.by_ref().take(1).collect();
    let mut command = cli;
    while let Some(word) = arguments.next() {
        let takes_value = is_option(&word) && takes_value_apart(cli, command, &word);
        let is_name = !is_option(&word);
        words.push(word);
        if takes_value {
            words.extend(arguments.next());
        } else if words.last().is_some_and(|word| word == "--") {
            break;
        } else if is_name && std::ptr::eq(command, cli) {
            // The first word that is no option is the command.
            let Some(found) = words.last().and_then(|name| cli.find_subcommand(name)) else { break };
            if found.get_name() != SEND {
                break;
            }
            command = found;
        } else if is_name {
            // The worker's name.
            words.push("--".into());
            break;
        }
    }
    words.extend(arguments);
    words
}

fn is_option(word: &OsStr) -> bool {
    let bytes = word.as_encoded_bytes();
    bytes.starts_with(b"-") && bytes != b"-"
}

/// Whether the next word is the value of this option.
fn takes_value_apart(cli: &Command, command: &Command, word: &OsStr) -> bool {
    let Some(word) = word.to_str() else { return false };
    let named = |command: &Command, is_it: &dyn Fn(&clap::Arg) -> bool| {
        command
            .get_arguments()
            .find(|argument| is_it(argument))
            .map(|argument| argument.get_action().takes_values())
    };
    let found = |is_it: &dyn Fn(&clap::Arg) -> bool| named(command, is_it).or_else(|| named(cli, is_it));
    match word.strip_prefix("--") {
        // With its value in the same word.
        Some(long) if long.contains('=') => false,
        Some(long) => found(&|argument| argument.get_long() == Some(long)) == Some(true),
        // Of several letters in one word the last may have a value; a value may also be the rest of the word.
        None => {
            let mut letters = word.chars().skip(1).peekable();
            while let Some(letter) = letters.next() {
                if found(&|argument| argument.get_short() == Some(letter)) == Some(true) {
                    return letters.peek().is_none();
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::{Cli, Command as SekishoCommand};

    fn parsed(arguments: &[&str]) -> Cli {
        let arguments = std::iter::once("sekisho").chain(arguments.iter().copied()).map(OsString::from);
        Cli::parse_from(with_literal_message(&Cli::command(), arguments))
    }

    fn message(arguments: &[&str]) -> Vec<String> {
        match parsed(arguments).command {
            SekishoCommand::Send { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_word_behind_the_name_is_the_message() {
        for said in [
            &["uname", "-a"][..],
            &["ls", "--json"],
            &["df", "-h"],
            &["grep", "--color", "never", "x"],
            &["cmd", "--", "-x"],
            &["--", "-x"],
            &["printf", "--help"],
            &["x", "--server", "http://evil.example"],
            &["--server=http://evil.example"],
            &["--config", "/x"],
            &["-h"],
            &["-V"],
            &["--system"],
            &["-"],
        ] {
            for before in [
                &["send", "r/w"][..],
                &["--json", "send", "r/w"],
                &["--server", "http://here", "send", "--system", "r/w"],
                &["send", "--idempotency-key", "k", "--server=http://here", "r/w"],
                &["send", "--color", "never", "r/w"],
            ] {
                let words: Vec<&str> = before.iter().chain(said).copied().collect();
                assert_eq!(message(&words), said, "{words:?}");
                let server =
                    parsed(&words).global.server.map(|server| crate::endpoint::endpoint(&server.target()));
                assert!(server.is_none_or(|server| server.contains("here")), "{words:?}");
            }
        }
        assert!(message(&["send", "r/w"]).is_empty());
        assert!(message(&["send", "--system", "r/w"]).is_empty());
    }

    #[test]
    fn other_commands_take_their_options_anywhere() {
        assert!(parsed(&["worker", "r/w", "--json"]).global.json);
        assert!(parsed(&["runtimes", "--json"]).global.json);
        let words = ["send", "--json", "r/w", "x"];
        assert!(parsed(&words).global.json);
    }
}
