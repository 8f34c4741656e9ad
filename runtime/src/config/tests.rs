use super::*;

#[test]
fn profiles_are_checked_at_the_start() {
    let lines = |name: &str, command: &str| WorkerProfile::lines(name, [command]);
    let name = || "a".to_owned();
    for (profiles, expected) in [
        (vec![], Ok(())),
        (vec![lines("a", "sh"), lines("b", "sh")], Ok(())),
        (vec![lines("a", "sh"), lines("a", "cat")], Err(StartError::DuplicateProfile { name: name() })),
        (
            vec![lines("b", "sh"), lines("a", "")],
            Err(StartError::Profile { name: name(), error: ProfileError::NoCommand }),
        ),
    ] {
        assert_eq!(check_profiles(&profiles), expected);
    }
}
