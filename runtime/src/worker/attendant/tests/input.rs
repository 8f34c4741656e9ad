use super::super::super::Undeliverable;
use super::*;

#[test]
fn inputs_are_lines_and_so_are_outputs() {
    let running = run(sh(r#"read -r a; read -r b; echo "<$a> <$b>"; echo oh >&2; printf end; exit 3"#));
    running.say("one two");
    running.say("");
    let (end, mut noted) = running.end();
    // The two streams have no order between them where they are written at once.
    noted.lines.sort();
    assert_eq!((end, noted.lines), (exited(3), vec!["! oh".into(), "<one two> <>".into(), "end".into()]));
}

#[test]
fn a_process_that_reads_slowly_gets_everything() {
    let running = run(sh("sleep 0.1; head -n 4 | wc -c; exec 0<&-"));
    for _ in 0..4 {
        running.say(&"x".repeat(500_000));
    }
    let (end, noted) = running.end();
    assert_eq!((end, noted.lines), (exited(0), vec!["2000004".into()]));
}

#[test]
fn the_end_of_input_comes_after_what_was_said() {
    let running = run(spec(&["sort"]));
    running.say("b");
    running.say("a");
    running.handle.close_input().unwrap();
    assert_eq!(running.handle.write("c".into()), Err(Undeliverable::Closed));
    let (end, noted) = running.end();
    assert_eq!((end, noted.output.as_str()), (exited(0), "a\nb\n"));
}

#[test]
fn closed_standard_input_is_noticed_while_the_process_runs() {
    let running = run(sh("exec 0<&-; echo closed; exec sleep 1000"));
    running.hear("closed");
    // Noticed with the first turn in which there is something to write.
    until("the refusal", || running.handle.write("x".into()) == Err(Undeliverable::Closed));
    running.handle.stop(LONG);
    assert_eq!(running.end().0, signalled(15));
}

#[test]
fn an_interrupt_is_for_what_runs_and_not_for_the_shell_that_handles_it() {
    let running = run(sh(
        r#"trap "echo interrupted" INT; echo ready; sleep 1000; echo after; read -r line; echo "$line""#,
    ));
    running.hear("ready");
    until("the command", || running.is_running("sleep"));
    running.handle.interrupt();
    running.hear("after");
    running.say("more");
    let (end, noted) = running.end();
    assert_eq!((end, noted.output.as_str()), (exited(0), "ready\ninterrupted\nafter\nmore\n"));
}

#[test]
fn python_is_interrupted_in_what_it_does_and_goes_on() {
    let running = run(spec(&["python3", "-q", "-i", "-u", "-c", "print('ready')"]));
    running.hear("ready");
    running.say("import time; print('sl' + 'eeps'); time.sleep(1000)");
    running.hear("sleeps");
    running.handle.interrupt();
    running.notes.until("the interrupt", |noted| noted.error.contains("KeyboardInterrupt").then_some(()));
    running.say("print(6 * 7)");
    running.hear("42");
    running.handle.close_input().unwrap();
    assert_eq!(running.end().0, exited(0));
}
