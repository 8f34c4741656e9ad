//! Through a server.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sekisho_config::{DEFAULT_LISTEN, TokenFile, trusting_file, trusting_the_system};
use sekisho_core::browser_api::Action;
use sekisho_core::gateway_client::{
    self, FleetEvent, GATEWAY_TIMEOUT, GATEWAY_UNREACHABLE, Gateway, GatewayEvent, NOT_A_GATEWAY, Problem,
    Subject,
};
use sekisho_core::id::{RuntimeId, WorkerRef};
use sekisho_core::secret::{BaseUrl, Token};
use sekisho_transport_blocking::{Ended, GatewayStreamDriver, HttpClient};

use super::{Backend, Stream, seed};
use crate::args::Global;
use crate::endpoint::endpoint;
use crate::failure::Failure;

const SERVER: &str = "SEKISHO_SERVER";
const ACCESS_TOKEN: &str = "SEKISHO_ACCESS_TOKEN";
const ACCESS_TOKEN_FILE: &str = "SEKISHO_ACCESS_TOKEN_FILE";

/// A server, and what carries requests to it.
pub(crate) struct ThroughServer {
    gateway: Gateway,
    client: Arc<HttpClient>,
    /// Where it is, as the user named it.
    endpoint: String,
    /// What named the access token, if anything did.
    token_source: Option<&'static str>,
}

impl ThroughServer {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let url = match (&global.server, variable(SERVER)) {
            (Some(url), _) => url.clone(),
            (None, Some(url)) => url.parse().map_err(|error| Failure::Usage(format!("{SERVER}: {error}")))?,
            // A constant that is a URL.
            (None, None) => format!("http://{DEFAULT_LISTEN}").parse::<BaseUrl>().expect("a URL"),
        };
        let token = access_token(global)?;
        if token.is_some() && url.exposes_token() && !global.allow_plaintext {
            let reason =
                "the access token would cross the network in the clear: use https, or --allow-plaintext";
            return Err(Failure::Usage(reason.into()));
        }
        let tls = match (&global.ca_file, url.is_https()) {
            (None, false) => None,
            (Some(_), false) => return Err(Failure::Usage("--ca-file: the server is not https".into())),
            (Some(path), true) => {
                let trusted = trusting_file(path);
                Some(trusted.map_err(|error| Failure::Usage(format!("--ca-file: {error}")))?)
            }
            (None, true) => Some(trusting_the_system().map_err(|error| {
                Failure::Usage(format!("--ca-file is needed, as this system's own roots give {error}"))
            })?),
        };
        Ok(Self {
            endpoint: endpoint(&url.target()),
            token_source: token.as_ref().map(|(source, _)| *source),
            gateway: Gateway::new(url, token.map(|(_, token)| token)),
            client: Arc::new(HttpClient::new(tls)),
        })
    }
}

impl Backend for ThroughServer {
    fn ask(&self, action: &Action) -> Result<Bytes, Box<Problem>> {
        gateway_client::answer(action, self.client.exchange(self.gateway.attempt(Instant::now(), action)))
    }

    fn embeds(&self, _: &RuntimeId) -> bool {
        false
    }

    fn hint(&self, problem: &Problem) -> Option<String> {
        match &*problem.code {
            GATEWAY_UNREACHABLE | GATEWAY_TIMEOUT | NOT_A_GATEWAY => {
                Some(format!("the server is {}: --server or {SERVER} names another", self.endpoint))
            }
            "unauthorized" => Some(match self.token_source {
                Some(source) => format!("the access token is the one of {source}"),
                None => format!(
                    "name the access token with --access-token-file, {ACCESS_TOKEN} or {ACCESS_TOKEN_FILE}"
                ),
            }),
            _ => None,
        }
    }

    fn open_stream(
        &self,
        worker: &WorkerRef,
        cursor: Option<String>,
    ) -> Result<Box<dyn Stream>, Box<Problem>> {
        let follow = self.gateway.open_stream(Instant::now(), worker, cursor, seed());
        Ok(Box::new(GatewayStreamDriver::new(follow, self.client.clone())))
    }

    fn open_fleet_stream(&self) -> Box<dyn Stream<FleetEvent>> {
        let follow = self.gateway.open_fleet_stream(Instant::now(), seed());
        Box::new(GatewayStreamDriver::new(follow, self.client.clone()))
    }
}

impl<S: Subject<Event: Send> + Send> Stream<S::Event> for GatewayStreamDriver<S> {
    fn next_until(&mut self, instant: Instant) -> Option<Result<GatewayEvent<S::Event>, Ended>> {
        self.next_event_until(instant)
    }
}

/// The access token, and what named it.
fn access_token(global: &Global) -> Result<Option<(&'static str, Token)>, Failure> {
    let of_file = |name: &'static str, path: &Path| match TokenFile::open(path.to_owned()) {
        Ok((_, token)) => Ok(Some((name, token))),
        Err(error) => Err(Failure::Usage(format!("{name}: {error}"))),
    };
    if let Some(path) = &global.access_token_file {
        return of_file("--access-token-file", path);
    }
    if let Some(token) = variable(ACCESS_TOKEN) {
        let token = token.parse().map_err(|error| Failure::Usage(format!("{ACCESS_TOKEN}: {error}")));
        return token.map(|token| Some((ACCESS_TOKEN, token)));
    }
    match variable(ACCESS_TOKEN_FILE) {
        Some(path) => of_file(ACCESS_TOKEN_FILE, Path::new(&path)),
        None => Ok(None),
    }
}

/// A variable that is there and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
