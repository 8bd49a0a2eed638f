//! The pure part of chunkwise: cube model, CF conventions, expressions, plans and statistics.
//!
//! Nothing here touches a file, a network or a thread. The crate `chunkwise` adds stores and execution.
//!
//! A request becomes a [`plan::Stage`]: one walk over the chunks of some arrays. A stage knows what it costs, cuts itself
//! into partitions, and says for each *leaf* (a chunk clipped to the selection) which output cells it folds into. States
//! ([`stat::state::State`]) are columns that fold leaves in order and merge in a tree whose shape the data define
//! ([`stat::tree`]), so that no schedule changes a bit of a result.
//!
//! ```
//! use chunkwise_core::dtype::DType;
//! use chunkwise_core::stat::finish::{Finish, finish};
//! use chunkwise_core::stat::map::{CellMap, MapDim, To};
//! use chunkwise_core::stat::state::State;
//! use chunkwise_core::stat::{Leaf, Statistic};
//! use chunkwise_core::cube::Packing;
//!
//! // Two steps in time of three cells, the last of which is never valid.
//! let map = CellMap::new(&[MapDim { len: 2, to: To::One }, MapDim { len: 3, to: To::Keep { stride: 1 } }], 3, 0);
//! let mut state = State::empty(Statistic::Mean.state(Packing::NONE), DType::Float32, 3, 2);
//! state.fold(Leaf { values: &[1.0f32, 2.0, f32::NAN, 3.0, f32::NAN, f32::NAN], mask: None }, &map);
//! let mean = finish(Statistic::Mean, &state, Finish { packing: Packing::NONE, ddof: 0, min_count: 1 }, &|_| 2)?;
//! assert_eq!((mean.values.f64_at(0), mean.values.f64_at(1), mean.is_valid(2)), (2.0, 2.0, false));
//! # Ok::<(), chunkwise_core::stat::finish::FinishError>(())
//! ```

pub mod cf;
pub mod crs;
pub mod cube;
pub mod dtype;
pub mod expr;
pub mod grid;
pub mod group;
pub mod layout;
pub mod plan;
pub mod select;
pub mod stat;
pub mod values;
pub mod zonal;
