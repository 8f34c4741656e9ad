//! The other end of a viewer's stream, as a client of the gateway has it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::browser_api::WorkerView;
use crate::feed::Item;
use crate::gateway_client::{
    FleetEvent, FleetView, Gateway, GatewayEvent, GatewayStream, GatewayStreamInput, GatewayStreamOutput,
    TheFleet,
};
use crate::transport::ConnId;

/// A stream that is open, and what its events make.
pub(super) struct Client {
    stream: GatewayStream<TheFleet>,
    id: ConnId,
    view: FleetView,
}

impl Client {
    pub(super) fn open(now: Instant) -> Self {
        let mut stream = Gateway::in_process().open_fleet_stream(now, 7);
        let GatewayStreamOutput::Connect(connect) = stream.poll(now) else { panic!("it connects") };
        stream.handle(now, GatewayStreamInput::Opened(connect.id));
        Self { stream, id: connect.id, view: FleetView::default() }
    }

    /// Takes a frame.
    pub(super) fn take(&mut self, now: Instant, frame: &Item) {
        self.stream.handle(now, GatewayStreamInput::Frame(self.id, frame.text().clone()));
        loop {
            match self.stream.poll(now) {
                GatewayStreamOutput::Event(GatewayEvent::Event(FleetEvent::Snapshot(view))) => {
                    // What was told anew is what the changes between come to.
                    let mut changed = std::mem::take(&mut self.view);
                    for change in view.changes_since(&changed) {
                        changed.apply(change).unwrap();
                    }
                    assert!(view.changes_since(&changed).is_empty());
                    self.view = view;
                }
                GatewayStreamOutput::Event(GatewayEvent::Event(FleetEvent::Change(change))) => {
                    self.view.apply(change).unwrap();
                }
                // The connection is in this process, and is always there.
                GatewayStreamOutput::Ping(id) => self.stream.handle(now, GatewayStreamInput::Pong(id)),
                GatewayStreamOutput::Wait { .. } => return,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The workers by their names, with the number of the newest event.
    pub(super) fn workers(&self) -> BTreeMap<String, u64> {
        let named = |one: &WorkerView| (format!("{}/{}", one.runtime_id, one.worker_id), one.last_event_id);
        self.view.workers().map(named).collect()
    }

    /// The names of the open requests of workers that are there.
    pub(super) fn requests(&self) -> BTreeSet<String> {
        let of = |one: &WorkerView| {
            let open = self.view.requests_of(&one.runtime_id, &one.worker_id);
            let name = format!("{}/{}", one.runtime_id, one.worker_id);
            open.iter().map(|open| format!("{name}/{}", open.request_id)).collect::<Vec<_>>()
        };
        self.view.workers().flat_map(of).collect()
    }

    pub(super) fn runtimes(&self) -> usize {
        self.view.runtimes().count()
    }
}
