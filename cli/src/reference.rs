//! What the command line tells about itself: completions, manual pages, and the reference in docs/.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::Cli;
use crate::complete;
use crate::failure::Failure;

/// The other programs, which have pages of their own (`packaging/man`).
const PROGRAMS: [&str; 2] = ["sekisho-server", "sekisho-runtime"];

/// A command whose page would have the name of a program's, `sekisho-COMMAND`, and what stands for it in that name.
const NAMED_APART: (&str, &str) = ("runtime", "runtime-command");

/// Prints a completion script.
pub(crate) fn completions(shell: &str) -> Result<(), Failure> {
    let script = complete::script(shell)?;
    io::stdout().lock().write_all(&script).map_err(Failure::output)
}

/// Writes a manual page for each command.
pub(crate) fn manual_pages(folder: &Path) -> Result<(), Failure> {
    let failed = |error| Failure::Io { what: "cannot write the manual pages", error };
    let (tool, commands) = documented();
    manual_page(folder, &tool, &PROGRAMS).map_err(failed)?;
    commands.iter().try_for_each(|command| manual_page(folder, command, &["sekisho"])).map_err(failed)
}

/// The tool, and its commands, each named as its page is.
fn documented() -> (Command, Vec<Command>) {
    let mut tool = Cli::command().disable_help_subcommand(true);
    // This settles how each command is written when it is used; another name does not change that any more.
    tool.build();
    let (name, apart) = NAMED_APART;
    let tool =
        tool.mut_subcommand(name, |command| command.name(apart).display_name(format!("sekisho-{apart}")));
    let commands = tool.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    (tool, commands)
}

fn manual_page(folder: &Path, command: &Command, see_also: &[&str]) -> io::Result<()> {
    let page = Man::new(command.clone());
    let mut file = File::create(folder.join(page.get_filename()))?;
    page.render(&mut file)?;
    let see_also: Vec<String> = see_also.iter().map(|page| format!("\\fB{page}\\fR(1)")).collect();
    writeln!(file, ".SH \"SEE ALSO\"\n{}", see_also.join(", ").replace('-', "\\-"))
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
    fn each_page_has_a_name_of_its_own() {
        let (tool, commands) = documented();
        let names =
            [&tool].into_iter().chain(&commands).map(|command| Man::new(command.clone()).get_filename());
        let mut names: Vec<String> = names.chain(PROGRAMS.map(|program| format!("{program}.1"))).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
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
