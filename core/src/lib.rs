//! core
#![forbid(unsafe_code)]
pub mod error;
pub mod id;
mod query;
pub mod runtime_api;
pub mod secret;
