//! The identity of the runtime at the other end: requested before each connection, over the same connection that then
//! becomes the stream if the transport keeps it open.

use std::time::Instant;

use bytes::Bytes;
use http::Response;

use super::output::WatchOutput;
use super::{State, Watch, WatchContext};
use crate::call::MAX_QUESTIONS;
use crate::runtime_api::{Command, Observe, Reply};
use crate::transport::{
    Attempt, AttemptId, AttemptLimits, ConnId, Connect, Failure, FailureCause, Identity, Loss, MAX_IDLE,
    REPORT_GRACE, Target, Via, ends_connection,
};

impl Watch {
    /// Begins a new connection.
    pub(super) fn begin(&mut self, now: Instant) {
        self.context.access.refresh();
        self.sent_token = self.context.access.token().cloned();
        self.identity_tries = 0;
        match self.context.access.target() {
            Target::InProcess => {
                self.refuses_lost_cursors = true;
                self.connect(now, Via::Any);
            }
            _ => self.identify(now),
        }
    }

    fn identify(&mut self, now: Instant) {
        self.identity_tries += 1;
        self.identity_requests += 1;
        let (id, identity) = (AttemptId::of(self.identity_requests), Identity::new());
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
        self.state = State::Identifying { id, identity, until: deadline + REPORT_GRACE };
        self.outputs.push_back(WatchOutput::Send(attempt));
    }

    pub(super) fn identity_response(&mut self, now: Instant, response: &Response<Bytes>) {
        let State::Identifying { identity, .. } = std::mem::replace(&mut self.state, State::Idle) else {
            return;
        };
        let runtime_id = &self.context.worker.runtime_id;
        let scrubber = self.context.access.scrubber();
        match Reply::from_response(&Command::Runtime, runtime_id, scrubber, response) {
            Ok(reply) => {
                // What has an incarnation is a runtime of our own kind.
                self.refuses_lost_cursors =
                    matches!(reply, Reply::Runtime(summary) if summary.incarnation.is_some());
                identity.confirm();
                // A runtime that closes the connection after each response cannot be identified any better than this.
                let via = if ends_connection(response) { Via::Any } else { Via::Identified };
                self.connect(now, via);
            }
            Err(rejection) => self.rejected(now, rejection),
        }
    }

    pub(super) fn identity_failed(&mut self, now: Instant, failure: Failure) {
        self.lost(now, Loss::Failed(failure.cause));
    }

    /// The connection over which the runtime was identified is lost or in use for something else.
    pub(super) fn not_identified(&mut self, now: Instant) {
        match self.identity_tries < MAX_QUESTIONS {
            true => self.identify(now),
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
            request: Observe::request(access, &worker.worker_id, self.upstream_cursor.as_ref()),
            via,
            limits: limits.of_streams(),
        }));
        self.state = State::Connecting { id, until };
    }
}
