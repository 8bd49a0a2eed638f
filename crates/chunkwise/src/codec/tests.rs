use super::chain::{Buffers, Chain};
use super::*;
use chunkwise_core::cube::DataType;
use chunkwise_core::dtype::DType;
use proptest::prelude::*;

fn chain(choice: &str, dtype: DType, shape: &[u64]) -> Result<Chain, String> {
    let (dtype, unit) = (DataType::Number(dtype), dtype.size());
    let choice = choice.parse::<CodecChoice>().map_err(|e| e.to_string())?.resolve(&dtype);
    Chain::new(&dtype, &vec![0; unit][..], &choice.chain(&dtype, unit), shape).map_err(|e| crate::error::in_full(&e))
}

const LOSSLESS: [&str; 17] = [
    "none",
    "zstd",
    "zstd:9+crc32c",
    "gzip",
    "zlib",
    "bz2",
    "lz4",
    "lzma:1",
    "blosc",
    "blosc:zstd:3:bitshuffle+crc32c",
    "blosc:lz4hc:1:noshuffle",
    "blosc:blosclz",
    "blosc:zlib",
    "pcodec",
    "pcodec:0+crc32c",
    "delta+lz4",
    "delta+pcodec",
];

fn of_type() -> impl Strategy<Value = (DType, Vec<u64>, Vec<u8>)> {
    let dtype = prop::sample::select(DType::ALL.to_vec());
    (dtype, prop::collection::vec(1u64..6, 0..4), any::<u64>(), 0u64..4).prop_map(|(dtype, shape, seed, kind)| {
        let bytes = shape.iter().product::<u64>() as usize * dtype.size();
        let mut state = seed | 1;
        let byte = |at: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match kind {
                0 => 0,
                1 => (at / 7) as u8,
                _ => state as u8,
            }
        };
        let mut cells: Vec<u8> = (0..bytes).map(byte).collect();
        if dtype == DType::Bool {
            cells.iter_mut().for_each(|b| *b &= 1);
        }
        (dtype, shape, cells)
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_bits((dtype, shape, cells) in of_type()) {
        for text in LOSSLESS {
            // The differences of floats are rounded, and not each type has all codecs.
            if text.contains("delta") && (dtype.is_float() || dtype == DType::Bool) {
                continue;
            }
            if text.contains("pcodec") && dtype.size() == 1 {
                prop_assert!(chain(text, dtype, &shape).unwrap_err().contains("does not hold"));
                continue;
            }
            let chain = chain(text, dtype, &shape).unwrap();
            let encoded = chain.encode(&shape, &cells).unwrap();
            prop_assert_eq!(&chain.encode(&shape, &cells).unwrap(), &encoded, "{} twice", text);
            let mut out = Vec::new();
            chain.decode(&shape, &encoded, &mut Buffers::default(), &mut out).unwrap();
            prop_assert_eq!(&out, &cells, "{} of {}", text, dtype);
            // A chunk cut short is never taken for a whole one.
            if let Some(cut) = encoded.len().checked_sub(1) {
                let result = chain.decode(&shape, &encoded[..cut], &mut Buffers::default(), &mut out);
                prop_assert!(result.is_err() || out == cells, "{} of {} cut short", text, dtype);
            }
        }
    }

    #[test]
    fn truth_values_are_packed_in_bits(cells in prop::collection::vec(0u8..2, 1..40)) {
        let shape = [cells.len() as u64];
        for text in ["packbits", "packbits+zstd", "packbits+blosc+crc32c"] {
            let chain = chain(text, DType::Bool, &shape).unwrap();
            let encoded = chain.encode(&shape, &cells).unwrap();
            if text == "packbits" {
                prop_assert_eq!(encoded.len(), 1 + cells.len().div_ceil(8));
            }
            let mut out = Vec::new();
            chain.decode(&shape, &encoded, &mut Buffers::default(), &mut out).unwrap();
            prop_assert_eq!(&out, &cells);
        }
    }
}

#[test]
fn the_same_cells_give_the_same_bytes_whatever_came_before() {
    let raw: Vec<u8> = (0..100_000u32).flat_map(|i| (i.wrapping_mul(i) as u16).to_le_bytes()).collect();
    for text in ["zstd", "zstd:9", "gzip", "blosc", "blosc:zstd:3:bitshuffle+crc32c", "none", "lzma:1", "pcodec"] {
        let (long, short) = ([100_000], [500]);
        let codec = chain(text, DType::UInt16, &long).unwrap();
        let first = codec.encode(&long, &raw).unwrap();
        codec.encode(&short, &raw[..1000]).unwrap();
        assert_eq!(codec.encode(&long, &raw).unwrap(), first, "{text}");
    }
}

#[test]
fn a_bomb_is_refused_by_every_codec() {
    let zeros = [1 << 22];
    let cells = vec![0; 4 << 20];
    for text in LOSSLESS {
        let dtype = if text.contains("pcodec") { DType::UInt16 } else { DType::UInt8 };
        let large = chain(text, dtype, &[zeros[0] / dtype.size() as u64]).unwrap();
        let encoded = large.encode(&[zeros[0] / dtype.size() as u64], &cells).unwrap();
        for few in [1, 16, 1000] {
            let small = chain(text, dtype, &[few]).unwrap();
            let mut out = Vec::new();
            let result = small.decode(&[few], &encoded, &mut Buffers::default(), &mut out);
            assert!(result.is_err(), "{text} took {} bytes for {few} cells", out.len());
            assert!(out.capacity() < 1 << 20, "{text} made {} bytes of room for {few} cells", out.capacity());
        }
    }
}
