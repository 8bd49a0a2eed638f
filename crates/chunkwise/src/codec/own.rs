//! Codecs of one's own: a trait, and the names under which a program registers them.

use super::error::BoxError;
use chunkwise_core::cube::Attrs;
use chunkwise_core::dtype::DType;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

pub use super::step::Size;

/// A codec that this library does not have, for the chunks of one array.
///
/// What it takes is said when it is [`register`]ed: cells (it stands in the place of `bytes`) or bytes (it stands behind).
/// Calls come from many threads at once.
///
/// `examples/custom_codec.rs` packs numbers of 12 bits: two cells in three bytes.
pub trait ChunkCodec: Debug + Send + Sync {
    /// How many bytes so many become once they are encoded. Memory is planned with it, and an encoded chunk that is
    /// larger is refused before it is decoded.
    fn encoded_size(&self, decoded: u64) -> Size;

    /// Appends the encoded form of `decoded` to `out`, which is empty: the same bytes each time. Cells come in C order
    /// and the byte order of this machine.
    ///
    /// # Errors
    /// The cells are such as the codec does not hold.
    fn encode(&self, decoded: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError>;

    /// Appends what [`ChunkCodec::encode`] was given to `out`, which is empty. `size` is what the chunk holds: no more may
    /// be appended, whatever the bytes say, and another number of bytes is an error of the chunk.
    ///
    /// # Errors
    /// The bytes are damaged.
    fn decode(&self, encoded: &[u8], size: Size, out: &mut Vec<u8>) -> Result<(), BoxError>;
}

/// What a codec of one's own takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// The cells of a chunk.
    Cells,
    /// The bytes that another codec made.
    Bytes,
}

/// Why a name cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The library has a codec of this name.
    #[error("`{name}` is a codec that is known already; another name works, such as `example.{name}`")]
    Known {
        /// The name.
        name: String,
    },
    /// The name was registered before.
    #[error("a codec `{name}` is registered already")]
    Twice {
        /// The name.
        name: String,
    },
}

type Make = dyn Fn(&Attrs, DType) -> Result<Box<dyn ChunkCodec>, BoxError> + Send + Sync;

static OWN: RwLock<BTreeMap<String, (Takes, Arc<Make>)>> = RwLock::new(BTreeMap::new());

/// Makes a codec known to this process by the name that arrays are stored with. To be called before such a cube is opened.
///
/// `make` is given the codec's configuration in the metadata and the type of the array's cells; what it refuses, is said
/// when the array is used.
///
/// # Errors
/// The name is that of a codec that is known, or was registered before.
pub fn register(
    name: &str,
    takes: Takes,
    make: impl Fn(&Attrs, DType) -> Result<Box<dyn ChunkCodec>, BoxError> + Send + Sync + 'static,
) -> Result<(), RegisterError> {
    if super::is_known(name) {
        return Err(RegisterError::Known { name: name.to_owned() });
    }
    let mut own = OWN.write().unwrap_or_else(PoisonError::into_inner);
    if own.contains_key(name) {
        return Err(RegisterError::Twice { name: name.to_owned() });
    }
    own.insert(name.to_owned(), (takes, Arc::new(make)));
    Ok(())
}

/// Whether a codec of this name is registered.
pub(super) fn is_registered(name: &str) -> bool {
    OWN.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
}

/// Whether the codec of this name takes cells, and so needs no `bytes` before it.
pub(super) fn takes_cells(name: &str) -> bool {
    let own = OWN.read().unwrap_or_else(PoisonError::into_inner);
    own.get(name).is_some_and(|(takes, _)| *takes == Takes::Cells)
}

/// What a codec takes, and the codec.
type Found = (Takes, Arc<dyn ChunkCodec>);

/// A registered codec, set for an array; `None` where there is none of this name.
pub(super) fn find(name: &str, settings: &Attrs, dtype: Option<DType>) -> Option<Result<Found, BoxError>> {
    let (takes, make) = OWN.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()?;
    let made = dtype.ok_or_else(|| "the cells are no numbers".into()).and_then(|dtype| make(settings, dtype));
    Some(made.map(|codec| (takes, Arc::from(codec))))
}
