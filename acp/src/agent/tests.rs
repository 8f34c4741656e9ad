//! The machine with an agent of a few lines.

mod bench;
mod bounds;
mod properties;
mod requests;
mod resume;
mod start;
mod turns;
