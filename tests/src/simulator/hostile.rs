//! A runtime that does what it likes, and tells what it knows to everybody who will listen.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use sekisho_core::runtime_api::Command;
use sekisho_core::transport::{FailureCause, Loss};

use super::chance::Chance;
use super::guise::Secrets;
use super::scripted::worker_name;

/// How many frames a stream has that does not want to end.
const ENDLESS: u32 = 40;

/// How many tokens it remembers of those that it was shown: the gateway knows the present one and the one before.
const REMEMBERED: usize = 2;

/// The runtime.
pub(super) struct Hostile {
    runtime_id: String,
    chance: Chance,
    secrets: Secrets,
    /// What it was shown, and which tokens every gateway knows: a gateway cannot hide what it has never been told.
    tokens: VecDeque<String>,
    known: Vec<usize>,
    paths: VecDeque<String>,
    events: u32,
    subscriptions: BTreeMap<u32, Subscription>,
    subscribed: u32,
}

struct Subscription {
    worker: usize,
    script: VecDeque<Utterance>,
}

/// What a stream of its says next.
pub(super) enum Utterance {
    Frame(Bytes),
    Lost(Loss),
}

/// What it answers a command with.
pub(super) enum Answer {
    Response(Response<Bytes>),
    Failure(FailureCause),
    /// Nothing at all.
    Silence,
    /// One that comes when it is certain, under this number.
    Later(u64),
}

impl Hostile {
    pub(super) fn new(runtime_id: String, chance: Chance, secrets: Secrets) -> Self {
        Self {
            runtime_id,
            chance,
            secrets,
            tokens: VecDeque::new(),
            known: vec![0],
            paths: VecDeque::new(),
            events: 0,
            subscriptions: BTreeMap::new(),
            subscribed: 0,
        }
    }

    /// Every gateway knows the tokens with these numbers.
    pub(super) fn set_known(&mut self, known: Vec<usize>) {
        self.known = known;
    }

