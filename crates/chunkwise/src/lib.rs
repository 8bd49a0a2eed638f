//! A datacube engine for Zarr.

pub mod chunk;
pub mod compare;
pub mod create;
pub mod error;
pub mod exec;
pub mod job;
pub mod memory;
pub mod open;
pub mod sink;
pub mod store;
pub mod write;
