//! core
#![forbid(unsafe_code)]
mod backoff;
pub mod browser_api;
pub mod call;
pub mod error;
pub mod id;
pub mod policy;
mod query;
pub mod registry;
pub mod runtime_api;
pub mod secret;
