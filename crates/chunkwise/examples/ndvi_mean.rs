//! The mean NDVI over time as a new cube: `cargo run --example ndvi_mean -- reflectance.zarr ndvi.zarr`.

#![allow(clippy::print_stdout, reason = "an example prints what it did")]

use chunkwise::job::output::OutputOptions;
use chunkwise::{Counters, Limits, Request, RunOptions, Statistic, open, prepare};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("usage: ndvi_mean CUBE.zarr NEW.zarr".into());
    };
    let cube = open(&from)?;
    let mut request = Request::reduce(&["time"], &[Statistic::Mean]);
    request.formulas = vec!["ndvi = (nir - red) / (nir + red)".to_owned()];
    let prepared = prepare(&cube, &request)?;

    let output = OutputOptions::new(std::path::PathBuf::from(to));
    let targets = prepared.arrays(&cube, &output)?.targets();
    let plan = prepared.plan(&cube, &targets, Limits { memory: 256 << 20, ..Limits::default() })?;
    let figures = prepared.explain(&cube, &plan)?.total;
    println!("{} chunks, {} bytes decoded, at most {} of memory", figures.chunks, figures.decoded_bytes, plan.memory);

    let counters = Counters::default();
    let written = prepared.write(&cube, &output, &plan, &counters, &RunOptions::default())?;
    println!("{} chunks written", written.chunks);
    Ok(())
}
