//! Writes cells from standard input into a box of an array: `write_region CUBE VARIABLE 0,2 3,4 < cells`.
//!
//! First cell and shape of the box are given along each dimension; the cells come in C order, in the type of the array
//! and the byte order of this machine.

use chunkwise::write::{Place, RegionOptions, RegionWritten, write_region};
use chunkwise_core::dtype::{DType, Element, ForElement};
use std::error::Error;
use std::io::{Read as _, Write as _};

type Failure = Box<dyn Error + Send + Sync>;

struct Region<'a> {
    place: &'a Place,
    variable: &'a str,
    start: &'a [u64],
    shape: &'a [u64],
    bytes: &'a [u8],
}

impl ForElement for Region<'_> {
    type Output = Result<RegionWritten, Failure>;

    fn run<T: Element>(self) -> Self::Output {
        let cells: Vec<T> = self.bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect();
        Ok(write_region(self.place, self.variable, self.start, self.shape, &cells, RegionOptions::default())?)
    }
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [cube, variable, start, shape] = words.as_slice() else {
        return Err("usage: write_region CUBE VARIABLE START SHAPE < CELLS".into());
    };
    let numbers = |list: &str| list.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
    let (start, shape) = (numbers(start)?, numbers(shape)?);
    let opened = chunkwise::open(&format!("{cube}:{variable}"))?;
    let found = opened.cube.variables.values().next().ok_or("no array there")?;
    let dtype = match found.dtype.number().ok_or("it holds no numbers")? {
        DType::Bool => DType::UInt8,
        other => other,
    };
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let place = Place::from(std::path::PathBuf::from(cube));
    let region = Region { place: &place, variable, start: &start, shape: &shape, bytes: &bytes };
    let written = dtype.dispatch(region)?;
    let (whole, partial, removed) = (written.whole, written.partial, written.removed);
    Ok(writeln!(std::io::stdout(), "{whole} chunks whole, {partial} changed, {removed} of them removed")?)
}
