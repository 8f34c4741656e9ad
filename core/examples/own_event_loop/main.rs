//! A gateway inside a program that has an event loop of its own: one thread, the standard library, and a tick every few
//! milliseconds, as a game or a window system has it. On each runtime that is named it makes a worker, says something to
//! it and stops it, on all of them at once.
//!
//! ```sh
//! SEKISHO_TOKEN=$(cat token) cargo run -p sekisho-core --example own_event_loop -- build-box=http://127.0.0.1:7700
//! ```
//!
//! `gateway` is what such a program would take over; this file is the program.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "core has no clock, no threads and no sockets; a program that embeds it has"
)]

mod exchange;
mod gateway;

use std::error::Error as StdError;
use std::thread;
use std::time::{Duration, Instant};

use sekisho_core::error::Error;
use sekisho_core::id::RuntimeId;
use sekisho_core::registry::RuntimeSpec;
use sekisho_core::runtime_api::{
    Command, CreateWorker, Input, InputKind, Intent, Profile, Reason, Reply, WireRef,
};

use gateway::Gateway;

/// How long the loop sleeps between two ticks.
const TICK: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn StdError>> {
    let token = std::env::var("SEKISHO_TOKEN").ok().map(|token| token.parse()).transpose()?;
    let mut specs = Vec::new();
    for argument in std::env::args().skip(1) {
        let (runtime_id, base_url) =
            argument.split_once('=').ok_or("expected RUNTIME_ID=http://HOST:PORT")?;
        specs.push(RuntimeSpec::remote(runtime_id.parse()?, base_url.parse()?, token.clone()));
    }
    let runtime_ids: Vec<_> = specs.iter().map(|spec| spec.runtime_id.clone()).collect();
    let mut gateway = Gateway::new(specs)?;
    for runtime_id in &runtime_ids {
        gateway.begin(Instant::now(), runtime_id, create())?;
    }
    while gateway.is_busy() {
        // Here such a program draws, reads its keyboard, or does whatever else it is for.
        let now = Instant::now();
        for (runtime_id, result) in gateway.tick(now) {
            if let Some(command) = next(&runtime_id, result)? {
                gateway.begin(now, &runtime_id, command)?;
            }
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn create() -> Command {
    let worker = CreateWorker::new(Intent::Assistant { purpose: None }, Profile::RuntimeDefault);
    Command::Create { worker: Box::new(worker), key: None }
}

/// What the program does about the end of a command: the next one, as long as there is one.
fn next(runtime_id: &RuntimeId, result: Result<Reply, Error>) -> Result<Option<Command>, Box<dyn StdError>> {
    Ok(match result {
        Ok(Reply::Worker(worker)) => {
            println!("{runtime_id}/{}: created", worker.worker_id);
            let input = Input::new(InputKind::User, "hello");
            Some(Command::Input { worker_id: worker.worker_id.parse()?, input, key: None })
        }
        Ok(Reply::Input(said)) => {
            let WireRef { worker_id, .. } = said.worker_ref;
            println!("{runtime_id}/{worker_id}: said hello, item {}", said.transcript_sequence);
            let reason = Reason { reason: Some("the example is over".to_owned()) };
            Some(Command::Stop { worker_id: worker_id.parse()?, reason })
        }
        Ok(_) => {
            println!("{runtime_id}: stopped");
            None
        }
        Err(error) => {
            let outcome = error.outcome().map_or("", |outcome| outcome.name());
            println!("{runtime_id}: {} {outcome}: {}", error.kind().code(), error.detail());
            None
        }
    })
}
