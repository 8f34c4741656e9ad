use super::*;

fn typed(running: &Running, bytes: &'static [u8]) {
    running.handle.write_raw(Bytes::from_static(bytes)).unwrap();
}

#[test]
fn a_program_has_a_terminal_of_its_own_with_size_and_type() {
    let script = r#"tty; stty size; echo "$TERM"; ps -o tty= -p $$; stty -a | grep -o -e '-echo '; exec 3</dev/tty && echo open"#;
    let (end, noted) = run(on_terminal(sh(script))).end();
    let lines: Vec<&str> = noted.lines.iter().map(String::as_str).collect();
    let [tty, "30 100", "xterm", ps, "-echo ", "open"] = lines[..] else { panic!("{lines:?}") };
    assert_eq!((end, tty), (exited(0), format!("/dev/{}", ps.trim()).as_str()));
}

#[test]
fn a_process_without_one_has_none() {
    let (end, noted) = run(sh("tty; ps -o tty= -p $$; exec 3</dev/tty; echo never")).end();
    assert_eq!(noted.output, "not a tty\n?\n");
    assert!(end != exited(0) && noted.error.contains("/dev/tty"), "{}", noted.error);
}

#[test]
fn lines_are_read_with_a_prompt_and_not_echoed() {
    let running = run(on_terminal(spec(&["bash", "-c", r#"read -p "Name: " name; echo "<$name>""#])));
    running.hear("Name: ");
    running.say("関所");
    let (end, noted) = running.end();
    assert_eq!((end, noted.output.as_str()), (exited(0), "Name: <関所>\r\n"));
}

#[test]
fn an_interactive_shell_answers_is_interrupted_and_is_ended() {
    let shell =
        ProgramSpec { environment: vec![("PS1".into(), "$ ".into())], ..spec(&["bash", "--norc", "-i"]) };
    let running = run(on_terminal(shell));
    running.hear("$ ");
    running.say("echo $((6 * 7)); sleep 1000");
    running.hear("42");
    until("the command", || running.is_running("sleep"));
    running.handle.interrupt();
    running.notes.until("the next prompt", |noted| (noted.output.matches("$ ").count() == 2).then_some(()));
    running.say("echo after");
    running.hear("after\r\n");
    // It ignores SIGTERM: that it ends at once is by its being hung up on.
    running.handle.stop(LONG);
    let (end, _) = running.end();
    assert!(matches!(end, End::Exited(status) if !status.success()), "{end:?}");
}

#[test]
fn the_end_of_input_is_typed() {
    let running = run(on_terminal(spec(&["cat"])));
    running.say("one");
    running.hear("one");
    running.handle.close_input().unwrap();
    let (end, noted) = running.end();
    assert_eq!((end, noted.output.as_str()), (exited(0), "one\r\n"));
}

#[test]
fn python_shows_its_prompt() {
    let running = run(on_terminal(spec(&["python3", "-q"])));
    running.hear(">>> ");
    running.say("6 * 7");
    running.hear("42\r\n>>> ");
    running.say("import time; print('sl' + 'eeps'); time.sleep(1000)");
    running.hear("sleeps");
    running.handle.interrupt();
    running.hear("KeyboardInterrupt");
    running.say("6 * 8");
    running.hear("48\r\n>>> ");
    running.handle.close_input().unwrap();
    // Some versions tell by their status that they were interrupted before.
    running.end();
}

#[test]
fn sizes_reach_the_program() {
    let script = r#"trap 'stty size' WINCH; echo ready; while read -r line; do echo "$line"; done"#;
    let running = run(on_terminal(spec(&["bash", "-c", script])));
    running.hear("ready");
    running.handle.resize(TerminalSize { cols: 132, rows: 43 });
    running.say("");
    running.hear("43 132");
}

#[test]
fn programs_of_the_whole_screen_run() {
    let running = run(on_terminal(spec(&["top", "-d", "1000"])));
    running.hear("PID");
    typed(&running, b"q");
    assert_eq!(running.end().0, exited(0));
}

#[test]
fn a_commit_is_written_in_an_editor() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("repository");
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment = vec![
        set("HOME", directory.path().to_str().unwrap()),
        set("GIT_CONFIG_NOSYSTEM", "1"),
        set("GIT_AUTHOR_NAME", "A"),
        set("GIT_AUTHOR_EMAIL", "a@example.org"),
        set("GIT_COMMITTER_NAME", "A"),
        set("GIT_COMMITTER_EMAIL", "a@example.org"),
        set("EDITOR", "vi"),
    ];
    let script =
        r#"git init -q "$0" && cd "$0" && git commit -q --allow-empty && git log --format=subject:%s"#;
    let command = spec(&["sh", "-c", script, repository.to_str().unwrap()]);
    let running = run(on_terminal(ProgramSpec { environment, ..command }));
    running.hear("# Please enter the commit message");
    typed(&running, b"iFrom a terminal\x1b");
    running.hear("From a terminal");
    typed(&running, b":wq\r");
    running.hear("subject:From a terminal");
    assert_eq!(running.end().0, exited(0));
}

#[test]
fn an_interrupt_gets_through_where_nothing_is_read() {
    let running =
        run(on_terminal(sh("trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done")));
    running.hear("ready");
    // More than the terminal takes.
    for _ in 0..100 {
        running.say(&"x".repeat(1000));
    }
    running.handle.interrupt();
    let (end, noted) = running.end();
    assert_eq!(end, exited(3), "{:?}", noted.output);
}
