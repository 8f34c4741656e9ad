//! An agent without a model, which does what the words of a prompt say.

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use sekisho_tests::scripted_agent::{Options, help_of_words, run};

fn main() -> ExitCode {
    let matches = Options::command().name("scripted-agent").after_help(help_of_words()).get_matches();
    match Options::from_arg_matches(&matches) {
        Ok(options) => run(&options, io::stdin(), io::stdout().lock()),
        Err(error) => error.exit(),
    }
}
