use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn refused(text: &str) -> (Option<String>, String) {
    let error = Config::from_toml(text).map(|_| ()).unwrap_err();
    (error.key, error.reason)
}

#[test]
fn with_no_file_the_embedded_runtime_is_there() {
    let config = Config::from_toml("").unwrap();
    assert_eq!(config.listen, "127.0.0.1:8787".parse().unwrap());
    assert_eq!(config.runtimes.embedded.unwrap().runtime_id.as_str(), "embedded");
    assert!(config.runtimes.remotes.is_empty() && config.access_token.is_none());
    assert_eq!(config.max_request_bytes, 1 << 20);
}

#[test]
fn everything_in_it_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let config = Config::from_toml(&format!(
        r#"
        listen = "127.0.0.1:0"
        allowed_hosts = ["gate.example"]
        allowed_origins = ["https://app.example"]
        access_token_file = {token:?}
        max_request_bytes = 10
        max_response_bytes = 20

        [embedded]
        runtime_id = "here"
        display_name = "Here"
        [embedded.profiles.zsh]
        command = ["zsh", "-i"]
        [embedded.profiles.bash]
        command = ["bash"]

        [[remote]]
        runtime_id = "build-box"
        display_name = "Build box"
        base_url = "http://10.0.0.5:7700"
        token_file = {token:?}
        connect_timeout_ms = 1
        response_timeout_ms = 2
        max_in_flight = 3
        allow_plaintext = true

        [[remote]]
        runtime_id = "socket"
        base_url = "unix:///run/rt.sock"
        "#
    ))
    .unwrap();
    assert_eq!(config.access_token, "s3cret".parse().ok());
    let embedded = config.runtimes.embedded.unwrap();
    let names: Vec<&str> = embedded.workers.profiles.iter().map(|profile| profile.name.as_str()).collect();
    assert_eq!(names, ["zsh", "bash"], "in the order of the file");
    let remote = &config.runtimes.remotes[0];
    assert_eq!(remote.display_name.as_deref(), Some("Build box"));
    assert_eq!((remote.limits.connect.as_millis(), remote.limits.response.as_millis()), (1, 2));
    assert_eq!((remote.limits.max_response_body, remote.max_in_flight), (20, 3));
    assert!(remote.token_file.is_some() && remote.tls.is_none());
    assert_eq!(config.runtimes.remotes[1].max_in_flight, 64);
}

