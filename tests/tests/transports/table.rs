//! The tables of the documentation.

use std::fmt::Write;

use sekisho_tests::scenarios::calls::{self, End, Fault};
use sekisho_tests::scenarios::streams::{self, Told};

/// What stands above the tables, which are written by the test.
pub(crate) const MARK: &str = "<!-- What follows is written by tests/tests/transports.rs. -->";

/// Both tables, from the scenarios.
pub(crate) fn render() -> String {
    let mut table = String::new();
    // Writing to a text cannot fail.
    let _ = commands(&mut table).and_then(|()| streams(&mut table));
    table
}

fn commands(table: &mut String) -> std::fmt::Result {
    writeln!(table, "\n## Commands\n")?;
    writeln!(table, "| fault | code | phase | outcome | tried again: read, change, keyed |")?;
    writeln!(table, "|---|---|---|---|---|")?;
    for scenario in calls::all() {
        let calls::Scenario { name, repeatable, once, .. } = scenario;
        let (read, change) = (again(repeatable), again(once));
        let (code, phase, outcome) = match once.fault {
            Some(Fault { code, phase, outcome }) => (Some(code), phase, Some(outcome)),
            None if once.attempts > 1 => (None, None, None),
            None => continue,
        };
        let [code, phase, outcome] = [code, phase, outcome].map(quoted);
        writeln!(table, "| {name} | {code} | {phase} | {outcome} | {read}, {change}, {read} |")?;
    }
    Ok(())
}

fn quoted(word: Option<&str>) -> String {
    word.map(|word| format!("`{word}`")).unwrap_or_default()
}

fn again(end: End) -> &'static str {
    match end.attempts {
        1 => "no",
        _ => "yes",
    }
}

fn streams(table: &mut String) -> std::fmt::Result {
    writeln!(table, "\n## Streams\n")?;
    writeln!(table, "| fault | code | phase | tried again |")?;
    writeln!(table, "|---|---|---|---|")?;
    for scenario in streams::all() {
        let Some(Told::Stopped(code, phase)) = scenario.told.last() else { continue };
        let phase = quoted(*phase);
        let again = if scenario.gives_up { "yes" } else { "no" };
        writeln!(table, "| {} | `{code}` | {phase} | {again} |", scenario.name)?;
    }
    writeln!(table, "\n| what happens | what is told |\n|---|---|")?;
    for scenario in streams::all() {
        if scenario.told.iter().any(|told| matches!(told, Told::Stopped(..))) {
            continue;
        }
        let told: Vec<_> = scenario.told.iter().map(word).collect();
        writeln!(table, "| {} | {} |", scenario.name, told.join(", "))?;
    }
    Ok(())
}

fn word(told: &Told) -> &'static str {
    match told {
        Told::Snapshot(_) => "snapshot",
        Told::Event(_) => "event",
        Told::Disconnected => "disconnected",
        Told::Resumed => "resumed",
        Told::Resynchronized => "resynchronized",
        Told::Stopped(..) => "stopped",
    }
}
