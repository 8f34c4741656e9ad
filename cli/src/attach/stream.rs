//! The thread that reads a worker's stream.

use std::sync::Arc;

use sekisho_core::id::WorkerRef;

use super::outlet::Outlet;
use super::post::{Happening, Post};
use crate::backend::Backend;
use crate::failure::Failure;
use crate::follow::{Moment, until_the_end};
use crate::render::{Renderer, said_by_user};
use crate::show::Show;
use crate::text::FAINT;

/// What the thread that reads the stream knows.
pub(super) struct Stream {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) worker: WorkerRef,
    pub(super) show: Show,
    pub(super) outlet: Arc<Outlet>,
    pub(super) post: Post,
}

impl Stream {
    /// Shows what comes until the worker ends.
    pub(super) fn show(self) -> Result<(), Failure> {
        let mut renderer = Renderer::new(self.show.color);
        let put = |text: &str| self.outlet.put(text, || self.post.ring());
        // The history may be long, and how to leave is to be seen behind it.
        let mut introduced = false;
        until_the_end(&*self.backend, &self.worker, None, |moment| {
            match moment {
                Moment::Event(envelope) => {
                    put(&renderer.event(&envelope.payload));
                    let said = if introduced { Vec::new() } else { said_by_user(&envelope.payload) };
                    if !said.is_empty() {
                        self.post.tell(Happening::Said(said));
                    }
                }
                Moment::Told(style, text) => put(&renderer.note(style, &text)),
                Moment::CaughtUp | Moment::Quiet if !introduced => {
                    introduced = true;
                    let fate = fate(&*self.backend, &self.worker);
                    put(&renderer.note(FAINT, &format!("Ctrl-D leaves, {fate}; /help for more")));
                }
                Moment::CaughtUp | Moment::Quiet => {}
            }
            Ok(())
        })
    }
}

/// What becomes of a worker that is left.
pub(super) fn fate(backend: &dyn Backend, worker: &WorkerRef) -> &'static str {
    if backend.keeps(&worker.runtime_id) { "which ends the worker, too" } else { "the worker goes on" }
}
