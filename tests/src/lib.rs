//! What scenarios over real sockets and real processes are made of: a [`client`] that shows every byte, an
//! [`upstream`] that misbehaves as told, and [`processes`] that leave nothing behind.
#![allow(clippy::unwrap_used, reason = "what goes wrong here fails the test")]

pub mod client;
pub mod processes;
pub mod upstream;
