use std::io::Write;
use std::time::Duration;

use super::*;
use crate::agents::{AgentPermissions, AgentProfile};
use crate::workers::ProfileKind;

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn with_file(content: &str, flags: RuntimeFlags) -> Result<RuntimeSettings, ConfigError> {
    let file = file(content);
    RuntimeSettings::read(RuntimeFlags { config: Some(file.path().to_owned()), ..flags })
}

/// Flags with an id, and what else is set.
fn flags(set: impl FnOnce(&mut RuntimeFlags)) -> RuntimeFlags {
    let mut flags = RuntimeFlags { runtime_id: Some("r".into()), ..RuntimeFlags::default() };
    set(&mut flags);
    flags
}

fn profile(name: &str, command: &[&str]) -> Profile {
    Profile::lines(name, command.iter().map(|part| (*part).to_owned()).collect())
}

#[test]
fn flags_alone_are_enough() {
    let agent = r#"agent=python3 -u "my agent.py" --name='a b'"#;
    let flags = flags(|flags| flags.profiles = vec!["sh=sh".into(), agent.into()]);
    let settings = RuntimeSettings::read(flags).unwrap();
    assert_eq!(settings.listen, Listen::Tcp(vec!["127.0.0.1:7700".parse().unwrap()]));
    assert_eq!(
        settings.workers.profiles,
        [profile("sh", &["sh"]), profile("agent", &["python3", "-u", "my agent.py", "--name=a b"])]
    );
    assert_eq!(settings.tls, None);
    assert_eq!(settings.workers.hidden_variables, ["SEKISHO_ACCESS_TOKEN"]);
}

#[test]
fn a_file_is_enough_and_keeps_its_order() {
    let settings = with_file(
        r#"
        listen = "unix:/run/rt.sock"
        runtime_id = "r"
        display_name = "R"
        [profiles.zsh]
        command = ["zsh", "-f"]
        [profiles.agent]
        command = "agent --name 'a b'"
        "#,
        RuntimeFlags::default(),
    )
    .unwrap();
    assert_eq!(settings.listen, Listen::Unix("/run/rt.sock".into()));
    assert_eq!(settings.display_name.as_deref(), Some("R"));
    assert_eq!(
        settings.workers.profiles,
        [profile("zsh", &["zsh", "-f"]), profile("agent", &["agent", "--name", "a b"])]
    );
}

#[test]
fn flags_win() {
    let content = r#"
        runtime_id = "file"
        listen = "127.0.0.1:1"
        profiles.a.command = ["file-a"]
        profiles.b.command = "file-b"
    "#;
    let flags = flags(|flags| {
        flags.listen = Some("[::1]:2".into());
        flags.profiles = vec!["c=c".into(), "a=flag-a".into()];
    });
    let settings = with_file(content, flags).unwrap();
    assert_eq!(settings.runtime_id.as_str(), "r");
    assert_eq!(settings.listen, Listen::Tcp(vec!["[::1]:2".parse().unwrap()]));
    let expected = [profile("c", &["c"]), profile("a", &["flag-a"]), profile("b", &["file-b"])];
    assert_eq!(settings.workers.profiles, expected);
}

#[test]
fn faults_name_the_file_and_the_key() {
    for (content, key, reason) in [
        ("", "runtime_id", "is missing"),
        ("runtime_id = 'a/b'", "runtime_id", "has a character"),
        ("colour = 1", "colour", "unknown field"),
        ("profiles.a.comand = []", "profiles.a.comand", "unknown field"),
        ("profiles.a.command = []", "profiles.a.command", "no command"),
        ("profiles.a.command = \"sh '\"", "profiles.a.command", "quote"),
        ("profiles.a.command = 1", "profiles.a.command", "an array of words, or a text"),
        (
            "runtime_id = 'r'\ntoken_file = '/no/such'",
            "token_file",
            "cannot read /no/such: there is no such file",
        ),
        ("runtime_id = 'r'\nlisten = '0.0.0.0:1'", "listen", "there is no token"),
        ("runtime_id = 'r'\nlisten = 'unix:/s'\ntls_cert = 'c'\ntls_key = 'k'", "tls_cert", "a unix"),
        ("runtime_id = 'r'\ntls_cert = 'c'", "tls_cert", "needs tls_key"),
    ] {
        let error = with_file(content, RuntimeFlags::default()).unwrap_err();
        assert_eq!(error.key.as_deref(), Some(key), "{error}");
        assert!(error.reason.contains(reason) && error.file.is_some(), "{error}");
    }
    let error = with_file("\nruntime_id = ", RuntimeFlags::default()).unwrap_err();
    assert_eq!(error.place.as_ref().map(|place| place.line), Some(2), "{error}");
}

