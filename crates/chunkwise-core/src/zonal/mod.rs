//! Zones: which cells of a grid a polygon covers, and by how much.

mod coverage;
pub mod polygon;

pub use coverage::{Cover, Touch, cover};
pub use polygon::Polygon;
