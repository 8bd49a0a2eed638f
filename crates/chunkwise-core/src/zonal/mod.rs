//! Zones: which cells of a grid a polygon covers, by how much, and statistics of the cells of each zone.

mod coverage;
pub mod polygon;
pub mod tally;

pub use coverage::{Cover, Rows, Touch, cover};
pub use polygon::{Part, Polygon, Ring};
pub use tally::{Tally, Weighting, ZonalStatistic};
