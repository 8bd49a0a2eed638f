//! The engine's promises: the same bits whatever the schedule, bounded feeds, and plans that say what runs do.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests too")]

mod append;
mod explain;
mod fixture;
mod offset_box;
mod parts;
mod polled;
mod processes;
mod same_bits;
