use proptest::prelude::*;
use proptest::sample::{Index, select};
use sekisho_core::cursor::{CursorError, CursorKey, MAX_CURSOR, MAX_UPSTREAM_CURSOR, Sealer, UpstreamCursor};
use sekisho_core::id::WorkerRef;

use crate::any::{id, text};
use crate::cases;

fn place() -> impl Strategy<Value = UpstreamCursor> {
    prop_oneof!["\\PC{1,64}", "[0-9a-f_]{500,512}", any::<String>()]
        .prop_filter_map("not a place", |text| UpstreamCursor::new(&text))
}

fn worker() -> impl Strategy<Value = WorkerRef> {
    (id(), id()).prop_map(|(runtime_id, worker_id)| WorkerRef {
        runtime_id: runtime_id.parse().unwrap(),
        worker_id: worker_id.parse().unwrap(),
    })
}

fn key() -> impl Strategy<Value = CursorKey> {
    "[0-9a-fA-F]{128}".prop_map(|digits| digits.parse().unwrap())
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn replicas_with_one_key_agree(key in key(), worker in worker(), place in place()) {
        let cursor = Sealer::new(&key, worker.clone()).seal(&place);
        prop_assert!(cursor.len() <= MAX_CURSOR);
        prop_assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        let replica: CursorKey = format!("\n{} ", key.to_hex()).parse().unwrap();
        let mut replica = Sealer::new(&replica, worker);
        prop_assert_eq!(replica.seal(&place), cursor.clone());
        prop_assert_eq!(replica.open(&cursor), Ok(place));
    }

    #[test]
    fn no_character_can_be_another(
        key in key(),
        worker in worker(),
        place in place(),
        index in any::<Index>(),
        other in prop_oneof![9 => select(b"ABCXYZabcxyz0189-_".to_vec()), 1 => b' '..=b'~'],
    ) {
        let mut sealer = Sealer::new(&key, worker);
        let cursor = sealer.seal(&place);
        let index = index.index(cursor.len());
        let mut tampered = cursor.clone().into_bytes();
        tampered[index] = other;
        let tampered = String::from_utf8(tampered).unwrap();
        prop_assume!(tampered != cursor);
        let (start, end) = cursor.split_at(index);
        let inserted = format!("{start}{}{end}", char::from(other));
        for damaged in [tampered.as_str(), start, &inserted, &format!("{cursor}{cursor}")] {
            prop_assert_eq!(sealer.open(damaged), Err(CursorError::Malformed), "{}", damaged);
        }
    }

    #[test]
    fn a_foreign_cursor_has_its_fault(
        keys in (key(), key()),
        workers in (worker(), worker()),
        place in place(),
    ) {
        prop_assume!(keys.0.to_hex() != keys.1.to_hex() && workers.0 != workers.1);
        let cursor = Sealer::new(&keys.0, workers.0.clone()).seal(&place);
        let open = |key, worker: &WorkerRef| Sealer::new(key, worker.clone()).open(&cursor);
        prop_assert_eq!(open(&keys.1, &workers.0), Err(CursorError::Unknown));
        prop_assert_eq!(open(&keys.1, &workers.1), Err(CursorError::Unknown));
        let WorkerRef { runtime_id, worker_id } = workers.0.clone();
        for foreign in [
            workers.1.clone(),
            WorkerRef { runtime_id, ..workers.1.clone() },
            WorkerRef { worker_id, ..workers.1.clone() },
        ] {
            if foreign != workers.0 {
                prop_assert_eq!(open(&keys.0, &foreign), Err(CursorError::Malformed));
            }
        }
    }

    #[test]
    fn what_opens_was_sealed(
        key in key(),
        worker in worker(),
        text in prop_oneof![text(), "[A-Za-z0-9_-]{0,80}", "[A-Za-z0-9_-]{1020,1030}"],
    ) {
        let mut sealer = Sealer::new(&key, worker);
        prop_assert_eq!(sealer.open(&text), Err(CursorError::Malformed));
        prop_assert_eq!(UpstreamCursor::new(&text).is_some(), (1..=MAX_UPSTREAM_CURSOR).contains(&text.len()));
    }
}
