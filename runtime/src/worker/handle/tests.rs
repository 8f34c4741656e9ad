use super::super::MAX_INPUT_BYTES;
use super::*;

fn line(text: &str) -> Arc<str> {
    text.into()
}

#[test]
fn queues_are_bounded_by_count() {
    let handle = Handle::new(false).unwrap();
    for _ in 0..MAX_QUEUED_INPUTS {
        assert_eq!(handle.write(line("x")), Ok(()));
    }
    assert_eq!(handle.write(line("x")), Err(Undeliverable::Full));
    assert_eq!(handle.close_input(), Err(Undeliverable::Full));
    assert_eq!(handle.next_input(), Some(Input::Line(line("x"))));
    assert_eq!(handle.write_raw("x".into()), Ok(()));
}

#[test]
fn queues_are_bounded_by_bytes_until_delivery() {
    let handle = Handle::new(false).unwrap();
    let input: Arc<str> = "x".repeat(MAX_INPUT_BYTES).into();
    assert_eq!(handle.write(Arc::clone(&input)), Ok(()));
    assert_eq!(handle.write_raw(Bytes::copy_from_slice(input.as_bytes())), Ok(()));
    assert_eq!(handle.write(line("x")), Err(Undeliverable::Full));
    let first = handle.next_input().unwrap();
    assert_eq!(first, Input::Line(input));
    assert_eq!(handle.write(line("x")), Err(Undeliverable::Full));
    handle.delivered(&first);
    assert_eq!(handle.write(line("x")), Ok(()));
}

#[test]
fn a_closed_handle_stays_closed() {
    let handle = Handle::new(false).unwrap();
    handle.write(line("x")).unwrap();
    handle.close();
    assert_eq!(handle.next_input(), None);
    assert_eq!(handle.write(line("x")), Err(Undeliverable::Closed));
}

#[test]
fn nothing_is_written_after_the_end_of_input_but_on_a_terminal() {
    for (has_terminal, after) in [(false, Err(Undeliverable::Closed)), (true, Ok(()))] {
        let handle = Handle::new(has_terminal).unwrap();
        handle.write(line("x")).unwrap();
        handle.close_input().unwrap();
        assert_eq!(handle.write(line("y")), after);
        // What was queued before the end still is.
        assert_eq!(handle.next_input(), Some(Input::Line(line("x"))));
        assert_eq!(handle.next_input(), Some(Input::End));
    }
}

#[test]
fn orders_grow_stronger_only() {
    let handle = Handle::new(false).unwrap();
    assert_eq!(handle.order(), None);
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(2));
    handle.stop(long);
    handle.stop(short);
    assert_eq!(handle.order(), Some(Order::Stop(long)));
    handle.cancel();
    handle.stop(short);
    assert_eq!(handle.order(), Some(Order::Cancel));
}

#[test]
fn interrupts_and_sizes_are_taken_once() {
    let handle = Handle::new(true).unwrap();
    assert_eq!((handle.take_interrupts(), handle.take_size()), (0, None));
    for cols in 1..=100 {
        handle.interrupt();
        handle.resize(TerminalSize { cols, rows: 1 });
    }
    assert_eq!(handle.take_interrupts(), MAX_INTERRUPTS);
    assert_eq!(handle.take_size(), Some(TerminalSize { cols: 100, rows: 1 }));
    assert_eq!((handle.take_interrupts(), handle.take_size()), (0, None));
}