#[test]
fn faults_of_flags_name_the_flag() {
    let with = |set: fn(&mut RuntimeFlags)| RuntimeSettings::read(flags(set)).unwrap_err().to_string();
    for (said, expected) in [
        (with(|flags| flags.runtime_id = Some("a/b".into())), "--runtime-id: has a character"),
        (with(|flags| flags.profiles = vec!["sh".into()]), "--profile: \"sh\" is not"),
        (with(|flags| flags.profiles = vec!["sh='".into()]), "--profile: sh: a quote"),
        (with(|flags| flags.profiles = vec!["a=b".into(), "a=c".into()]), "--profile: a is a duplicate"),
        (with(|flags| flags.listen = Some("7700".into())), "--listen: is neither"),
        (with(|flags| flags.listen = Some("unix:run".into())), "--listen: is neither"),
        (with(|flags| flags.listen = Some("[::]:1".into())), "--listen: can be reached"),
        (with(|flags| flags.config = Some("/no/such".into())), "--config: cannot read /no/such"),
        (with(|flags| flags.tls_key = Some("k".into())), "--tls-key: needs tls_cert"),
    ] {
        assert!(said.starts_with(expected), "{said} lacks {expected}");
    }
}

#[test]
fn no_line_is_shown_with_its_value() {
    for content in [
        "runtime_id = 'r'\ntoken = 'hunter2'",
        "runtime_id = 'r'\ntoken_file = ['hunter2']",
        "runtime_id = 'r'\nlisten = hunter2",
        "hunter2",
        "hunter2==",
    ] {
        let error = with_file(content, RuntimeFlags::default()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

#[test]
fn listening_beyond_this_machine_takes_a_token_or_the_will() {
    let token = file("s3cret\n");
    let beyond = |set: &dyn Fn(&mut RuntimeFlags)| {
        RuntimeSettings::read(flags(|flags| {
            flags.listen = Some("0.0.0.0:1".into());
            set(flags);
        }))
    };
    let settings = beyond(&|flags| flags.token_file = Some(token.path().to_owned())).unwrap();
    assert_eq!(settings.token, "s3cret".parse().ok());
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert!(settings.warnings.is_empty(), "a temporary file has mode 0600");
    assert!(beyond(&|flags| flags.insecure_no_token = true).is_ok());
    let mapped = flags(|flags| flags.listen = Some("[::ffff:127.0.0.1]:1".into()));
    assert!(RuntimeSettings::read(mapped).is_ok());
}

#[test]
fn profiles_have_what_their_programs_need() {
    let settings = with_file(
        r#"
        [profiles.shell]
        kind = "terminal"
        command = "bash -i"
        description = "a shell"
        cwd = "/srv"
        env = { LANG = "C.UTF-8" }
        clear_env = true
        hide_env = ["AWS_SECRET"]
        allow_cwd = ["/srv/*"]
        allow_env = ["BRANCH"]
        size = "120x40"
        echo = true
        user = "nobody"
        [profiles.echo]
        kind = "builtin:echo"
        "#,
        flags(|_| {}),
    )
    .unwrap();
    let shell = Profile {
        kind: ProfileKind::Terminal,
        description: Some("a shell".into()),
        cwd: Some("/srv".into()),
        env: [("LANG".to_owned(), "C.UTF-8".to_owned())].into(),
        clear_env: true,
        hide_env: vec!["AWS_SECRET".into()],
        allow_cwd: vec!["/srv/*".into()],
        allow_env: vec!["BRANCH".into()],
        size: Some((120, 40)),
        echo: true,
        user: Some("nobody".into()),
        ..profile("shell", &["bash", "-i"])
    };
    let echo = Profile { kind: ProfileKind::Echo, ..profile("echo", &[]) };
    assert_eq!(settings.workers.profiles, [shell, echo]);
    for (content, key) in [
        ("[profiles.a]", "profiles.a.command"),
        ("[profiles.a]\nkind = 'builtin:echo'\ncommand = 'x'", "profiles.a.command"),
        ("[profiles.a]\ncommand = 'x'\nsize = '80x24'", "profiles.a.size"),
        ("[profiles.a]\nkind = 'terminal'\ncommand = 'x'\nsize = '80'", "profiles.a.size"),
        ("[profiles.a]\nkind = 'terminal'\ncommand = 'x'\nsize = '0x24'", "profiles.a.size"),
        ("[profiles.a]\ncommand = 'x'\necho = true", "profiles.a.echo"),
        ("[profiles.a]\nkind = 'vt100'\ncommand = 'x'", "profiles.a.kind"),
        ("[limits]\nmax_workers = 0", "limits.max_workers"),
        ("[limits]\nkeep_ended = 'for ever'", "limits.keep_ended"),
        ("[limits]\nmax_wrokers = 1", "limits"),
        ("allowed_hosts = ['a/b']", "allowed_hosts[1]"),
    ] {
        let error = with_file(content, flags(|_| {})).unwrap_err();
        assert!(error.key.as_deref().is_some_and(|found| found.starts_with(key)), "{error} lacks {key}");
    }
}

#[test]
fn limits_are_keys() {
    let content = "limits = { max_workers = 4, keep_ended = '7 days', stop_grace = '10s' }";
    let limits = with_file(content, flags(|_| {})).unwrap().workers.limits;
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert_eq!((limits.max_workers.map(Into::into), limits.keep_ended), (Some(4), Some(7 * day)));
    assert_eq!(limits.stop_grace, Some(std::time::Duration::from_secs(10)));
    assert_eq!((limits.max_ended_workers, limits.max_connections), (None, None));
}

#[test]
fn profiles_of_agents_have_keys_of_their_own() {
    let settings = with_file(
        r#"
        [profiles.plain]
        kind = "acp"
        command = "some-agent --acp"
        [profiles.full]
        kind = "acp"
        command = ["some-agent"]
        permissions = "reject"
        start_timeout_ms = 5000
        mode = "plan"
        model = "large"
        auth_method = "key"
        [[profiles.full.mcp_servers]]
        name = "files"
        command = "/bin/files"
        args = []
        "#,
        flags(|_| {}),
    );
    let agents: Vec<AgentProfile> =
        settings.unwrap().workers.profiles.into_iter().map(|profile| profile.agent.unwrap()).collect();
    let plain = AgentProfile {
        permissions: AgentPermissions::Ask,
        start_timeout: Duration::from_secs(30),
        mcp_servers: vec![],
        mode: None,
        model: None,
        auth_method: None,
    };
    let full = AgentProfile {
        permissions: AgentPermissions::Reject,
        start_timeout: Duration::from_secs(5),
        mcp_servers: vec![serde_json::json!({ "name": "files", "command": "/bin/files", "args": [] })],
        mode: Some("plan".into()),
        model: Some("large".into()),
        auth_method: Some("key".into()),
    };
    assert_eq!(agents, [plain, full]);
    for (content, key) in [
        ("[profiles.a]\ncommand = 'x'\nmode = 'plan'", "profiles.a.mode"),
        ("[profiles.a]\ncommand = 'x'\npermissions = 'ask'", "profiles.a.permissions"),
        ("[profiles.a]\nkind = 'acp'\ncommand = 'x'\npermissions = 'yes'", "profiles.a.permissions"),
        ("[profiles.a]\nkind = 'acp'\ncommand = 'x'\nstart_timeout_ms = 0", "profiles.a.start_timeout_ms"),
        ("[profiles.a]\nkind = 'acp'\ncommand = 'x'\nmcp_servers = [1]", "profiles.a.mcp_servers"),
        ("[profiles.a]\nkind = 'acp'\ncommand = 'x'\nsize = '80x24'", "profiles.a.size"),
    ] {
        let error = with_file(content, flags(|_| {})).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
