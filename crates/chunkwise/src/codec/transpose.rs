//! `transpose`: the axes of a chunk in another order.

use serde_json::Value;

/// The cells of a C-ordered array of `shape` from those of the transposed one: axis `k` of that is axis `order[k]` of this.
pub(super) fn back(cells: &[u8], shape: &[u64], order: &[usize], item: usize, out: &mut Vec<u8>) {
    match item {
        1 => sized::<1>(cells, shape, order, out),
        2 => sized::<2>(cells, shape, order, out),
        4 => sized::<4>(cells, shape, order, out),
        8 => sized::<8>(cells, shape, order, out),
        _ => wide(cells, shape, order, item, out),
    }
}

/// The cells of the transposed array from those of the array: transposing by the inverse order.
pub(super) fn forth(cells: &[u8], shape: &[u64], order: &[usize], item: usize, out: &mut Vec<u8>) {
    let transposed: Vec<u64> = order.iter().map(|&axis| shape[axis]).collect();
    let mut inverse = vec![0; order.len()];
    for (k, &axis) in order.iter().enumerate() {
        inverse[axis] = k;
    }
    back(cells, &transposed, &inverse, item, out);
}

/// The order of axes: a list, or `C` and `F` as drafts of v3 had it.
pub(super) fn order(value: Option<&Value>, rank: usize) -> Option<Vec<usize>> {
    let order: Vec<usize> = match value? {
        Value::String(name) if name == "C" => (0..rank).collect(),
        Value::String(name) if name == "F" => (0..rank).rev().collect(),
        Value::Array(list) if list.len() == rank => {
            let axis = |v: &Value| v.as_u64().and_then(|axis| usize::try_from(axis).ok());
            list.iter().map(axis).collect::<Option<_>>()?
        }
        _ => return None,
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    sorted.iter().copied().eq(0..rank).then_some(order)
}

/// For each axis of the decoded array, how many encoded cells lie between two neighbours along it.
fn strides(shape: &[u64], order: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1usize;
    for &axis in order.iter().rev() {
        strides[axis] = stride;
        // The cells lie in memory, so their number fits.
        stride *= shape[axis] as usize;
    }
    strides
}

/// Calls `row` with the first encoded cell of each run along the last decoded axis, in C order.
fn rows(shape: &[u64], strides: &[usize], mut row: impl FnMut(usize)) {
    let mut index = vec![0u64; shape.len() - 1];
    let mut at = 0;
    'rows: loop {
        row(at);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                continue 'rows;
            }
            at -= strides[axis] * shape[axis] as usize;
            index[axis] = 0;
        }
        return;
    }
}

fn sized<const N: usize>(cells: &[u8], shape: &[u64], order: &[usize], out: &mut Vec<u8>) {
    let Some(&length) = shape.last().filter(|_| !cells.is_empty()) else {
        return out.extend_from_slice(cells);
    };
    let cells = cells.as_chunks::<N>().0;
    let strides = strides(shape, order);
    let step = strides[shape.len() - 1];
    out.resize(cells.len() * N, 0);
    let mut runs = out.as_chunks_mut::<N>().0.chunks_exact_mut(length as usize);
    rows(shape, &strides, |first| {
        if let Some(run) = runs.next() {
            for (cell, from) in run.iter_mut().zip(cells[first..].iter().step_by(step)) {
                *cell = *from;
            }
        }
    });
}

fn wide(cells: &[u8], shape: &[u64], order: &[usize], item: usize, out: &mut Vec<u8>) {
    let Some(&length) = shape.last().filter(|_| !cells.is_empty()) else {
        return out.extend_from_slice(cells);
    };
    let strides = strides(shape, order);
    let step = strides[shape.len() - 1];
    out.reserve(cells.len());
    rows(shape, &strides, |first| {
        for cell in 0..length as usize {
            let at = (first + cell * step) * item;
            out.extend_from_slice(&cells[at..at + item]);
        }
    });
}
