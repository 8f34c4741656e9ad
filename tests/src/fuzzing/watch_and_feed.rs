//! A worker's stream through a gateway, under a schedule that the input holds.

use crate::schedules::{Step, World};

/// The longest schedule, in steps.
const MAX_STEPS: usize = 256;

/// The input is a schedule, of two bytes a step. Viewers of a runtime that keeps to v1 see its events in order, none of
/// them twice and none left out unsaid; a runtime that does not ends the stream with an error of its own.
pub fn watch_and_feed(data: &[u8]) {
    let step = |bytes: &[u8]| Step::from_bytes(bytes[0], bytes[1]);
    let steps: Vec<_> = data.chunks_exact(2).take(MAX_STEPS).map(step).collect();
    World::run(&steps);
}
