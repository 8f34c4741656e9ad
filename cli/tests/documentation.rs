//! The examples of the README, run as they stand: a reader types them in this order.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sekisho_tests::ports::ReservedPort;
use sekisho_tests::processes::binary;

/// In place of cargo: what it would run is built, and the rest is no example of ours.
const CARGO: &str = r#"#!/bin/sh
[ "$1" = run ] || exit 0
while [ "$1" != -p ]; do shift; done
program=$2
while [ "$1" != -- ]; do shift; done
shift
exec "$program" "$@"
"#;

/// What the session begins with.
const PRELUDE: &str = r#"
set -eu
# Starts a server, and waits until it says where it listens.
serve() {
    "$@" > listening 2>> log &
    server=$!
    i=0
    until grep -q 'listening on' listening; do
        i=$((i + 1)); [ $i -lt 200 ] || { echo "it does not listen: $*"; cat log; exit 1; }
        sleep 0.05
    done
    rm listening
}
fail() { echo "$*"; exit 1; }
"#;

/// A fenced block, and the line of the file that it begins on.
struct Block {
    kind: String,
    text: String,
    line: usize,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in markdown.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(kind) => {
                open = true;
                blocks.push(Block { kind: kind.to_owned(), text: String::new(), line: number + 1 });
            }
            None if open => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// The commands of a block, each with the output that is shown for it.
fn commands(block: &Block) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        let command = if block.kind == "sh" { Some(line) } else { line.strip_prefix("$ ") };
        match (goes_on, command) {
            (true, _) => {
                let last = &mut commands.last_mut().unwrap().0;
                last.push_str(&format!("\n{line}"));
            }
            (false, Some(command)) => commands.push((command.to_owned(), String::new())),
            (false, None) => {
                let output = &mut commands.last_mut().unwrap().1;
                output.push_str(&format!("{line}\n"));
            }
        }
        goes_on = line.ends_with('\\');
    }
    commands.retain(|(command, _)| !command.is_empty());
    commands
}

/// The code of a problem in the output that is shown.
fn code(output: &str) -> Option<&str> {
    output.split_once("urn:sekisho:problem:")?.1.split('"').next()
}

/// One session of a shell that does all that the README says.
fn session(readme: &str) -> String {
    let mut session = PRELUDE.to_owned();
    let mut do_line =
        |line: usize, text: &str| session.push_str(&format!("echo 'README, line {line}'\n{text}\n"));
    for block in blocks(readme) {
        if block.kind == "toml" {
            let text = format!("cat > sekisho.toml <<'END'\n{}END\n", block.text);
            let restart = "kill $gateway; wait $gateway || :\nserve sekisho-server --config sekisho.toml --exec sh; gateway=$server";
            do_line(block.line, &format!("{text}{restart}"));
        }
        if !["sh", "console"].contains(&&*block.kind) {
            continue;
        }
        for (command, output) in commands(&block) {
            let command = command.split("  #").next().unwrap().trim_end();
            let command = command.replace("build-box/shell-k3m9x2q7", "\"$created\"");
            let command = command.replace("embedded/agent-raetawoo", "\"$created\"");
            let text = if command.contains("-p sekisho-server") {
                format!("serve {command}\ngateway=$server")
            } else if command.contains("-p sekisho-runtime") {
                format!("serve {command}\nruntime=$server")
            } else if command.starts_with("cargo") {
                // It makes the binaries that are on the path already.
                ":".to_owned()
            } else if command.contains("/events") || command.starts_with("sekisho watch") {
                // They go on until the worker ends.
                format!("timeout 1 {command} || [ $? = 124 ] || fail \"$?\"")
            } else if command.starts_with("sekisho attach") {
                "sekisho attach --help > /dev/null".to_owned()
            } else if command.contains("doctor") {
                format!("{command} || [ $? = 4 ] || fail \"$?\"")
            } else if command.starts_with("sekisho answer") {
                // A reader takes longer to type it than the agent to ask.
                format!("until {command}; do sleep 0.05; done")
            } else if command.starts_with("sekisho create") {
                format!("created=$({command})\necho \"$created\"")
            } else if command.starts_with("sekisho runtimes") {
                // The runtime was stopped to show what happens then.
                format!("serve $runtime_command; runtime=$server\n{command}")
            } else if let Some(code) = code(&output) {
                let stop = if code == "network_error" { "kill $runtime; wait $runtime || :\n" } else { "" };
                format!(
                    "{stop}{{ {command}\n}} > said; cat said; grep -q '\"code\":\"{code}\"' said || fail 'not {code}'"
                )
            } else if command.starts_with("curl") && !command.contains('>') {
                format!("{{ {command}\n}} > said; cat said; ! grep -q '\"code\"' said || fail 'a problem'")
            } else {
                command
            };
            do_line(block.line, &text);
        }
    }
    session
}

#[test]
fn the_readme_works_line_by_line_as_it_stands() {
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_err() {
        // The README needs it; nothing else of sekisho does.
        eprintln!("curl is not installed");
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let bin = directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    for name in ["sekisho", "sekisho-server", "sekisho-runtime", "scripted-agent"] {
        symlink(binary(name), bin.join(name)).unwrap();
    }
    fs::write(bin.join("cargo"), CARGO).unwrap();
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let (gateway_port, runtime_port) = (ReservedPort::new(), ReservedPort::new());
    let (gateway, runtime) = (gateway_port.port().to_string(), runtime_port.port().to_string());
    let listen = format!("--listen 127.0.0.1:{gateway}");
    let session = session(&readme)
        .replace("sekisho-server -- ", &format!("sekisho-server -- {listen} "))
        .replace("serve sekisho-server ", &format!("serve sekisho-server {listen} "))
        .replace("$runtime_command", "sekisho-runtime --listen 127.0.0.1:7700 --runtime-id build-box --token-file token --profile shell=sh")
        .replace("target/release/", &format!("{}/", bin.display()))
        .replace("8787", &gateway)
        .replace("7700", &runtime);
    let script = directory.path().join("session");
    fs::write(&script, format!("{session}\nkill $gateway $runtime; wait\necho all of it\n")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("timeout");
    shell
        .args(["60", "sh"])
        .arg(&script)
        .current_dir(directory.path())
        .env("PATH", path)
        .env("SEKISHO_SERVER", format!("http://127.0.0.1:{gateway}"))
        .env("STATE_DIRECTORY", directory.path())
        .env_remove("SEKISHO_ACCESS_TOKEN")
        .stdin(Stdio::null())
        .process_group(0);
    let mut shell = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let group = shell.id();
    let out = std::io::read_to_string(shell.stdout.take().unwrap()).unwrap();
    let status = shell.wait().unwrap();
    let err = std::io::read_to_string(shell.stderr.take().unwrap()).unwrap();
    // Whatever the session left behind.
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).stderr(Stdio::null()).status();
    assert!(status.success() && out.ends_with("all of it\n"), "{status}\n{out}\n{err}");
}
