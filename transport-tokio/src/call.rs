//! The loop around a call.

use std::time::Instant;

use sekisho_core::call::{Call, CallInput, CallOutput};
use sekisho_core::error::Error;
use sekisho_core::runtime_api::Reply;
use tokio::time::sleep_until;

use crate::transport::Transport;

/// Drives a call to its end. The caller then hands it to [`Registry::finish`], which learns from it.
///
/// [`Registry::finish`]: sekisho_core::registry::Registry::finish
pub async fn drive(call: &mut Call, transport: &Transport) -> Result<Reply, Error> {
    use_changed_token(call, transport);
    loop {
        match call.poll(Instant::now()) {
            CallOutput::Send(attempt) => {
                let report = CallInput::report(attempt.id, transport.exchange(attempt).await);
                // The response may hold a token that has just replaced the one it was asked with.
                use_changed_token(call, transport);
                call.handle(Instant::now(), report);
            }
            CallOutput::RefreshCredential => {
                call.handle(Instant::now(), CallInput::Credential(transport.credential()));
            }
            // An attempt is over when `exchange` returns, so that there is nothing to wait for but time.
            CallOutput::Wait { until, .. } => sleep_until(until.into()).await,
            CallOutput::Done(result) => return result,
        }
    }
}

fn use_changed_token(call: &mut Call, transport: &Transport) {
    let now = Instant::now();
    if let Some(token) = transport.changed_credential(now) {
        call.handle(now, CallInput::Credential(Some(token)));
    }
}
