//! `pcodec`: numbers packed by their distribution, unpacked into the room that their chunk has.

use super::error::BoxError;
use chunkwise_core::dtype::{DType, Element};
use pco::data_types::Number;

/// Unpacks as many numbers of a type as `bytes` of room hold; `None` where there are more or fewer.
pub(super) fn unpack(dtype: DType, packed: &[u8], bytes: usize) -> Result<Option<Vec<u8>>, BoxError> {
    match dtype {
        DType::Int16 => numbers::<i16>(packed, bytes),
        DType::Int32 => numbers::<i32>(packed, bytes),
        DType::Int64 => numbers::<i64>(packed, bytes),
        DType::UInt16 => numbers::<u16>(packed, bytes),
        DType::UInt32 => numbers::<u32>(packed, bytes),
        DType::UInt64 => numbers::<u64>(packed, bytes),
        DType::Float16 => numbers::<half::f16>(packed, bytes),
        DType::Float32 => numbers::<f32>(packed, bytes),
        DType::Float64 => numbers::<f64>(packed, bytes),
        DType::Bool | DType::Int8 | DType::UInt8 => Err(format!("it does not hold the type `{dtype}`").into()),
    }
}

/// Whether the codec holds numbers of a type.
pub(super) fn holds(dtype: DType) -> bool {
    dtype.size() > 1
}

fn numbers<T: Number + Element>(packed: &[u8], bytes: usize) -> Result<Option<Vec<u8>>, BoxError> {
    let count = bytes / size_of::<T>();
    let mut room: Vec<T> = Vec::new();
    room.try_reserve_exact(count)?;
    room.resize(count, T::default());
    let progress = pco::standalone::simple_decompress_into(packed, &mut room)?;
    let all = progress.n_processed == count && progress.finished;
    Ok(all.then(|| bytemuck::cast_slice(&room).to_vec()))
}
