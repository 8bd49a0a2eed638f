//! Other chunks for an array, and what they would make of the same questions.

use super::access::{Access, ArrayLayout, AxisRole, accesses, longest};
use crate::cube::ChunkSizes;

/// Bytes of a chunk that neither costs a request for little nor holds much more than is asked for.
const USUAL: std::ops::RangeInclusive<u64> = (64 << 10)..=(16 << 20);

/// Chunks that would do better for a use, with the figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// What they are for.
    pub what_for: &'static str,
    /// Cells of a chunk along each dimension.
    pub chunks: Vec<u64>,
    /// What the same questions would read.
    pub accesses: Vec<Access>,
}

/// Layouts of about the same size of chunk: one for series, one for maps, one between. Those that are much like the present one
/// are left out; empty where there is no choice between series and maps.
pub fn advice(layout: &ArrayLayout, roles: &[AxisRole]) -> Vec<Advice> {
    let space: Vec<usize> = (0..roles.len()).filter(|&d| roles[d] == AxisRole::Space).collect();
    let Some(series) = roles.iter().position(|&r| r == AxisRole::Series).filter(|_| space.len() == 2) else {
        return Vec::new();
    };
    let bytes = layout.chunk_bytes().clamp(*USUAL.start(), *USUAL.end());
    let others: u64 = (0..roles.len())
        .filter(|&d| roles[d] == AxisRole::Other)
        .map(|d| longest(&layout.chunks[d]))
        .fold(layout.cell_bytes, u64::saturating_mul);
    let cells = (bytes / others.max(1)).max(1);
    let n = layout.shape[series].max(1);
    let of = |along: u64| -> Vec<u64> {
        let along = along.clamp(1, n);
        // As square as the sides of the array allow.
        let plane = (cells / along).max(1);
        let mut side = [((plane as f64).sqrt() as u64).max(1); 2];
        for (k, &d) in space.iter().enumerate() {
            if side[k] >= layout.shape[d] {
                side[k] = layout.shape[d].max(1);
                side[1 - k] = (plane / side[k]).max(1);
            }
        }
        let mut chunks: Vec<u64> = layout.chunks.iter().map(longest).collect();
        chunks[series] = along;
        for (k, &d) in space.iter().enumerate() {
            chunks[d] = side[k].min(layout.shape[d].max(1));
        }
        chunks
    };
    // A series through chunks of t cells reads N/t of them, a map of Y × X cells Y·X·t/cells: as many where t² = N·cells/(Y·X).
    let map: f64 = space.iter().map(|&d| layout.shape[d] as f64).product();
    let between = ((n as f64) * cells as f64 / map.max(1.0)).sqrt().round() as u64;
    let asked = [
        ("series: all of the series in a chunk", of(n)),
        ("maps: one step in a chunk", of(1)),
        ("both: as many chunks for a series as for a map", of(between)),
    ];
    let now: Vec<u64> = layout.chunks.iter().map(longest).collect();
    let mut found: Vec<Advice> = Vec::new();
    for (what_for, chunks) in asked {
        let alike = |other: &[u64]| chunks.iter().zip(other).all(|(&a, &b)| a <= b * 3 / 2 && b <= a * 3 / 2);
        if alike(&now) || found.iter().any(|a| alike(&a.chunks)) {
            continue;
        }
        let sizes = chunks.iter().map(|&n| ChunkSizes::Regular(n)).collect();
        let other = ArrayLayout { chunks: sizes, shards: None, ..layout.clone() };
        found.push(Advice { what_for, accesses: accesses(&other, roles), chunks });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::access::roles;
    use super::*;

    #[test]
    fn chunks_for_series_and_for_both_are_told_where_there_are_maps() {
        let layout = ArrayLayout {
            dims: ["time", "band", "y", "x"].map(str::to_owned).to_vec(),
            shape: vec![120, 4, 1000, 1000],
            chunks: [1, 4, 250, 250].map(ChunkSizes::Regular).to_vec(),
            shards: None,
            cell_bytes: 2,
        };
        let found = advice(&layout, &roles(&layout, [Some("y"), Some("x")], Some("time")));
        let chunks: Vec<&[u64]> = found.iter().map(|a| a.chunks.as_slice()).collect();
        assert_eq!(chunks, [&[120, 4, 22, 22][..], &[3, 4, 144, 144][..]]);
        // A series from one chunk; as many for both as can be.
        assert_eq!(found[0].accesses[0].chunks, 1.0);
        assert_eq!((found[1].accesses[0].chunks, found[1].accesses[1].chunks), (40.0, 49.0));
    }
}
