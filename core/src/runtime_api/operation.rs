//! What can be asked of a runtime, in one table.
//!
//! A row is all that is the same for every command of an operation, and both wires, the capabilities and the names
//! that a policy hears follow from it. What a command holds, and how its parts are read, is in
//! [`Command`](super::Command); what comes back, in [`Reply`](super::Reply).

use std::fmt;

use http::Method;

use super::feature::Feature;
use super::path::{Captures, Template};

/// What is the same for every command of an operation.
struct Row {
    name: &'static str,
    #[cfg(feature = "pages")]
    summary: &'static str,
    verb: Verb,
    effect: Effect,
    body: Body,
    key: Key,
    feature: Option<Feature>,
    runtime_path: Template,
    gateway_path: Template,
}

/// The method of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Delete,
}

/// What doing something twice comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It changes nothing.
    Read,
    /// The same as doing it once.
    Idempotent,
    /// More than doing it once.
    Once,
}

/// Whether a request has a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    None,
    Json,
}

/// Whether a request may have an `Idempotency-Key`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    None,
    Optional,
}

/// Makes [`Operation`] and its facts of the table below.
macro_rules! operations {
    ($(
        #[doc = $summary:literal]
        $(#[$more:meta])*
        $operation:ident = $name:literal, $verb:ident, $effect:ident, body: $body:ident, key: $key:ident,
            feature: $feature:expr,
            $runtime_path:literal, $gateway_path:literal;
    )+) => {
        /// What can be asked of a runtime. Each name is that of a capability, and what a
        /// [`Policy`](super::super::policy::Policy) is asked about.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Operation {
            $(
                #[doc = $summary]
                $(#[$more])*
                $operation,
            )+
        }

        impl Operation {
            /// Every operation, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$operation),+];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$operation => const { &Row {
                        name: $name,
                        #[cfg(feature = "pages")]
                        summary: $summary.trim_ascii(),
                        verb: Verb::$verb,
                        effect: Effect::$effect,
                        body: Body::$body,
                        key: Key::$key,
                        feature: $feature,
                        runtime_path: Template::new($runtime_path),
                        gateway_path: Template::new($gateway_path),
                    } },)+
                }
            }
        }
    };
}

operations! {
    /// What the runtime says of itself.
    ReadRuntime = "read_runtime", Get, Read, body: None, key: None,
        feature: None,
        "/v1/runtime", "/api/runtimes/{runtime_id}";

    /// The workers of a runtime, all or some.
    ListWorkers = "list_workers", Get, Read, body: None, key: None,
        feature: None,
        "/v1/workers", "/api/runtimes/{runtime_id}/workers";

    /// One worker.
    GetWorker = "get_worker", Get, Read, body: None, key: None,
        feature: None,
        "/v1/workers/{worker_id}", "/api/runtimes/{runtime_id}/workers/{worker_id}";

    /// A new worker.
    CreateWorker = "create_worker", Post, Once, body: Json, key: Optional,
        feature: None,
        "/v1/workers", "/api/runtimes/{runtime_id}/workers";

    /// Input for a worker, or the end of its input.
    SendInput = "send_input", Post, Once, body: Json, key: Optional,
        feature: None,
        "/v1/workers/{worker_id}/input", "/api/runtimes/{runtime_id}/workers/{worker_id}/input";

    /// A worker is told to end.
    StopWorker = "stop_worker", Post, Idempotent, body: Json, key: None,
        feature: None,
        "/v1/workers/{worker_id}/stop", "/api/runtimes/{runtime_id}/workers/{worker_id}/stop";

    /// A worker is made to end.
    CancelWorker = "cancel_worker", Post, Idempotent, body: Json, key: None,
        feature: None,
        "/v1/workers/{worker_id}/cancel", "/api/runtimes/{runtime_id}/workers/{worker_id}/cancel";

    /// A page of a worker's transcript.
    ReadTranscript = "read_transcript", Get, Read, body: None, key: None,
        feature: None,
        "/v1/workers/{worker_id}/transcript", "/api/runtimes/{runtime_id}/workers/{worker_id}/transcript";

    /// A worker's stream, which is no [`Command`](super::Command): a [`Watch`](super::super::watch::Watch) carries it.
    ObserveEvents = "observe_events", Get, Read, body: None, key: None,
        feature: None,
        "/v1/workers/{worker_id}/events/ws", "/api/runtimes/{runtime_id}/workers/{worker_id}/events/ws";

    /// What a worker is doing ends, and the worker does not.
    InterruptWorker = "interrupt_worker", Post, Once, body: Json, key: Optional,
        feature: Some(Feature::Interrupt),
        "/v1/workers/{worker_id}/interrupt", "/api/runtimes/{runtime_id}/workers/{worker_id}/interrupt";

    /// The terminal of a worker gets another size.
    ResizeWorker = "resize_worker", Post, Idempotent, body: Json, key: None,
        feature: Some(Feature::Terminal),
        "/v1/workers/{worker_id}/resize", "/api/runtimes/{runtime_id}/workers/{worker_id}/resize";

    /// A worker whose runtime went away is taken up again.
    ResumeWorker = "resume_worker", Post, Once, body: Json, key: None,
        feature: Some(Feature::Resume),
        "/v1/workers/{worker_id}/resume", "/api/runtimes/{runtime_id}/workers/{worker_id}/resume";

    /// The runtime forgets a worker that has ended.
    RemoveWorker = "remove_worker", Delete, Idempotent, body: None, key: None,
        feature: Some(Feature::Remove),
        "/v1/workers/{worker_id}", "/api/runtimes/{runtime_id}/workers/{worker_id}";

    /// The open requests of one worker.
    ListRequests = "list_requests", Get, Read, body: None, key: None,
        feature: Some(Feature::Requests),
        "/v1/workers/{worker_id}/requests", "/api/runtimes/{runtime_id}/workers/{worker_id}/requests";

    /// The open requests of all workers of a runtime.
    ListAllRequests = "list_all_requests", Get, Read, body: None, key: None,
        feature: Some(Feature::Requests),
        "/v1/requests", "/api/runtimes/{runtime_id}/requests";

    /// An answer to a request. The first counts, and the same again is answered as the first time.
    AnswerRequest = "answer_requests", Post, Idempotent, body: Json, key: Optional,
        feature: Some(Feature::Requests),
        "/v1/workers/{worker_id}/requests/{request_id}",
        "/api/runtimes/{runtime_id}/workers/{worker_id}/requests/{request_id}";

    /// The profiles that workers can be made of.
    ListProfiles = "list_profiles", Get, Read, body: None, key: None,
        feature: Some(Feature::Profiles),
        "/v1/profiles", "/api/runtimes/{runtime_id}/profiles";
}

