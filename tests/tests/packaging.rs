//! What is packed, as far as that is known without building it anew.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

use std::fs;
use std::io::ErrorKind;
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

#[test]
fn the_script_is_one() {
    let checked = Command::new("bash").args(["-n", "../packaging/tarball"]).status();
    match checked {
        Ok(status) => assert!(status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: there is no bash on this machine")
        }
        Err(error) => panic!("{error}"),
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
