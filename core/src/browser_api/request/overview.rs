//! What is asked of the gateway itself, or of all runtimes.

use http::Method;
use http::request::Parts;

use super::{Action, AllWorkers, Step, invalid};
#[cfg(feature = "pages")]
use crate::browser_api::asset::Asset;
use crate::error::{Error, ErrorKind};
use crate::query::{self, QueryError};
use crate::runtime_api::WorkerFilter;

/// A route that is about no single runtime.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::browser_api) enum Overview {
    /// Whether the process lives.
    Live,
    /// The same, under the name that older probes ask for.
    Health,
    /// Whether the gateway takes requests: not while it drains.
    Ready,
    /// What the gateway counts, for Prometheus.
    Metrics,
    /// Every configured runtime, reachable or not.
    Runtimes,
    /// The workers of all runtimes.
    Workers,
    /// The open requests of all workers of all runtimes, oldest first.
    Requests,
}

impl Overview {
    pub(in crate::browser_api) const ALL: [Self; 7] =
        [Self::Live, Self::Health, Self::Ready, Self::Metrics, Self::Runtimes, Self::Workers, Self::Requests];

    pub(in crate::browser_api) const fn path(self) -> &'static str {
        match self {
            Self::Live => "/livez",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::Runtimes => "/api/runtimes",
            Self::Workers => "/api/workers",
            Self::Requests => "/api/requests",
        }
    }

    fn action(self, query: Option<&str>) -> Result<Action, QueryError> {
        let action = match self {
            Self::Workers => return all_workers(query).map(Action::AllWorkers),
            Self::Live | Self::Health => Action::Health,
            Self::Ready => Action::Ready,
            Self::Metrics => Action::Metrics,
            Self::Runtimes => Action::Runtimes,
            Self::Requests => Action::AllRequests,
        };
        query::parameters(query, []).map(|[]| action)
    }
}

const READ: &str = "GET, HEAD";

/// What a request asks for whose path is constant; `None` where there is no such path.
pub(super) fn read(head: &Parts) -> Option<Result<(&'static str, Step), Error>> {
    let path = head.uri.path();
    let query = head.uri.query();
    let overview = Overview::ALL.into_iter().find(|overview| overview.path() == path);
    let found = overview.map(|overview| (overview.path(), overview.action(query)));
    #[cfg(feature = "pages")]
    let found = found.or_else(|| {
        let asset = Asset::ALL.into_iter().find(|asset| asset.path() == path)?;
        Some((asset.path(), query::parameters(query, []).map(|[]| Action::Asset(asset))))
    });
    let (template, action) = found?;
    if !matches!(head.method, Method::GET | Method::HEAD) {
        return Some(Err(Error::new(ErrorKind::MethodNotAllowed { allow: READ })));
    }
    Some(action.map(|action| (template, Step::Whole(action))).map_err(invalid))
}

fn all_workers(query: Option<&str>) -> Result<AllWorkers, QueryError> {
    let (filter, after) = WorkerFilter::from_query(query)?;
    let after = after.map(|after| after.parse()).transpose();
    let expected = "a runtime's id, a slash, and a worker's id";
    let after = after.map_err(|_| QueryError::Other { name: "after", expected })?;
    Ok(AllWorkers { filter, after })
}
