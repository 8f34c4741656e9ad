use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    # a comment\n\
    broken:x:y\n\
    build:x:1000:100:Builds,,,:/home/build:/bin/bash\n\
    7:x:8:8::/seven:\n\
    seven:x:7:7::/real:\n";
const GROUP: &str = "root:x:0:\nusers:x:100:build\ndocker:x:999:other,build\nbuilders:x:50:rebuild\nbroken\n";

#[test]
fn users_are_found_by_name_and_by_number() {
    let build = User {
        name: "build".into(),
        home: "/home/build".into(),
        identity: Identity { uid: 1000, gid: 100, groups: vec![100, 999] },
    };
    assert_eq!(User::find_in("build", PASSWD, GROUP), Some(build.clone()));
    assert_eq!(User::find_in("1000", PASSWD, GROUP), Some(build));
    let named_by_number = User::find_in("7", PASSWD, GROUP).unwrap();
    assert_eq!((named_by_number.identity.uid, named_by_number.home), (8, "/seven".into()));
    for unknown in ["", "broken", "nobody", "1001", "root:x"] {
        assert_eq!(User::find_in(unknown, PASSWD, GROUP), None, "{unknown}");
    }
}

#[test]
fn every_machine_has_its_root() {
    assert_eq!(User::find("root").map(|root| root.identity.uid), Ok(0u32));
    assert_eq!(User::find("no-such-user-here"), Err(UserError::Unknown));
}
