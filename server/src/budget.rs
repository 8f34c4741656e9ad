//! How much memory requests and responses under way may take together, at all event loops.

use bytes::Bytes;
use http::{Method, Response};
use sekisho_core::browser_api::{MAX_REPLIES, MAX_REQUEST_BODIES, Route};
use sekisho_core::error::Error;
use sekisho_core::memory::{Held, Memory};
use sekisho_core::transport::UNCOUNTED_REPLY;

use crate::reply_body::ReplyBody;

/// The budgets.
#[derive(Clone)]
pub(crate) struct Budget {
    /// For the bodies of requests, until they are answered.
    requests: Memory,
    /// For the responses of runtimes, while they are read.
    upstream: Memory,
    /// For responses, until they are written.
    responses: Memory,
}

impl Default for Budget {
    fn default() -> Self {
        let memory = Memory::new;
        Self {
            requests: memory(MAX_REQUEST_BODIES),
            upstream: memory(MAX_REPLIES),
            responses: memory(MAX_REPLIES),
        }
    }
}

impl Budget {
    pub(crate) fn upstream(&self) -> &Memory {
        &self.upstream
    }

    /// How many bytes are held, and of what.
    pub(crate) fn held(&self) -> [(&'static str, usize); 3] {
        let Self { requests, upstream, responses } = self;
        [("requests", requests.held()), ("upstream", upstream.held()), ("responses", responses.held())]
    }

    /// Room for the body of a request of up to so many bytes.
    pub(crate) fn admit(&self, method: &Method, bytes: usize) -> Result<Held, Error> {
        self.requests.try_hold(bytes).ok_or_else(|| Route::no_room(method))
    }

    /// A response that counts until it is written. Where there is no room for it, the client of a read is told to come
    /// back; what has changed something is told in any case.
    pub(crate) fn count(
        &self,
        method: &Method,
        response: Response<Bytes>,
    ) -> Result<Response<ReplyBody>, Error> {
        let bytes = response.body().len().saturating_sub(UNCOUNTED_REPLY);
        if bytes == 0 {
            return Ok(response.map(ReplyBody::whole));
        }
        let held = match method.is_safe() {
            true => self.responses.try_hold(bytes).ok_or_else(|| Route::no_room(method))?,
            false => self.responses.hold(bytes),
        };
        Ok(response.map(|body| ReplyBody::counted(body, held)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use sekisho_core::error::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn responses_count_until_they_are_taken() {
        let budget = Budget { responses: Memory::new(100), ..Budget::default() };
        let count = |method, bytes| budget.count(&method, Response::new(vec![b'x'; bytes].into()));
        let small = count(Method::GET, UNCOUNTED_REPLY).unwrap();
        assert_eq!(budget.responses.held(), 0);
        let large = count(Method::GET, UNCOUNTED_REPLY + 100).unwrap();
        assert_eq!(count(Method::GET, UNCOUNTED_REPLY + 1).err().unwrap().kind(), ErrorKind::GatewayBusy);
        let told = count(Method::POST, UNCOUNTED_REPLY + 1).unwrap();
        assert_eq!(budget.responses.held(), 101);
        let taken = large.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((taken.len(), budget.responses.held()), (UNCOUNTED_REPLY + 100, 1));
        drop((small, told));
        assert_eq!(budget.responses.held(), 0);
    }

    #[test]
    fn there_is_room_again_once_requests_are_answered() {
        let budget = Budget { requests: Memory::new(100), ..Budget::default() };
        let held = budget.admit(&Method::POST, 100).unwrap();
        let error = budget.admit(&Method::POST, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GatewayBusy);
        assert!(error.retry_after().is_some());
        drop(held);
        assert!(budget.admit(&Method::POST, 100).is_ok());
    }
}
