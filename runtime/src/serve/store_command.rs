//! `sekisho-runtime store …`

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use sekisho_store::maintain::{Findings, MaintainError, check, compact, export};

use super::settings::StoreCommand;

/// Does what was asked. The exit status is 1 where something is wrong with the store, and 2 where that could not be
/// found out.
pub(super) fn run(command: &StoreCommand) -> ExitCode {
    let faults = match command {
        StoreCommand::Check { dir } => {
            check(dir).and_then(|findings| told(&findings).map(|()| findings.faults))
        }
        StoreCommand::Export { dir } => exported(dir),
        StoreCommand::Compact { dir } => compact(dir).and_then(|(before, after)| {
            writeln!(io::stdout(), "{before} bytes before, {after} bytes now")?;
            Ok(Vec::new())
        }),
    };
    match faults {
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("sekisho-runtime: {fault}"));
            if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(error) => {
            eprintln!("sekisho-runtime: {error}");
            ExitCode::from(2)
        }
    }
}

fn told(findings: &Findings) -> Result<(), MaintainError> {
    let Findings { version, workers, items, events, faults } = findings;
    let verdict = if faults.is_empty() { "sound" } else { "damaged" };
    let line = format!(
        "version {version}, {workers} workers, {items} items, {events} events: the store is {verdict}"
    );
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn exported(dir: &std::path::Path) -> Result<Vec<String>, MaintainError> {
    let mut output = BufWriter::new(io::stdout().lock());
    let faults = export(dir, &mut output)?;
    output.flush()?;
    Ok(faults)
}
