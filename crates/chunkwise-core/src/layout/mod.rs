//! How an array is cut into chunks, and what that makes of questions asked of it.

mod access;
mod advice;

pub use access::{Access, ArrayLayout, Ask, AxisRole, Extent, Placement, accesses, roles};
pub use advice::{Advice, advice};