#[test]
fn faults_name_their_key() {
    let remote = |rest: &str| format!("[[remote]]\nruntime_id = 'r'\n{rest}");
    for (text, key, reason) in [
        ("listen = 'nowhere'".to_owned(), "listen", "neither ADDRESS:PORT nor"),
        ("listen = '0.0.0.0:0'".to_owned(), "listen", "not a loopback address"),
        ("allowed_hosts = ['a', 'http://b']".to_owned(), "allowed_hosts[2]", "not a host"),
        ("allowed_origins = ['*']".to_owned(), "allowed_origins[1]", "not an origin"),
        ("access_token_file = '/no/such/file'".to_owned(), "access_token_file", "cannot read /no/such"),
        ("access_token_env = 'SEKISHO_NO_SUCH_VARIABLE'".to_owned(), "access_token_env", "no such variable"),
        (
            "cursor_key_file = '/no/such/directory/key'".to_owned(),
            "cursor_key_file",
            "cannot make /no/such/directory/key",
        ),
        ("cursor_key_file = '/dev/null'".to_owned(), "cursor_key_file", "hexadecimal"),
        ("max_event_bytes = 4194305".to_owned(), "max_event_bytes", "is over 4194304"),
        ("give_up_after_ms = 999999999".to_owned(), "give_up_after_ms", "over"),
        ("[[local]]\nstore = 'x'".to_owned(), "local[1]", "runtime_id"),
        ("[[local]]\nruntime_id = 'x'\nstore = ''".to_owned(), "local[1].store", "empty"),
        ("[[local]]\nruntime_id = 'embedded'\nstore = 'x'".to_owned(), "local[1].runtime_id", "duplicate"),
        ("[embedded]\nstore = ''".to_owned(), "embedded.store", "empty"),
        ("[embedded]\nruntime_id = 'a/b'".to_owned(), "embedded.runtime_id", "at byte 1"),
        ("[embedded.profiles.x]\ncommand = []".to_owned(), "embedded.profiles.x.command", "no command"),
        (remote("base_url = 'ftp://x'"), "remote[1].base_url", "scheme"),
        (remote("base_url = 'http://u:p@x'"), "remote[1].base_url", "credentials"),
        (remote("base_url = 'http://x?y'"), "remote[1].base_url", "query"),
        (
            remote("base_url = 'http://x'\ntoken_file = '/no/such'"),
            "remote[1].token_file",
            "cannot read /no/such",
        ),
        (remote("base_url = 'http://x'\nca_file = '/no/such'"), "remote[1].ca_file", "not https"),
        (remote("base_url = 'https://x'\nca_file = '/no/such'"), "remote[1].ca_file", "cannot read /no/such"),
        (remote("base_url = 'http://10.0.0.5'\ntoken_env = 'PATH'"), "remote[1].base_url", "in the clear"),
        (
            remote("base_url = 'http://x'\nconnect_timeout_ms = 99999999"),
            "remote[1].connect_timeout_ms",
            "over",
        ),
        (
            remote("base_url = 'http://x'\ntoken_file = 'x'\ntoken_env = 'y'"),
            "remote[1].token_file",
            "choose one",
        ),
        (
            format!("{}\n{}", remote("base_url = 'http://x'"), remote("base_url = 'http://y'")),
            "remote[2].runtime_id",
            "duplicate",
        ),
        (
            "[embedded]\nruntime_id='r'\n[[remote]]\nruntime_id='r'\nbase_url='http://x'".to_owned(),
            "remote[1].runtime_id",
            "duplicate",
        ),
    ] {
        let (found, why) = refused(&text);
        assert_eq!(found.as_deref(), Some(key), "{text}: {why}");
        assert!(why.contains(reason), "{text}: {why}");
    }
}

#[test]
fn what_toml_refuses_names_the_key_and_the_place() {
    for (text, key, place, reason) in [
        ("lisen = '127.0.0.1:0'", Some("lisen"), (1, 1), "unknown field"),
        (
            "\n\n[[remote]]\nruntime_id = 'r'\nbase_url = 'http://x'\ntoken = 'x'",
            Some("remote[1].token"),
            (6, 1),
            "unknown field",
        ),
        ("[[remote]]\nruntime_id = 'r'", Some("remote[1]"), (1, 1), "`base_url`"),
        ("listen = 'a'\nlisten = 'b'", None, (2, 1), "duplicate key"),
        ("max_request_bytes = 0", Some("max_request_bytes"), (1, 21), "nonzero"),
        (
            "[embedded.profiles.x]\ncommand = ['sh']\nshell = true",
            Some("embedded.profiles.x.shell"),
            (3, 1),
            "unknown field",
        ),
        ("listen = ", None, (1, 10), "string values must be quoted"),
    ] {
        let error = Config::from_toml(text).unwrap_err();
        let found = error.place.as_ref().map(|place| (place.line, place.column));
        assert_eq!((error.key.as_deref(), found), (key, Some(place)), "{error}");
        assert!(error.reason.contains(reason), "{error}");
    }
}