/// The two ends at which a path is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    /// A runtime's, `/v1`.
    Runtime,
    /// A gateway's, `/api`.
    Gateway,
}

/// What a path stands for that has not the method.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OtherMethods {
    /// The methods that it has, as an `Allow` header of the wire lists them.
    pub(crate) allow: &'static str,
}

impl Operation {
    /// The name of the capability, and for a policy.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// One line about it: the first of its documentation.
    #[cfg(feature = "pages")]
    pub(crate) fn summary(self) -> &'static str {
        self.row().summary
    }

    /// Whether it changes anything, so that a failure has an [`Outcome`](crate::error::Outcome).
    pub fn changes_something(self) -> bool {
        self.row().effect != Effect::Read
    }

    /// Whether doing it twice is the same as doing it once, without a key.
    pub fn is_idempotent(self) -> bool {
        self.row().effect != Effect::Once
    }

    /// The feature without which a runtime does not have the operation.
    pub fn feature(self) -> Option<Feature> {
        self.row().feature
    }

    /// Whether a request may have an `Idempotency-Key`.
    pub(crate) fn takes_key(self) -> bool {
        self.row().key == Key::Optional
    }

    /// Whether a request may have a body.
    pub(crate) fn takes_body(self) -> bool {
        self.row().body != Body::None
    }

    /// The method of a request.
    pub(crate) fn method(self) -> Method {
        match self.row().verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Delete => Method::DELETE,
        }
    }

    /// The path of a request, with names in braces for ids.
    pub(crate) fn path(self, wire: Wire) -> Template {
        match wire {
            Wire::Runtime => self.row().runtime_path,
            Wire::Gateway => self.row().gateway_path,
        }
    }

    /// The route of v1 that a request is for, as the documentation writes it: fit for logs and metrics, whatever the
    /// request.
    pub fn route_of_v1(method: &Method, path: &str) -> Option<&'static str> {
        let of = |operation: Self| operation.path(Wire::Runtime);
        let observed = of(Self::ObserveEvents);
        if observed.captures(path, path.matches('/').count()).is_some() {
            return Some(observed.as_str());
        }
        let (operation, _) = Self::find(Wire::Runtime, method, path)?.ok()?;
        Some(of(operation).as_str())
    }

    /// The command that a request with this method and path carries; `None` where there is no such path.
    pub(crate) fn find<'p>(
        wire: Wire,
        method: &Method,
        path: &'p str,
    ) -> Option<Result<(Self, Captures<'p>), OtherMethods>> {
        let verb = match *method {
            Method::GET | Method::HEAD => Some(Verb::Get),
            Method::POST => Some(Verb::Post),
            Method::DELETE => Some(Verb::Delete),
            _ => None,
        };
        let slashes = path.bytes().filter(|byte| *byte == b'/').count();
        let commands = Self::ALL.iter().filter(|operation| **operation != Self::ObserveEvents);
        let mut others = Vec::new();
        for operation in commands {
            let Some(captures) = operation.path(wire).captures(path, slashes) else { continue };
            match Some(operation.row().verb) == verb {
                true => return Some(Ok((*operation, captures))),
                false => others.push(operation.row().verb),
            }
        }
        let has = |verb| others.contains(&verb);
        let allow = allow(wire, has(Verb::Get), has(Verb::Post), has(Verb::Delete));
        (!others.is_empty()).then_some(Err(OtherMethods { allow }))
    }
}

/// The methods of a path, as each wire has always written them.
fn allow(wire: Wire, get: bool, post: bool, delete: bool) -> &'static str {
    let [spaced, close] = match (get, post, delete) {
        (true, false, false) => ["GET, HEAD", "GET,HEAD"],
        (true, true, false) => ["GET, HEAD, POST", "GET,HEAD,POST"],
        (true, false, true) => ["GET, HEAD, DELETE", "GET,HEAD,DELETE"],
        (true, true, true) => ["GET, HEAD, POST, DELETE", "GET,HEAD,POST,DELETE"],
        (false, true, false) => ["POST", "POST"],
        (false, false, true) => ["DELETE", "DELETE"],
        (false, true, true) => ["POST, DELETE", "POST,DELETE"],
        (false, false, false) => ["", ""],
    };
    match wire {
        Wire::Gateway => spaced,
        Wire::Runtime => close,
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
