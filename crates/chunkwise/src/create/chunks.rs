//! The chunk shape of a new variable for which none was asked.

/// Bytes of a chunk that are aimed at, before compression.
///
/// Between the sizes at which requests cost as much as bytes on a local disk (0.04 MB) and in a cloud region (0.6 to
/// 4 MB, `latency · bandwidth / requests in flight`), and small enough that a pixel's series stays cheap.
const TARGET: u64 = 2 << 20;

/// Cells of a chunk along each dimension, for elements of `size` bytes.
///
/// The last two dimensions are space and get squares; `time`, `t` and `date` before them get 1; other dimensions (bands,
/// levels) are whole, unless squares would become smaller than 64 × 64: then they are cut, the first the most. A chunk has
/// 2 MiB or less, and axes are cut evenly (1000 in two of 500, not 512 and 488). With one dimension, it is cut alone.
pub fn default_chunks(dims: &[&str], shape: &[u64], size: usize) -> Vec<u64> {
    let cells = (TARGET / size.max(1) as u64).max(1);
    let rank = shape.len();
    let mut chunks: Vec<u64> = shape.iter().map(|&n| n.max(1)).collect();
    let space = rank.saturating_sub(2);
    if rank == 1 {
        return vec![even(shape[0], cells)];
    }
    for (axis, chunk) in chunks.iter_mut().enumerate().take(space) {
        if ["time", "t", "date"].contains(&dims.get(axis).copied().unwrap_or("").to_lowercase().as_str()) {
            *chunk = 1;
        }
    }
    // What bands and levels leave for a square, which should not be smaller than 64 × 64 (or the whole plane).
    let plane = shape[space..].iter().map(|&n| n.clamp(1, 64)).product::<u64>();
    let room = (cells / plane.max(1)).max(1);
    for axis in 0..space {
        let others: u64 = chunks[axis + 1..space].iter().fold(1, |a, &b| a.saturating_mul(b));
        let left = room / chunks[..axis].iter().fold(1u64, |a, &b| a.saturating_mul(b)).max(1);
        chunks[axis] = even(chunks[axis], (left / others.max(1)).max(1));
    }
    let bands = chunks[..space].iter().fold(1u64, |a, &b| a.saturating_mul(b));
    let area = (cells / bands.max(1)).max(1);
    if let [y, x] = shape[space..] {
        let (y, x) = (y.max(1), x.max(1));
        let side = area.isqrt().max(1);
        // Where one side is short, the other takes what it leaves.
        let (h, w) = if y <= side {
            (y, (area / y).max(1))
        } else if x <= side {
            ((area / x).max(1), x)
        } else {
            (side, side)
        };
        chunks[space] = even(y, h);
        chunks[space + 1] = even(x, w);
    }
    chunks
}

/// The axis in as few equal parts as have at most `most` cells.
fn even(length: u64, most: u64) -> u64 {
    let length = length.max(1);
    length.div_ceil(length.div_ceil(most.max(1)))
}
