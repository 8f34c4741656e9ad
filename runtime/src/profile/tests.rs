use super::*;

fn lines(name: &str, command: &[&str]) -> WorkerProfile {
    WorkerProfile::lines(name, command.iter().copied())
}

fn with(change: impl FnOnce(&mut Program)) -> WorkerProfile {
    let mut program = Program { command: vec!["sh".into()], ..Program::default() };
    change(&mut program);
    WorkerProfile { name: "a".into(), kind: ProfileKind::Lines(program), description: None }
}

#[test]
fn profiles_are_checked() {
    let terminal = |cols, rows| WorkerProfile {
        kind: ProfileKind::Terminal(
            Program { command: vec!["sh".into()], ..Program::default() },
            TerminalProfile { cols, rows, echo: false },
        ),
        ..lines("a", &["sh"])
    };
    for (profile, expected) in [
        (lines("a", &["sh"]), Ok(())),
        (lines("a.b_c~d-E9", &["sh"]), Ok(())),
        (WorkerProfile { kind: ProfileKind::Echo, ..lines("a", &[]) }, Ok(())),
        (lines("", &["sh"]), Err(ProfileError::Name)),
        (lines("a b", &["sh"]), Err(ProfileError::Name)),
        (lines("builtin:echo", &["sh"]), Err(ProfileError::Name)),
        (lines(&"a".repeat(65), &["sh"]), Err(ProfileError::Name)),
        (lines("a", &[]), Err(ProfileError::NoCommand)),
        (lines("a", &[""]), Err(ProfileError::NoCommand)),
        (lines("a", &["sh", "\0"]), Err(ProfileError::Nul)),
        (with(|program| program.cwd = Some("srv".into())), Err(ProfileError::Cwd)),
        (with(|program| drop(program.env.insert("A=B".into(), "".into()))), Err(ProfileError::Variable)),
        (with(|program| drop(program.env.insert("A".into(), "\0".into()))), Err(ProfileError::Nul)),
        (with(|program| program.allow_env.push("".into())), Err(ProfileError::Variable)),
        (with(|program| program.allow_cwd.push("srv/*".into())), Err(ProfileError::Pattern)),
        (with(|program| program.allow_cwd.push("/srv/[".into())), Err(ProfileError::Pattern)),
        (terminal(80, 24), Ok(())),
        (terminal(0, 24), Err(ProfileError::Size)),
        (terminal(80, 0), Err(ProfileError::Size)),
    ] {
        assert_eq!(profile.check(), expected, "{profile:?}");
    }
}

#[test]
fn directories_are_allowed_by_pattern() {
    let program = Program {
        allow_cwd: vec!["/srv/*".into(), "/home/me".into(), "/deep/**".into()],
        ..Program::default()
    };
    for (cwd, allowed) in [
        ("/srv/a", true),
        ("/srv/a/", true),
        ("/srv//a", true),
        ("/srv/./a", true),
        ("/srv", false),
        ("/srv/a/b", false),
        ("/srv/..", false),
        ("/srv/../etc", false),
        ("/srv/a/../../etc", false),
        ("/home/me", true),
        ("/home/me/x", false),
        ("/deep/a/b/c", true),
        ("/deep/a/../../etc", false),
        ("srv/a", false),
        ("", false),
        ("/srv/a\0b", false),
        ("/etc", false),
    ] {
        assert_eq!(program.allows_cwd(cwd), allowed, "{cwd:?}");
    }
    assert!(!Program::default().allows_cwd("/"));
}

#[test]
fn variables_are_allowed_by_name() {
    let program = Program { allow_env: vec!["BRANCH".into()], ..Program::default() };
    for (name, allowed) in [("BRANCH", true), ("branch", false), ("BRANCH2", false), ("", false)] {
        assert_eq!(program.allows_env(name), allowed, "{name}");
    }
}