    pub(super) fn handle(&mut self, request: &Request<Bytes>) -> Answer {
        self.look_at(request);
        let choice = self.chance.below(16);
        let failure = |cause| Answer::Failure(cause);
        match choice {
            0 => failure(FailureCause::TooLarge),
            1 => failure(FailureCause::CutShort),
            2 => failure(FailureCause::NotHttp),
            3 => Answer::Silence,
            4 => {
                let texts = ["{", "", "[]", "null", r#"{"ack":{}}"#, "\u{0}"];
                let text = self.chance.pick(&texts);
                Answer::Response(self.respond(200, format!("{text}{}", self.secrets.base_url)))
            }
            5 => {
                let mut body = format!("<html>{}", self.secrets.authority).into_bytes();
                body.push(0xFF);
                Answer::Response(self.respond(200, body))
            }
            6..11 => {
                let fault =
                    format!(r#"{{"error":{{"code":"{}","message":"{}"}}}}"#, self.leak(), self.leak());
                let status = self.chance.pick(&[302, 307, 400, 401, 403, 404, 409, 413, 429, 500, 503, 999]);
                Answer::Response(self.respond(status, fault))
            }
            _ => {
                let body = self.reply(request);
                Answer::Response(self.respond(200, body))
            }
        }
    }

    fn look_at<B>(&mut self, request: &Request<B>) {
        let authorization = request.headers().get(header::AUTHORIZATION);
        let token = authorization.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        for (seen, known) in [(token, &mut self.tokens), (Some(request.uri().path()), &mut self.paths)] {
            let Some(seen) = seen else { continue };
            known.retain(|known| known != seen);
            known.push_back(seen.to_owned());
            if known.len() > REMEMBERED {
                known.pop_front();
            }
        }
    }

    /// A response with what it knows in its headers, too.
    fn respond(&mut self, status: u16, body: impl Into<Bytes>) -> Response<Bytes> {
        let mut response = Response::new(body.into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        let mut tell = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        tell(header::LOCATION, &self.secrets.base_url);
        tell(header::SERVER, &self.secrets.authority);
        tell(header::SET_COOKIE, self.tokens.back().map_or("", String::as_str));
        match self.chance.below(6) {
            0 => tell(header::RETRY_AFTER, "2"),
            1 => tell(header::RETRY_AFTER, &self.secrets.host),
            2 => tell(header::RETRY_AFTER, "99999999999"),
            _ => {}
        }
        response
    }

    /// A piece of what it knows, in some disguise, fit to stand in a JSON string.
    fn leak(&mut self) -> String {
        let secrets = &self.secrets;
        let may_tell = |token: &&String| {
            secrets
                .tokens
                .iter()
                .position(|it| it == *token)
                .is_none_or(|number| self.known.contains(&number))
        };
        let known =
            |known: &VecDeque<String>, back: usize| known.iter().rev().filter(may_tell).nth(back).cloned();
        let piece = match self.chance.below(9) {
            0 => secrets.base_url.clone(),
            1 => secrets.authority.clone(),
            2 => secrets.host.clone(),
            3 => format!(":{}", secrets.port),
            4 => format!("{}/v1/workers?x=1", secrets.base_url),
            5 => known(&self.tokens, 1).or(known(&self.tokens, 0)).unwrap_or_default(),
            6 => known(&self.paths, 0).unwrap_or_default(),
            _ => known(&self.tokens, 0).map(|token| format!("Bearer {token}")).unwrap_or_default(),
        };
        let disguise = self.chance.below(8);
        let mut leak = self.chance.pick(&["", "see ", "at\\n", "100% "]).to_owned();
        leak += &match disguise {
            0..3 => json(&piece),
            3 => piece.chars().map(|character| format!("\\u{:04X}", u32::from(character))).collect(),
            4 => json(&piece).replace('/', "\\/"),
            5 => percent(&piece),
            6 => percent(&percent(&piece)),
            _ => json(&json(&piece)),
        };
        leak += self.chance.pick(&["", ".", " and more", "\\\""]);
        leak
    }

    /// A reply of the right shape, or nearly so, full of what it knows.
    fn reply(&mut self, request: &Request<Bytes>) -> String {
        let (a, b, c) = (self.leak(), self.leak(), self.leak());
        let own = self.runtime_id.clone();
        let command = Command::from_request(&unprefixed(request, &self.secrets.prefix));
        let asked = command.as_ref().ok().and_then(Command::worker_id).map(ToString::to_string);
        let worker = match self.chance.below(8) {
            0 => a.clone(),
            1 => "worker-99999999".into(),
            _ => asked.unwrap_or_else(|| worker_name(0)),
        };
        let runtime = if self.chance.one_in(8) { b.clone() } else { own };
        let named = format!(r#""worker_ref":{{"runtime_id":"{runtime}","worker_id":"{worker}"}}"#);
        let both = format!(r#"{named},"runtime_id":"{runtime}","worker_id":"{worker}""#);
        let made = format!(
            r#""status":"running","intent":{{"kind":"task","objective":"{a}"}},"profile":{{"kind":"named","value":"{b}"}}"#
        );
        match command {
            Ok(Command::Runtime) => format!(
                r#"{{"runtime":{{"runtime_id":"{runtime}","display_name":"{a}","backend":"{b}","status":"{c}","worker_count":1,"active_worker_count":1,"stopped_worker_count":0,"cancelled_worker_count":0,"diagnostic_count":0,"limits":{{"max_transcript_projection_items":1,"max_event_batch_items":1}},"features":["{c}","idempotency"],"incarnation":"{a}"}}}}"#
            ),
            Ok(Command::Workers(_)) => format!(
                r#"{{"workers":[{{{both},{made},"requested_capability_count":1,"has_config_bundle":true,"transcript_len":1,"last_event_id":1}}]}}"#
            ),
            Ok(Command::Worker(_) | Command::Create { .. }) => format!(
                r#"{{"worker":{{{both},{made},"config_bundle":{{"id":"{c}"}},"requested_capabilities":[{{"name":"{a}","reason":"{c}"}}],"workspace_refs":[{{"name":"{c}","reference":"{b}"}}],"mount_refs":[{{"name":"{a}","reference":"{b}"}}],"transcript_len":1,"last_event_id":1}}}}"#
            ),
            Ok(Command::Input { .. }) => {
                format!(r#"{{"ack":{{{named},"status":"running","transcript_sequence":1,"event_id":1}}}}"#)
            }
            Ok(Command::Stop { .. } | Command::Cancel { .. }) => {
                format!(r#"{{"ack":{{{named},"status":"{c}","event_id":1}}}}"#)
            }
            _ => format!(
                r#"{{"transcript":{{{named},"start":0,"limit":9,"total_items":1,"items":[{{"sequence":1,{named},"role":"{a}","content":"{b} {c}","event_id":1}}],"next_start":null}}}}"#
            ),
        }
    }

    // ---- Its streams.

    #[expect(clippy::result_large_err, reason = "a response is what it is, and is moved once")]
    pub(super) fn observe(&mut self, request: &Request<()>, worker: usize) -> Result<u32, Response<Bytes>> {
        self.look_at(request);
        if self.chance.one_in(8) {
            let fault = format!(r#"{{"error":{{"code":"{}","message":"{}"}}}}"#, self.leak(), self.leak());
            let status = self.chance.pick(&[200, 302, 401, 404, 429, 500, 503]);
            return Err(self.respond(status, fault));
        }
        let mut script = VecDeque::new();
        let place = request.uri().query().and_then(|query| query.strip_prefix("cursor="));
        match self.chance.below(12) {
            0 => script.push_back(self.event(worker, false)),
            1 => script.push_back(Utterance::Frame(self.leak().into())),
            2 => script.push_back(Utterance::Lost(Loss::TooLarge)),
            _ => match place {
                // Percent-encoded, which such a place is not: it is made of letters and digits.
                Some(place) if !self.chance.one_in(4) => {
                    let place = place.to_owned();
                    script.push_back(self.frame(worker, &format!("snapshot:{place}"), &place));
                }
                _ => script.push_back(self.event(worker, true)),
            },
        }
        let said = match self.chance.below(6) {
            0 => ENDLESS,
            _ => u32::try_from(self.chance.below(6)).unwrap_or_default(),
        };
        for _ in 0..said {
            let utterance = self.utterance(worker);
            script.push_back(utterance);
        }
        self.subscribed += 1;
        self.subscriptions.insert(self.subscribed, Subscription { worker, script });
        Ok(self.subscribed)
    }

    fn utterance(&mut self, worker: usize) -> Utterance {
        match self.chance.below(30) {
            0 => self.frame(worker, "an event", "a place"),
            1 => self.event(99, false),
            2 => Utterance::Lost(Loss::Malformed),
            3 => Utterance::Lost(Loss::Ended),
            4 => {
                let place = self.leak();
                self.frame(worker, &place, &place)
            }
            5..8 => {
                let codes =
                    ["unavailable", "cursor_expired", "cursor_unknown_or_expired", "worker_not_found", "new"];
                let code = self.chance.pick(&codes);
                let message = self.leak();
                Utterance::Frame(
                    format!(r#"{{"kind":"diagnostic","diagnostic":{{"code":"runtime.{code}","message":"{message}"}}}}"#)
                        .into(),
                )
            }
            _ => self.event(worker, false),
        }
    }

    fn event(&mut self, worker: usize, is_snapshot: bool) -> Utterance {
        self.events += 1 + u32::from(self.chance.one_in(3));
        let place = format!("h{}", self.events);
        let prefix = if is_snapshot { "snapshot:" } else { "" };
        self.frame(worker, &format!("{prefix}{place}"), &place)
    }

    fn frame(&mut self, worker: usize, event_id: &str, place: &str) -> Utterance {
        let (key, text, more) = (self.leak(), self.leak(), self.leak());
        let name = worker_name(worker);
        Utterance::Frame(
            format!(r#"{{"kind":"event","envelope":{{"cursor":"{place}","event_id":"{event_id}","worker_id":"{name}","payload":{{"event":"text_delta","data":{{"{key}":"{text}","more":["{more}"]}}}}}}}}"#)
                .into(),
        )
    }

    /// Something more is said to all who listen.
    pub(super) fn publish(&mut self, worker: usize) {
        let utterance = match self.utterance(worker) {
            Utterance::Frame(frame) => frame,
            Utterance::Lost(_) => return,
        };
        for subscription in self.subscriptions.values_mut().filter(|it| it.worker == worker) {
            subscription.script.push_back(Utterance::Frame(utterance.clone()));
        }
    }

    pub(super) fn read(&mut self, subscription: u32) -> Option<Utterance> {
        self.subscriptions.get_mut(&subscription)?.script.pop_front()
    }

    pub(super) fn unsubscribe(&mut self, subscription: u32) {
        self.subscriptions.remove(&subscription);
    }
}

/// The request as it is behind the proxy that the base URL's path stands for.
pub(super) fn unprefixed<B: Clone>(request: &Request<B>, prefix: &str) -> Request<B> {
    let mut request = request.clone();
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    if let Some(Ok(uri)) = path.strip_prefix(prefix).map(str::parse) {
        *request.uri_mut() = uri;
    }
    request
}

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

fn percent(text: &str) -> String {
    let digit = |nibble: u8| char::from(b"0123456789ABCDEF"[usize::from(nibble)]);
    text.bytes().flat_map(|byte| ['%', digit(byte >> 4), digit(byte & 15)]).collect()
}
