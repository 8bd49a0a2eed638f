//! Makes an empty cube and fills it from several threads: `cargo run --example fill_cube -- reflectance.zarr`.
//!
//! Blocks of whole chunks are written side by side; a block that covers part of a chunk would be read, changed and
//! written under a lock.

#![allow(clippy::print_stdout, reason = "an example prints what it did")]

use chunkwise::DType;
use chunkwise::create::{CreateSpec, create, parse_dim};
use chunkwise::write::{Output, Place, RegionOptions, write_region};
use std::error::Error;

const STEPS: u64 = 6;
const SIDE: u64 = 256;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let folder = std::env::args().nth(1).ok_or("usage: fill_cube NEW.zarr")?;
    let place = Place::Folder(folder.clone().into());
    let times = "time=2024-01-15,2024-03-15,2024-05-15,2024-07-15,2024-09-15,2024-11-15";
    let dims = [times, "band=red,nir", "y=256", "x=256"].map(parse_dim).into_iter().collect::<Result<_, _>>()?;
    let mut spec = CreateSpec::new("reflectance", dims, DType::UInt16);
    spec.chunks = [("time", 1), ("band", 2), ("y", 128), ("x", 128)].map(|(d, n)| (d.to_owned(), n)).into();
    create(&spec, Output::new(place.clone()))?;

    let place = &place;
    std::thread::scope(|scope| {
        let step = |t: u64| {
            move || {
                let value = |i: u64| ((1 + i / (SIDE * SIDE)) * 1000 + t * 100 + i % SIDE) as u16;
                let cells: Vec<u16> = (0..2 * SIDE * SIDE).map(value).collect();
                let shape = [1, 2, SIDE, SIDE];
                write_region(place, "reflectance", &[t, 0, 0, 0], &shape, &cells, RegionOptions::default())
            }
        };
        let threads: Vec<_> = (0..STEPS).map(|t| scope.spawn(step(t))).collect();
        for thread in threads {
            let written = thread.join().map_err(|_| "a thread panicked")??;
            println!("{} chunks whole, {} in part", written.whole, written.partial);
        }
        Ok(())
    })
}
