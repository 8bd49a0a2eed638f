//! `pcodec`: numbers packed by their distribution, unpacked into the room that their chunk has.

use super::error::BoxError;
use bytemuck::pod_collect_to_vec;
use chunkwise_core::dtype::{DType, Element};
use half::f16;
use pco::data_types::Number;

/// Calls a function that is generic over the numbers that the codec holds.
macro_rules! by_type {
    ($dtype:expr, $call:ident($($argument:expr),*)) => {
        match $dtype {
            DType::Int16 => $call::<i16>($($argument),*),
            DType::Int32 => $call::<i32>($($argument),*),
            DType::Int64 => $call::<i64>($($argument),*),
            DType::UInt16 => $call::<u16>($($argument),*),
            DType::UInt32 => $call::<u32>($($argument),*),
            DType::UInt64 => $call::<u64>($($argument),*),
            DType::Float16 => $call::<f16>($($argument),*),
            DType::Float32 => $call::<f32>($($argument),*),
            DType::Float64 => $call::<f64>($($argument),*),
            DType::Bool | DType::Int8 | DType::UInt8 => Err(format!("it does not hold the type `{}`", $dtype).into()),
        }
    };
}

/// Unpacks as many numbers of a type as `bytes` of room hold; `None` where there are more or fewer.
pub(super) fn unpack(dtype: DType, packed: &[u8], bytes: usize) -> Result<Option<Vec<u8>>, BoxError> {
    by_type!(dtype, unpack_as(packed, bytes))
}

/// Packs cells of a type.
pub(super) fn pack(dtype: DType, cells: &[u8], level: usize) -> Result<Vec<u8>, BoxError> {
    by_type!(dtype, pack_as(cells, level))
}

/// Whether the codec holds numbers of a type.
pub(super) fn holds(dtype: DType) -> bool {
    dtype.size() > 1
}

fn unpack_as<T: Number + Element>(packed: &[u8], bytes: usize) -> Result<Option<Vec<u8>>, BoxError> {
    let count = bytes / size_of::<T>();
    let mut room: Vec<T> = Vec::new();
    room.try_reserve_exact(count)?;
    room.resize(count, T::default());
    let progress = pco::standalone::simple_decompress_into(packed, &mut room)?;
    let all = progress.n_processed == count && progress.finished;
    Ok(all.then(|| bytemuck::cast_slice(&room).to_vec()))
}

fn pack_as<T: Number + Element>(cells: &[u8], level: usize) -> Result<Vec<u8>, BoxError> {
    let numbers: Vec<T> = pod_collect_to_vec(cells);
    let config = pco::ChunkConfig::default().with_compression_level(level);
    Ok(pco::standalone::simple_compress(&numbers, &config)?)
}
