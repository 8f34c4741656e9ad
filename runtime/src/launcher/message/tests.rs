use std::fs::File;

use super::*;

#[test]
fn messages_arrive_as_they_were_sent() {
    let odd = OsString::from_vec(b"\xFF=\xE9\n".to_vec());
    let program = Program {
        command: vec!["sh".into(), "".into(), odd.clone()],
        environment: vec![
            ("PATH".into(), "/bin".into()),
            ("EMPTY".into(), "".into()),
            ("X".into(), odd.clone()),
        ],
        directory: Some(PathBuf::from(odd)),
        user: Some(Identity { uid: 1000, gid: 100, groups: vec![4, u32::MAX] }),
        has_terminal: true,
    };
    let plain = Program { command: vec!["cat".into()], ..Program::default() };
    let (ours, theirs) = Channel::pair().unwrap();
    let theirs = Channel::new(UnixStream::from(theirs));
    for message in [
        Message::WantLauncher,
        Message::Start(Box::new(program)),
        Message::Start(Box::new(plain)),
        Message::Stop(Duration::from_millis(1234)),
        Message::Cancel,
        Message::Interrupt,
        Message::Started(i32::MAX),
        Message::NotStarted(NotStarted { step: Step::Program, errno: 2 }),
        Message::Ended(-1),
        Message::Lost,
    ] {
        ours.send(&message).unwrap();
        let (received, descriptors) = theirs.receive().unwrap().unwrap();
        assert_eq!((received, descriptors.len()), (message, 0));
    }
    drop(ours);
    assert!(theirs.receive().unwrap().is_none());
}

#[test]
fn descriptors_go_along_and_are_not_inherited_further() {
    let (ours, theirs) = Channel::pair().unwrap();
    let theirs = Channel::new(UnixStream::from(theirs));
    let file = File::open("/dev/null").unwrap();
    ours.send_with(&Message::WantLauncher, &[file.as_fd(), ours.as_fd()]).unwrap();
    ours.send(&Message::Cancel).unwrap();
    let (_, descriptors) = theirs.receive().unwrap().unwrap();
    assert_eq!(descriptors.len(), 2);
    for descriptor in &descriptors {
        assert!(rustix::io::fcntl_getfd(descriptor).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    }
    assert_eq!(theirs.receive().unwrap().unwrap().0, Message::Cancel);
}

#[test]
fn long_messages_pass_and_longer_ones_are_refused() {
    let (ours, theirs) = Channel::pair().unwrap();
    let theirs = Channel::new(UnixStream::from(theirs));
    let of = |length: usize| {
        Message::Start(Box::new(Program { command: vec!["x".repeat(length).into()], ..Program::default() }))
    };
    let long = of(2 * 1024 * 1024);
    let sent = long.clone();
    let sending = std::thread::spawn(move || {
        ours.send(&sent).unwrap();
        ours
    });
    assert_eq!(theirs.receive().unwrap().unwrap().0, long);
    let refused = sending.join().unwrap().send(&of(MAX_MESSAGE)).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ArgumentListTooLong);
}

#[test]
fn what_is_no_message_is_refused() {
    for body in [&b""[..], b"?", b"r\x01", b"n\xFF\0\0\0\0", b"s", b"sa\x05\0\0\0x", b"sv\0\0\0\0", b"t1"] {
        assert_eq!(Message::parse(body), None, "{body:?}");
    }
}
