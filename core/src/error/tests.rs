use super::*;

/// What the documentation says of the kinds, which thus cannot differ from what they are.
const DOCUMENTED: &str = include_str!("../../../docs/errors.md");

/// The code, status, close code, origin, "later" or "", and outcome of a kind, as the documentation writes them.
fn row(kind: ErrorKind) -> Vec<String> {
    let origin = serde_json::to_value(kind.origin()).unwrap();
    vec![
        format!("`{}`", kind.code()),
        kind.status().as_u16().to_string(),
        kind.close_code().to_string(),
        origin.as_str().unwrap().to_owned(),
        if kind.retryable() { "later" } else { "" }.to_owned(),
        if kind.proves_not_applied() { "`not_applied`" } else { "`unknown`" }.to_owned(),
    ]
}

#[test]
fn every_kind_is_what_the_documentation_says() {
    let documented: Vec<Vec<&str>> = DOCUMENTED
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').skip(1).take(6).map(str::trim).collect())
        .collect();
    let mut kinds: Vec<Vec<String>> = ErrorKind::all().into_iter().map(row).collect();
    kinds.dedup();
    assert_eq!(documented, kinds);
}

#[test]
fn no_two_causes_share_a_code_and_a_phase() {
    let mut causes: Vec<_> = ErrorKind::all().iter().map(|kind| (kind.code(), kind.phase())).collect();
    let count = causes.len();
    causes.sort_unstable();
    causes.dedup();
    assert_eq!(causes.len(), count);
}

#[test]
fn phases_are_named_as_they_are_written() {
    for phase in NetworkPhase::ALL {
        assert_eq!(ErrorKind::Network(phase).phase(), Some(phase.name()));
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
    }
    for phase in TimeoutPhase::ALL {
        assert_eq!(ErrorKind::RuntimeTimeout(phase).phase(), Some(phase.name()));
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
    }
    assert_eq!(ErrorKind::Internal.phase(), None);
}

#[test]
fn titles_are_sentences() {
    for kind in ErrorKind::all() {
        let title = kind.title();
        assert!(title.trim() == title && title.starts_with(char::is_uppercase), "{title:?}");
        assert!(!title.ends_with('.'), "{title}");
    }
}

#[test]
fn kinds_are_found_by_their_codes() {
    for kind in ErrorKind::all() {
        assert_eq!(ErrorKind::from_code(kind.code()).map(ErrorKind::code), Some(kind.code()));
    }
    assert_eq!(ErrorKind::from_code("caught_up"), None);
}

#[test]
fn texts_of_others_are_bounded() {
    assert_eq!(bounded("a\u{1b}[31mb\r\nc\u{7f}"), "a[31mbc");
    assert_eq!(bounded(&"関".repeat(1000)).chars().count(), MAX_RUNTIME_TEXT);
}

#[test]
fn a_wait_is_told_in_whole_seconds() {
    for (wait, seconds) in [(0, 0), (1, 1), (1000, 1), (1001, 2)] {
        assert_eq!(whole_seconds(Duration::from_millis(wait)), seconds);
    }
}
