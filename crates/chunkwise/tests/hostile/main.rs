//! What the fuzz targets of `fuzz/` run, on a few inputs of each: those that once went wrong, and simple ones.

mod codecs;
mod formulas;
mod metadata;
mod shard;

/// Bytes that look like noise, the same each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}

#[test]
fn noise_is_no_chunk_of_any_chain() {
    for chain in 0..codecs::CHAINS.len() as u8 {
        for kind in 0..9 {
            for len in [0, 1, 7, 24, 48, 96, 200] {
                codecs::run(&[&[chain, kind], noise(u64::from(chain), len).as_slice()].concat());
            }
        }
    }
}

#[test]
fn shards_of_noise_are_refused_or_read_alike_by_threads_and_tasks() {
    for layout in 0..=127 {
        for len in [0, 95, 96, 100, 150, 400] {
            shard::run(&[&[layout], noise(u64::from(layout), len).as_slice()].concat());
            // All chunks absent.
            shard::run(&[&[layout], vec![0xff; len].as_slice()].concat());
        }
    }
}

#[test]
fn documents_cut_anywhere_are_refused_or_read() {
    let array = r#"{"zarr_format":3,"node_type":"array","shape":[4],"data_type":"int32","fill_value":0,"chunk_grid":{"name":"regular","configuration":{"chunk_shape":[3]}},"chunk_key_encoding":{"name":"default"},"codecs":[{"name":"bytes","configuration":{"endian":"little"}}],"dimension_names":["time"],"attributes":{"units":"days since 2000-01-01","calendar":"noleap"}}"#;
    let group = format!(
        r#"{{"zarr_format":3,"node_type":"group","consolidated_metadata":{{"kind":"inline","metadata":{{"time":{array}}}}}}}"#
    );
    for document in [array, &group] {
        for end in 0..=document.len() {
            metadata::run(format!("zarr.json\0{}\0time/c/0\0aaaabbbbcccc", &document[..end]).as_bytes());
        }
    }
}

#[test]
fn formulas_cut_anywhere_are_refused_or_evaluated() {
    let text = "ndvi = (nir - red) / (nir + red)\nwhere(flag(scl, 'cloud') or bit(a, 2), t2m ** -2 % 0x1F, reflectance[band='B 8A'])";
    for end in 0..=text.len() {
        formulas::run(&text.as_bytes()[..end]);
    }
}
