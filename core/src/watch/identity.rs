//! Who is at the other end of a stream: asked before each connection, and answered on the very connection that then
//! becomes the stream, where the transport keeps it.

use std::time::Instant;

use bytes::Bytes;
use http::Response;

use super::{Connect, State, Watch, WatchContext, WatchOutput};
use crate::call::MAX_QUESTIONS;
use crate::runtime_api::{Command, Observe, Reply};
use crate::transport::{
    Attempt, AttemptId, AttemptLimits, ConnId, Failure, FailureCause, Identity, Loss, MAX_IDLE, REPORT_GRACE,
    Target, Via, ends_connection,
};

impl Watch {
    /// Goes for a connection.
    pub(super) fn begin(&mut self, now: Instant) {
        self.context.access.refresh();
        self.shown = self.context.access.token().cloned();
        self.questions = 0;
        match self.context.access.target() {
            Target::InProcess => self.connect(now, Via::Any),
            _ => self.ask(now),
        }
    }

    fn ask(&mut self, now: Instant) {
        self.questions += 1;
        self.asked += 1;
        let (id, identity) = (AttemptId::of(self.asked), Identity::new());
        let WatchContext { access, limits, .. } = &self.context;
        let deadline = now + limits.total();
        let attempt = Attempt {
            id,
            target: access.target(),
            request: Command::Runtime.request(access),
            via: Via::Identify(identity.clone()),
            limits: AttemptLimits {
                connect: limits.connect,
                response: limits.response,
                body: limits.response,
                max_body: limits.max_response_body,
                deadline,
                max_idle: MAX_IDLE,
            },
        };
        self.state = State::Asking { id, identity, until: deadline + REPORT_GRACE };
        self.outputs.push_back(WatchOutput::Send(attempt));
    }

    pub(super) fn answered(&mut self, now: Instant, response: &Response<Bytes>) {
        let State::Asking { identity, .. } = std::mem::replace(&mut self.state, State::Idle) else { return };
        let runtime_id = &self.context.worker.runtime_id;
        let scrubber = self.context.access.scrubber();
        match Reply::from_response(&Command::Runtime, runtime_id, scrubber, response) {
            Ok(_) => {
                identity.confirm();
                // There is no better knowledge to be had of a runtime that keeps no connection.
                let via = if ends_connection(response) { Via::Any } else { Via::Identified };
                self.connect(now, via);
            }
            Err(rejection) => self.rejected(now, rejection),
        }
    }

    pub(super) fn unanswered(&mut self, now: Instant, failure: Failure) {
        self.lost(now, Loss::Failed(failure.cause));
    }

    /// The connection on which the question was answered is lost, or something else uses it.
    pub(super) fn not_identified(&mut self, now: Instant) {
        match self.questions < MAX_QUESTIONS {
            true => self.ask(now),
            false => self.lost(now, Loss::Failed(FailureCause::NotIdentified)),
        }
    }

    fn connect(&mut self, now: Instant, via: Via) {
        self.connections += 1;
        let id = ConnId::of(self.connections);
        let WatchContext { worker, access, limits, .. } = &self.context;
        let until = now + limits.connect + limits.response + REPORT_GRACE;
        self.outputs.push_back(WatchOutput::Connect(Connect {
            id,
            target: access.target(),
            request: Observe::request(access, &worker.worker_id, self.place.as_ref()),
            via,
            limits: limits.of_streams(),
        }));
        self.state = State::Connecting { id, until };
    }
}
