//! Writing: new cubes, and cells of cubes that exist.

mod array;
pub(crate) mod block;
mod cube;
mod error;
mod group;
mod journal;
mod labels;
mod lock;
mod outbox;
mod place;
mod region;
mod shard;

pub use crate::codec::{BadCodec, BloscName, CodecChoice, Compression, Filter, Shuffle};
pub use array::{ArraySpec, ArrayWriter, ZarrVersion};
pub use cube::{CubeWriter, Existing, Output, Written};
pub use error::WriteError;
pub(crate) use group::tell_ancestors;
pub(crate) use group::{exists_at as exists, shape_of};
pub use journal::{Found, InputIdentity, JOURNAL, Journal, JournalHead, unfinished};
pub use labels::labels_to_array;
pub(crate) use lock::{ObjectLock, tidy};
pub(crate) use place::cube_of;
pub use place::{Place, lies_within, same_place};
pub(crate) use region::Grown;
pub use region::{Partial, RegionError, RegionOptions, RegionWritten, write_region};
