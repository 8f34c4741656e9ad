//! What scenarios over real sockets and real processes are made of: a [`client`] that shows every byte, the [`contract`] that its answers are held
//! against, an
//! [`upstream`], a [`stream_runtime`] and a [`fleet_runtime`] that misbehave as told, a [`viewer`], a [`relay`], and [`processes`] that leave
//! nothing behind; the [`scenarios`] of transports, for each of which a [`scripted`] runtime is the other side; what
//! must hold of any input at all, [`fuzzing`]; a stream under any [schedule](schedules); and the [`simulator`], which has neither sockets nor processes: whole
//! worlds of gateways, runtimes, networks and viewers follow from a seed.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

mod acceptor;
pub mod agent_process;
pub mod browser;
pub mod client;
pub mod contract;
pub mod fleet_runtime;
pub mod follower;
pub mod fuzzing;
pub mod ports;
pub mod processes;
pub mod relay;
pub mod scenarios;
pub mod schedules;
pub mod scripted;
pub mod scripted_agent;
pub mod simulator;
pub mod stream_runtime;
pub mod typescript;
pub mod upstream;
pub mod viewer;
