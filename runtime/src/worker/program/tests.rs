use std::os::unix::ffi::OsStringExt;

use super::super::TerminalSize;
use super::*;
use crate::launcher::message::Identity;

fn spec() -> ProgramSpec {
    ProgramSpec::new(["sh".to_owned()].into())
}

fn inherited() -> Vec<(OsString, OsString)> {
    let odd = OsString::from_vec(b"\xFFname".to_vec());
    let pair = |name: &str, value: &str| (name.into(), value.into());
    vec![
        pair("PATH", "/bin"),
        (odd.clone(), odd),
        pair("SEKISHO_ACCESS_TOKEN", "s3cret"),
        pair("API_TOKEN", "s3cret"),
        pair("SEKISHO_TASK", "the runtime's own"),
        pair("HOME", "/root"),
    ]
}

fn environment(spec: &ProgramSpec) -> Vec<(OsString, OsString)> {
    spec.program(inherited().into_iter()).environment
}

#[test]
fn all_is_inherited_but_what_holds_a_token() {
    let inherited = inherited();
    let kept = [inherited[0].clone(), inherited[1].clone(), inherited[3].clone(), inherited[5].clone()];
    assert_eq!(environment(&spec()), kept);
    let hiding = ProgramSpec { hidden_variables: ["API_TOKEN".to_owned()].into(), ..spec() };
    assert_eq!(environment(&hiding), [kept[0].clone(), kept[1].clone(), kept[3].clone()]);
}

#[test]
fn a_cleared_environment_has_what_is_set_and_nothing_else() {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let spec = ProgramSpec {
        clear_environment: true,
        environment: vec![set("A", "1"), set("A", "2"), set("TASK", "a\0b")],
        ..spec()
    };
    assert_eq!(environment(&spec), [("A".into(), "2".into()), ("TASK".into(), "a\u{FFFD}b".into())]);
}

#[test]
fn user_and_terminal_say_their_own_and_the_profile_has_the_last_word() {
    let user = User {
        name: "build".into(),
        home: "/home/build".into(),
        identity: Identity { uid: 1, gid: 1, groups: vec![1] },
    };
    let terminal =
        TerminalSettings { size: TerminalSize { cols: 80, rows: 24 }, term: "xterm".into(), echo: false };
    let environment_of_profile = vec![("LOGNAME".to_owned(), "other".to_owned())];
    let spec = ProgramSpec {
        user: Some(user.clone()),
        terminal: Some(terminal),
        environment: environment_of_profile,
        ..spec()
    };
    let found = environment(&spec);
    let value = |name: &str| {
        let values: Vec<_> =
            found.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
        assert_eq!(values.len(), 1, "{name}");
        values[0].clone()
    };
    let names = ["HOME", "USER", "LOGNAME", "TERM"];
    assert_eq!(names.map(value), ["/home/build", "build", "other", "xterm"]);
    let program = spec.program(std::iter::empty());
    assert_eq!((program.user, program.has_terminal), (Some(user.identity), true));
}
