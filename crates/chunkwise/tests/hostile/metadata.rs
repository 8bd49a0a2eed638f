//! Any metadata: a cube opens or is refused; its labels and chunks are read or refused.

use chunkwise::chunk::{ChunkReader, Scratch};
use chunkwise::open::open_in;
use chunkwise::store::{MemoryStore, Store};
use std::sync::Arc;

/// Cells and bytes of what is read; more is left alone.
const FEW: u64 = 1 << 16;

/// Objects as `KEY NUL BYTES NUL KEY NUL …`.
pub(crate) fn run(data: &[u8]) {
    let store = Arc::new(MemoryStore::new());
    let mut parts = data.split(|&b| b == 0);
    while let (Some(key), Some(bytes)) = (parts.next(), parts.next()) {
        if let Ok(key) = std::str::from_utf8(key) {
            // A key that is no key is refused.
            let _ = store.put(key, bytes);
        }
    }
    for path in ["", "a"] {
        open(store.clone(), path);
    }
}

fn open(store: Arc<dyn Store>, path: &str) {
    let Ok(cube) = open_in(store.clone(), path, "memory:cube.zarr", &Default::default()) else { return };
    cube.set_memory_limit(256 << 20);
    for variable in cube.cube.variables.values() {
        if variable.problem.is_none() && variable.shape.iter().try_fold(1u64, |a, &n| a.checked_mul(n)) <= Some(FEW) {
            let _ = cube.labels_of(variable).map(|labels| format!("{labels:?}"));
            let _ = cube.read_all(variable).map(|values| values.decoded(variable));
        }
        let Ok(reader) = ChunkReader::new(variable, store.clone()) else { continue };
        let first = vec![0; reader.grid().len()];
        if reader.decoded_size(&first).is_some_and(|bytes| bytes <= FEW) {
            let mut cells = Vec::new();
            if reader.read(&first, &mut Scratch::new(), &mut cells).is_ok() {
                assert_eq!(Some(cells.len() as u64), reader.decoded_size(&first));
            }
        }
    }
    let _ = format!("{:?}", cube.cube);
}
