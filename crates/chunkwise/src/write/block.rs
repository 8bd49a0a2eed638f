//! Boxes of cells within arrays in C order: copies between them, and walks over a grid.

/// A box of cells within a larger array: where it begins, in an array of this shape.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'a> {
    /// Shape of the array.
    pub(crate) shape: &'a [u64],
    /// First cell of the box.
    pub(crate) start: &'a [u64],
}

impl At<'_> {
    fn offset(&self, index: &[u64]) -> usize {
        let cell = |acc: u64, ((&n, &s), &i): ((&u64, &u64), &u64)| acc * n + s + i;
        self.shape.iter().zip(self.start).zip(index).fold(0, cell) as usize
    }
}

/// Copies a box of `count` cells of `size` bytes each; both boxes lie within their arrays.
pub(crate) fn copy(from: &[u8], source: At<'_>, to: &mut [u8], target: At<'_>, count: &[u64], size: usize) {
    if count.contains(&0) {
        return;
    }
    let Some((&run, outer)) = count.split_last() else {
        to[..size].copy_from_slice(&from[..size]);
        return;
    };
    let run = run as usize * size;
    let mut index = vec![0; count.len()];
    loop {
        let (a, b) = (source.offset(&index) * size, target.offset(&index) * size);
        to[b..b + run].copy_from_slice(&from[a..a + run]);
        if !step(&mut index[..outer.len()], outer) {
            return;
        }
    }
}

/// Goes to the next index in C order; `false` behind the last (then all are 0 again).
pub(crate) fn step(index: &mut [u64], shape: &[u64]) -> bool {
    for (i, &n) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < n {
            return true;
        }
        *i = 0;
    }
    false
}

/// Position of an index in C order.
pub(crate) fn position(index: &[u64], shape: &[u64]) -> u64 {
    index.iter().zip(shape).fold(0, |acc, (&i, &n)| acc * n + i)
}

/// Index of a position in C order.
pub(crate) fn index(mut position: u64, shape: &[u64]) -> Vec<u64> {
    let mut index = vec![0; shape.len()];
    for (i, &n) in index.iter_mut().zip(shape).rev() {
        *i = position % n;
        position /= n;
    }
    index
}

/// `size` bytes again and again.
pub(crate) fn filled(cell: &[u8], cells: usize) -> Vec<u8> {
    if cell.iter().all(|&b| b == 0) { vec![0; cells * cell.len()] } else { cell.repeat(cells) }
}

/// Whether `cells` are all equal to `cell`, bit for bit.
pub(crate) fn all_are(cells: &[u8], cell: &[u8]) -> bool {
    let n = cell.len();
    cells.len() < n || (cells[..n] == *cell && cells[n..] == cells[..cells.len() - n])
}
