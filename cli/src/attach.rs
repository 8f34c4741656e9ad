//! An interactive terminal for one worker.

use sekisho_core::id::WorkerRef;

use crate::checkpoint::Checkpoint;
use crate::failure::Failure;
use crate::show::Show;

pub(crate) fn run(_checkpoint: &dyn Checkpoint, _worker: &WorkerRef, _show: Show) -> Result<(), Failure> {
    Ok(())
}
