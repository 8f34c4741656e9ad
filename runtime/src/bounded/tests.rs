use super::*;

#[test]
fn the_oldest_go_and_the_newest_stays() {
    let mut queue = Bounded::new(3, 10, |text: &&str| text.len());
    for (text, gone, left) in [
        ("1", None, 1),
        ("2", None, 2),
        ("3", None, 3),
        ("4", Some("1"), 3),
        ("55555555", Some("2"), 3),
        ("666666", Some("55555555"), 1),
        ("of more than ten bytes", Some("666666"), 1),
        ("8", Some("of more than ten bytes"), 1),
    ] {
        assert_eq!((queue.push(text), queue.queue().len()), (gone, left), "{text}");
    }
    assert_eq!((queue.dropped(), queue.total()), (7, 8));
}

#[test]
fn it_can_be_made_smaller_than_its_bounds() {
    let mut queue = Bounded::new(100, 100, |text: &&str| text.len());
    for text in ["1", "22", "333", "4444"] {
        queue.push(text);
    }
    assert_eq!((queue.reduce(10), queue.reduce(7)), (None, Some("22")));
    assert_eq!((queue.reduce(0), queue.bytes(), queue.dropped()), (Some("333"), 4, 3));
    assert_eq!(queue.reduce(0), None);
}
