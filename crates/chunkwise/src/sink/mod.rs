//! Where finished columns go.

pub mod anomaly;
pub mod memory;
pub mod offset;
pub mod zarr;
