//! The loop around a call.

use std::future::pending;
use std::pin::pin;
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
    let mut under_way = pin!(None);
    loop {
        match call.poll(Instant::now()) {
            CallOutput::Send(attempt) => {
                let id = attempt.id;
                under_way.set(Some(async move { CallInput::report(id, transport.exchange(attempt).await) }));
            }
            CallOutput::RefreshCredential => {
                call.handle(Instant::now(), CallInput::Credential(transport.credential()));
            }
            CallOutput::Wait { until, .. } => {
                let report = async {
                    match under_way.as_mut().as_pin_mut() {
                        Some(attempt) => attempt.await,
                        None => pending().await,
                    }
                };
                let report = tokio::select! {
                    biased;
                    report = report => report,
                    () = sleep_until(until.into()) => continue,
                };
                under_way.set(None);
                let now = Instant::now();
                // The response may hold a token that has just replaced the one it was asked with.
                if let Some(token) = transport.changed_credential(now) {
                    call.handle(now, CallInput::Credential(Some(token)));
                }
                call.handle(now, report);
            }
            CallOutput::Done(result) => return result,
        }
    }
}
