use super::*;

#[test]
fn an_unfinished_line_is_told_while_it_is_unfinished() {
    let running = run(sh(r#"printf 'Password: '; read -r word; echo "got $word""#));
    running.hear("Password: ");
    running.say("secret");
    let (end, noted) = running.end();
    assert_eq!((end, noted.lines), (exited(0), vec!["Password: ".into(), "+ got secret".into()]));
}

#[test]
fn a_progress_bar_is_told_as_it_goes() {
    let running = run(sh(r#"printf '10%%\r'; sleep 0.3; printf '20%%\r'; read -r _; printf '100%%\n'"#));
    running.hear("10%\r20%");
    running.say("");
    assert_eq!(running.end().1.output, "10%\r20%\r100%\n");
}

#[test]
fn long_lines_are_told_in_pieces() {
    let running = run(spec(&["python3", "-c", "print('x' * 200_000); print('y')"]));
    let (end, noted) = running.end();
    assert_eq!((end, noted.output.len()), (exited(0), 200_003));
    let continues: Vec<bool> = noted.lines.iter().map(|line| line.starts_with("+ ")).collect();
    assert!(
        noted.lines.len() >= 5 && !continues[0] && continues[1..continues.len() - 1].iter().all(|it| *it)
    );
    assert_eq!(noted.lines.last().map(String::as_str), Some("y"));
}

/// Each fills a pipe of 1 MiB and exits at once, while what was written before is still being read.
#[test]
fn all_that_was_written_is_read_whatever_the_clock_says() {
    const WRITERS: usize = 6;
    let script = "import fcntl, sys\n\
        fcntl.fcntl(1, 1031, 1 << 20)\n\
        sys.stdout.write(''.join('%d\\n' % number for number in range(LINES)))";
    // Documented in docs/proof.md: SEKISHO_LONG=1 runs what the suite has no time for.
    let (lines, rounds) =
        if std::env::var_os("SEKISHO_LONG").is_some() { (500_000, 20) } else { (50_000, 1) };
    let script = script.replace("LINES", &lines.to_string());
    let expected: usize = (0..lines).map(|number: usize| number.to_string().len() + 1).sum();
    for _ in 0..rounds {
        let writers: Vec<Running> = (0..WRITERS).map(|_| run(spec(&["python3", "-c", &script]))).collect();
        for writer in writers {
            let (end, noted) = writer.end();
            assert_eq!((end, noted.output.len(), noted.output.lines().count()), (exited(0), expected, lines));
            assert!(noted.output.lines().map(str::parse).eq((0..lines).map(Ok)));
        }
    }
}

#[test]
fn those_who_follow_hold_back_a_process_that_runs_but_not_the_words_of_one_that_has_ended() {
    let notes = Notes::default();
    notes.inside.lock().unwrap().crowded = true;
    let supervisor = Arc::new(Supervisor::new(Some(helper())));
    // More than a pipe holds: it can only end when something was read.
    let running = run_under(&supervisor, sh("echo first; yes | head -c 300000; echo last"), notes);
    let pid = running.pid();
    until("it waits in a pipe", || descendants(pid).iter().any(|pid| is_alive(*pid)));
    assert_eq!(running.notes.inside.lock().unwrap().fragments, 0);
    running.notes.note(|noted| noted.crowded = false);
    running.hear("y\n");
    running.end();

    let notes = Notes::default();
    notes.inside.lock().unwrap().crowded = true;
    let running = run_under(&supervisor, sh("yes | head -c 30000; echo last"), notes);
    let (end, noted) = running.end();
    assert_eq!((end, noted.lines.last().map(String::as_str)), (exited(0), Some("last")));
}

/// A process that is no descendant of the worker's was handed its output.
#[test]
fn only_silence_of_what_is_left_is_limited() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let escaped = "import array, socket, sys, time\n\
        server = socket.socket(socket.AF_UNIX)\n\
        server.bind(sys.argv[1])\n\
        server.listen()\n\
        peer, _ = server.accept()\n\
        message, rights, _, _ = peer.recvmsg(1, 64)\n\
        output = open(array.array('i', rights[0][2])[0], 'w')\n\
        peer.recv(1)\n\
        for number in range(15):\n\
        \x20   time.sleep(0.1)\n\
        \x20   print(number, file=output, flush=True)\n\
        print('out', flush=True)\n\
        time.sleep(1000)";
    let mut escaped = std::process::Command::new("python3")
        .args(["-c", escaped])
        .arg(&socket)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    until("the socket", || socket.exists());
    let worker = "import array, socket, sys, time\n\
        peer = socket.socket(socket.AF_UNIX)\n\
        while peer.connect_ex(sys.argv[1]): time.sleep(0.01)\n\
        peer.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [1]))])\n\
        print('handed', flush=True)";
    let begun = Instant::now();
    let (end, noted) = run(spec(&["python3", "-c", worker, socket.to_str().unwrap()])).end();
    let took = begun.elapsed();
    escaped.kill().unwrap();
    escaped.wait().unwrap();
    assert_eq!(end, exited(0));
    // For longer than the limit on silence, each line was heard; what holds the pipe then is not waited for.
    assert_eq!(noted.lines.last().map(String::as_str), Some("14"), "{:?}", noted.lines);
    assert!(took < AT_MOST, "{took:?}");
}

#[test]
fn what_cannot_be_kept_ends_the_process() {
    let notes = Notes::default();
    notes.inside.lock().unwrap().unkept = Some("x");
    let supervisor = Arc::new(Supervisor::new(Some(helper())));
    let running = run_under(&supervisor, sh("while :; do echo x; done"), notes);
    let pid = running.pid();
    assert_eq!(running.end().0, End::StoreFailed);
    assert!(!is_alive(pid));
}
