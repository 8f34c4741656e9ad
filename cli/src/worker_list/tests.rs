use std::sync::atomic::{AtomicUsize, Ordering};

use sekisho_core::gateway_client::FleetEvent;
use sekisho_core::id::WorkerRef;

use super::*;
use crate::backend::Stream;

/// A gateway whose list of workers has so many pages.
struct Pages {
    count: usize,
    asked: AtomicUsize,
}

impl Backend for Pages {
    fn ask(&self, _: &Action) -> Result<Bytes, Box<Problem>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let next_after = if asked < self.count { "\"r/w\"" } else { "null" };
        Ok(format!(r#"{{"items":[],"diagnostics":[],"next_after":{next_after}}}"#).into())
    }

    fn embeds(&self, _: &RuntimeId) -> bool {
        false
    }

    fn open_stream(&self, _: &WorkerRef, _: Option<String>) -> Result<Box<dyn Stream>, Box<Problem>> {
        Err(Box::new(Problem::unexpected_body()))
    }

    fn open_fleet_stream(&self) -> Box<dyn Stream<FleetEvent>> {
        unreachable!("a list is no stream")
    }

    fn hint(&self, _: &Problem) -> Option<String> {
        None
    }
}

#[test]
fn a_list_that_is_cut_is_called_so() {
    for (count, extent) in [(1, Extent::Whole), (MAX_PAGES, Extent::Whole), (MAX_PAGES + 1, Extent::Cut)] {
        let pages = Pages { count, asked: AtomicUsize::new(0) };
        let found = workers(&pages, None, &WorkerFilter::default()).unwrap();
        assert_eq!((found.extent, pages.asked.into_inner()), (extent, count.min(MAX_PAGES)));
    }
    Extent::Whole.whole("x").unwrap();
    let failure = Extent::Cut.whole("name a runtime").unwrap_err();
    let said = "there are more workers than on the 1000 pages that were read: name a runtime";
    assert_eq!((failure.to_string().as_str(), failure.status()), (said, 2));
}