#[test]
fn a_fault_is_shown_with_its_file_and_a_caret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sekisho.toml");
    fs::write(&path, "[[remote]]\nruntime_id = 'r'\nbase_url = 'http://x'\ntoken = 'hunter2'\n").unwrap();
    let said = Config::read(Some(&path)).map(drop).unwrap_err().to_string();
    let (first, excerpt) = said.split_once('\n').unwrap();
    assert!(
        first.starts_with(&format!("{}: line 4, column 1: remote[1].token: unknown", path.display())),
        "{said}"
    );
    assert_eq!(excerpt, "  |\n4 | token = …\n  | ^^^^^");
    let missing = Config::read(Some(Path::new("/no/such"))).map(drop).unwrap_err().to_string();
    assert_eq!(missing, "--config: cannot read /no/such: there is no such file");
}

#[test]
fn files_of_secrets_that_are_open_to_others_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, "s3cret").unwrap();
    let warnings = |mode| {
        fs::set_permissions(&token, fs::Permissions::from_mode(mode)).unwrap();
        let config = Config::from_toml(&format!("access_token_file = {token:?}")).unwrap();
        config.runtimes.warnings
    };
    assert!(warnings(0o600).is_empty());
    let [warning] = &warnings(0o604)[..] else { panic!() };
    assert!(warning.starts_with("access_token_file: ") && warning.contains("can be read"), "{warning}");
    assert!(!warning.contains(directory.path().to_str().unwrap()), "{warning}");
}

#[test]
fn no_fault_repeats_a_secret() {
    for text in [
        "[[remote]]\nruntime_id='r'\nbase_url='http://user:hunter2@vault.example:9999'",
        "[[remote]]\nruntime_id='r'\nbase_url='hunter2://vault.example:9999'",
        "[[remote]]\nruntime_id='r'\nbase_url='http://vault.example:9999'\ntoken_file='/no/such'",
        "[[remote]]\nruntime_id='r'\nbase_url='http://vault.example:9999'\nfoo=1",
        "remote = 'http://user:hunter2@vault.example:9999'",
        "[[remote]]\nallow_plaintext = 'hunter2, expected vault'",
    ] {
        let error = Config::from_toml(text).map(|_| ()).unwrap_err();
        let printed = format!("{error} {error:?}");
        for secret in ["hunter2", "vault", "9999"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

#[test]
fn a_certificate_and_its_key_come_together() {
    let pair = "tls_cert_file = 'c.pem'\ntls_key_file = 'k.pem'\n";
    let files = Config::from_toml(pair).unwrap().tls.unwrap();
    assert_eq!((files.cert, files.key), ("c.pem".into(), "k.pem".into()));
    assert_eq!(Config::from_toml("").unwrap().tls, None);
    for (text, key) in [
        ("tls_cert_file = 'c.pem'".to_owned(), "tls_cert_file"),
        ("tls_key_file = 'k.pem'".to_owned(), "tls_key_file"),
        (format!("listen = 'unix:/run/x'\n{pair}"), "tls_cert_file"),
    ] {
        assert_eq!(Config::from_toml(&text).unwrap_err().key.as_deref(), Some(key), "{text}");
    }
    let flag = Config::from_toml(pair).unwrap().listen_on("unix:/run/x").unwrap_err();
    assert_eq!(flag.key.as_deref(), Some("--listen"));
}

#[test]
fn command_line_flags() {
    let config = || Config::from_toml("").unwrap();
    assert_eq!(config().listen_on("127.0.0.1:1").unwrap().listen, "127.0.0.1:1".parse().unwrap());
    assert!(config().listen_on("0.0.0.0:1").is_err());
    let embedded = config().exec("sh -c 'echo hi'").unwrap().runtimes.embedded.unwrap();
    assert_eq!(embedded.workers.profiles[0].command, ["sh", "-c", "echo hi"]);
    let text = Config::from_toml("embedded.profiles.x.command = 'sh -c \"echo hi\"'").unwrap();
    assert_eq!(text.runtimes.embedded.unwrap().workers.profiles[0].command, ["sh", "-c", "echo hi"]);
    assert!(config().exec("").is_err());
    assert!(config().exec("'").is_err());
    assert!(Config::from_toml("embedded = { enabled = false }").unwrap().exec("sh").is_err());
}
