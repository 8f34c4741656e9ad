//! What the command line tells about itself: completions, manual pages, and the reference in docs/.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};

use crate::args::Cli;
use crate::complete;
use crate::failure::Failure;

/// Prints a completion script.
pub(crate) fn completions(shell: &str) -> Result<(), Failure> {
    let script = complete::script(shell)?;
    io::Write::write_all(&mut io::stdout().lock(), &script).map_err(Failure::output)
}

/// Writes a manual page for each command.
pub(crate) fn manual_pages(folder: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Io { what: "cannot write the manual pages", error };
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)
}

/// The reference of docs/cli.md, made of the help texts.
#[cfg_attr(not(test), expect(dead_code, reason = "the test of the file in docs/ makes it"))]
fn markdown() -> String {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut text = String::from(
        "# The command line\n\nThis page is made from what `sekisho --help` and `sekisho help COMMAND` print, and a test keeps it so.\n",
    );
    section(&mut text, &mut command, "sekisho");
    for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("sekisho {}", subcommand.get_name());
        section(&mut text, subcommand, &name);
    }
    text
}

fn section(text: &mut String, command: &mut Command, name: &str) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_reference_in_docs_is_what_the_tool_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
        let expected = markdown();
        if std::env::var_os("SEKISHO_UPDATE_DOCS").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let found = fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == expected,
            "docs/cli.md is not up to date: SEKISHO_UPDATE_DOCS=1 cargo test -p sekisho"
        );
    }
}
