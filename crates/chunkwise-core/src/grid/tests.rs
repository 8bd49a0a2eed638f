use super::*;

fn dim(indices: Indices, role: Role, grids: &[ChunkSizes]) -> WalkDim {
    WalkDim::new("t", indices, role, &grids.iter().collect::<Vec<_>>())
}

fn cuts(d: &WalkDim) -> Vec<u64> {
    (0..=d.cuts.count()).map(|i| d.cuts.start(i)).collect()
}

fn range(start: u64, step: u64, count: u64) -> Indices {
    Indices::Range { start, step, count }
}

#[test]
fn an_offset_box_is_cut_where_chunks_end() {
    let d = dim(range(10, 1, 900), Role::Keep, &[ChunkSizes::Regular(250)]);
    assert_eq!(cuts(&d), [0, 240, 490, 740, 900]);
    assert_eq!(d.patch_count(), 4);
    assert_eq!(d.chunks_touched(&ChunkSizes::Regular(250)), 4);
}

#[test]
fn a_strided_selection_is_cut_where_its_cells_change_chunk() {
    let d = dim(range(1, 3, 5), Role::Keep, &[ChunkSizes::Regular(5)]);
    // sources 1 4 | 7 | 10 13
    assert_eq!(cuts(&d), [0, 2, 3, 5]);
    assert_eq!(d.chunks_touched(&ChunkSizes::Regular(5)), 3);
}

#[test]
fn two_grids_are_cut_at_the_borders_of_both() {
    let d = dim(range(0, 1, 10), Role::Reduce, &[ChunkSizes::Regular(4), ChunkSizes::Listed(vec![3, 7])]);
    assert_eq!(cuts(&d), [0, 3, 4, 8, 10]);
    assert_eq!(d.patch_count(), 1);
}

#[test]
fn a_list_keeps_its_order_and_is_cut_when_the_chunk_changes() {
    let d = dim(Indices::List(vec![5, 4, 1, 6]), Role::Keep, &[ChunkSizes::Regular(4)]);
    assert_eq!(cuts(&d), [0, 2, 3, 4]);
    assert_eq!(d.chunks_touched(&ChunkSizes::Regular(4)), 2);
}

#[test]
fn windows_that_cross_a_chunk_border_cut_the_chunk_but_stay_whole() {
    let d = dim(range(0, 1, 20), Role::Blocks { size: 3 }, &[ChunkSizes::Regular(8)]);
    // windows start at 0 3 6 | 9 12 15 | 18; chunks at 0 8 16
    assert_eq!(cuts(&d), [0, 8, 9, 16, 18, 20]);
    assert_eq!(d.patch_count(), 3);
    assert_eq!(d.patch_intervals(0), (0, 2));
    assert_eq!(d.patch_output(0), (0, 3));
    assert_eq!(d.patch_intervals(2), (4, 5));
    assert_eq!(d.patch_output(2), (6, 7));
    assert_eq!(d.positions_in(6), 2);
}

#[test]
fn empty_windows_belong_to_a_patch_too() {
    let d = dim(range(0, 1, 4), Role::Window { starts: vec![0, 2, 2, 2, 4, 4] }, &[ChunkSizes::Regular(1)]);
    let all: u64 = (0..d.patch_count()).map(|p| d.patch_output(p).1 - d.patch_output(p).0).sum();
    assert_eq!(all, 5);
    assert_eq!(d.patch_output(0).0, 0);
    assert_eq!((0..4).map(|p| d.cell_of(p)).collect::<Vec<_>>(), [Some(0), Some(0), Some(3), Some(3)]);
    let intervals: u64 = (0..d.patch_count()).map(|p| d.patch_intervals(p).1 - d.patch_intervals(p).0).sum();
    assert_eq!(intervals, 4);
}

#[test]
fn a_huge_dimension_needs_no_list() {
    let d = dim(range(0, 1, 1 << 40), Role::Keep, &[ChunkSizes::Regular(1000)]);
    assert_eq!(d.patch_count(), (1u64 << 40).div_ceil(1000));
    assert_eq!(d.cuts.interval(d.cuts.count() - 1).1, 1 << 40);
}

#[test]
fn segments_are_numbered_by_the_chunks_of_the_array_not_of_the_selection() {
    let d = dim(range(70, 1, 30), Role::Reduce, &[ChunkSizes::Regular(2)]);
    assert_eq!(d.segment(0, 4), 2);
    assert_eq!(d.segment(d.cuts.count() - 1, 4), 3);
}
