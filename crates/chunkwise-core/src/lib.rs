//! The pure part of chunkwise: cube model, CF conventions, expressions, plans and statistics.
//!
//! Nothing here touches a file, a network or a thread. The crate `chunkwise` adds stores and execution.

pub mod cf;
pub mod crs;
pub mod cube;
pub mod dtype;
pub mod expr;
pub mod grid;
pub mod group;
pub mod plan;
pub mod select;
pub mod stat;
pub mod values;
