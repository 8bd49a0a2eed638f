//! Where finished columns go.

pub mod anomaly;
pub mod blocks;
pub mod histogram;
pub mod memory;
pub mod offset;
pub mod stored;
pub mod zarr;
