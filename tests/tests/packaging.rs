//! What is packed, as far as that is known without building it anew.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sekisho_tests::processes::binary;

/// `packaging/tarball` names the packages whose binaries it packs; that they are all of the workspace's that users run.
#[test]
fn everything_that_users_run_is_packed() {
    let script = fs::read_to_string("../packaging/tarball").unwrap();
    let container = fs::read_to_string("../packaging/Containerfile").unwrap();
    for package in ["sekisho", "sekisho-server", "sekisho-runtime"] {
        assert!(binary(package).exists());
        for text in [&script, &container] {
            assert!(text.contains(&format!("-p {package}")), "{package}");
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let said = Command::new(binary("sekisho")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("sekisho {version}\n"));
}

/// A folder of programs that stand in for those that the script would build, so that packing takes no time: `cargo`
/// builds nothing, the command line is the one that is there, and the others are empty.
fn stand_ins(folder: &Path) {
    let command_line = format!("exec {:?} \"$@\"", binary("sekisho"));
    for (name, does) in [
        ("cargo", "exit 0"),
        ("debug/sekisho", &*command_line),
        ("debug/sekisho-server", "exit 0"),
        ("debug/sekisho-runtime", "exit 0"),
    ] {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Packs under a umask; what is in the archive, line by line, and its bytes.
fn packed(stand_ins: &Path, umask: &str) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}:{}", stand_ins.display(), std::env::var("PATH").unwrap());
    let script = format!("umask {umask} && exec ../packaging/tarball --profile dev \"$0\"");
    let mut bash = Command::new("bash");
    bash.args(["-c", &script]).arg(folder.path()).env("PATH", path).env("CARGO_TARGET_DIR", stand_ins);
    let said = bash.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let archive = String::from_utf8(said.stdout).unwrap();
    let list = Command::new("tar").args(["--utc", "-tvzf", archive.trim()]).output().unwrap();
    (String::from_utf8(list.stdout).unwrap(), fs::read(archive.trim()).unwrap())
}

#[test]
fn what_is_packed_is_for_everybody_and_always_the_same() {
    for tool in ["bash", "tar", "gzip", "rustc"] {
        let tried = Command::new(tool).arg("--version").output();
        if tried.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            println!("skipped: there is no {tool} on this machine");
            return;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    stand_ins(folder.path());
    let (list, bytes) = packed(folder.path(), "022");
    for place in [
        "bin/sekisho-server",
        "bin/sekisho-runtime",
        "lib/systemd/system/sekisho-server.socket",
        "share/bash-completion/completions/sekisho",
        "share/zsh/site-functions/_sekisho",
        "share/fish/vendor_completions.d/sekisho.fish",
        "share/man/man1/sekisho-attach.1",
        "share/man/man1/sekisho-server.1",
        "share/man/man1/sekisho-runtime.1",
        "share/man/man1/sekisho-runtime-command.1",
        "share/doc/sekisho/LICENSE-MIT",
        "share/doc/sekisho/docs/operating.md",
    ] {
        assert!(list.lines().any(|line| line.ends_with(&format!("/{place}"))), "{place}: {list}");
    }
    for line in list.lines() {
        let mode = match line.contains("/bin/sekisho") {
            true => "-rwxr-xr-x ",
            false if line.starts_with('d') => "drwxr-xr-x ",
            false => "-rw-r--r-- ",
        };
        assert!(line.starts_with(mode) && line.contains(" 0/0 ") && line.contains(" 1970-01-01 "), "{line}");
    }
    assert!(packed(folder.path(), "077").1 == bytes, "another umask gives another archive");
}

/// The names of the manual pages in a folder, and their texts without what sets fonts and escapes hyphens.
fn pages(folder: &Path) -> Vec<(String, String)> {
    let text = |entry: &fs::DirEntry| {
        let page = fs::read_to_string(entry.path()).unwrap();
        ["\\fB", "\\fI", "\\fR", "\\"].iter().fold(page, |page, mark| page.replace(mark, ""))
    };
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), text(&entry))).collect()
}

/// The options, as `--help` or a manual page writes them.
fn options(text: &str) -> BTreeSet<&str> {
    let is_of_option = |character: char| character.is_ascii_alphanumeric() || character == '-';
    let words = text.split(|character| !is_of_option(character));
    words.filter(|word| word.starts_with("--") && word.len() > 2).collect()
}

#[test]
fn each_manual_page_has_a_name_of_its_own_and_names_only_pages_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(binary("sekisho")).arg("man").arg(folder.path()).status().unwrap();
    assert!(made.success());
    let (commands, programs) = (pages(folder.path()), pages(Path::new("../packaging/man")));
    assert!(commands.len() > 20 && programs.len() == 2);
    let names: BTreeSet<&str> = commands.iter().chain(&programs).map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), commands.len() + programs.len(), "two pages share a name");
    for (name, text) in commands.iter().chain(&programs) {
        let count = text.matches("(1)").count();
        assert!(count > 0, "{name} leads nowhere");
        for before in text.split("(1)").take(count) {
            let reference = before.rsplit([' ', '\n']).next().unwrap();
            assert!(names.contains(&*format!("{reference}.1")), "{name} names {reference}(1)");
        }
    }
}

#[test]
fn the_manual_page_of_a_program_has_all_its_options() {
    for (name, text) in pages(Path::new("../packaging/man")) {
        let program = name.strip_suffix(".1").unwrap();
        let said = Command::new(binary(program)).arg("--help").output().unwrap();
        let help = String::from_utf8(said.stdout).unwrap();
        assert_eq!(options(&text), options(&help), "{name}");
    }
}

/// The units and the socket are for each other, and for where the tarball puts the binaries.
#[test]
fn units_find_what_is_packed() {
    for unit in ["sekisho-server", "sekisho-runtime"] {
        let text = fs::read_to_string(format!("../packaging/systemd/{unit}.service")).unwrap();
        assert!(text.contains(&format!("ExecStart=/usr/bin/{unit} ")), "{unit}");
    }
    let socket = fs::read_to_string("../packaging/systemd/sekisho-server.socket").unwrap();
    assert!(socket.contains("[Socket]") && socket.contains("ListenStream="), "{socket}");
}
