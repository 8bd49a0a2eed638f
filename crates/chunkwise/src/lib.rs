//! A datacube engine for Zarr: create, fill, read and compute over cubes larger than memory.
//!
//! A job goes through values that can be looked at: a [`Request`] on an [`OpenCube`] is [`prepare`]d into stages,
//! planned within [`Limits`], explained, and run. A job that does not fit its memory is refused before a byte of data is
//! read, with the least that would do. The same request gives the same bits on any number of threads, in any budget, and
//! where its partitions run elsewhere.
//!
//! # One job
//!
//! A cube is made and filled; then the mean NDVI over time is planned, looked at, and run, as records and as a new cube.
//!
//! ```
//! use chunkwise::create::{CreateSpec, create, parse_dim};
//! use chunkwise::store::MemoryStore;
//! use chunkwise::write::{Output, Place, RegionOptions, write_region};
//! use chunkwise::{Counters, DType, Limits, Request, RunOptions, Statistic, open, prepare};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//!
//! // Three dates and two bands.
//! let place = Place::Store(MemoryStore::create("fields"));
//! let dims = ["time=2024-05-01,2024-06-01,2024-07-01", "band=red,nir", "y=100", "x=100"].map(parse_dim);
//! let mut spec = CreateSpec::new("reflectance", dims.into_iter().collect::<Result<_, _>>()?, DType::UInt16);
//! spec.chunks = [("time".to_owned(), 1), ("y".to_owned(), 50), ("x".to_owned(), 50)].into();
//! create(&spec, Output::new(place.clone()))?;
//! for (date, nir) in [2000u16, 3000, 6000].into_iter().enumerate() {
//!     let cells = [vec![1000; 10_000], vec![nir; 10_000]].concat();
//!     let start = [date as u64, 0, 0, 0];
//!     write_region(&place, "reflectance", &start, &[1, 2, 100, 100], &cells, RegionOptions::default())?;
//! }
//!
//! // The mean NDVI over time, at two pixels. A plan says what it will cost before it runs.
//! let cube = open("memory:fields")?;
//! let mut request = Request::reduce(&["time"], &[Statistic::Mean]);
//! request.formulas = vec!["ndvi = (nir - red) / (nir + red)".to_owned()];
//! request.isel = chunkwise::select::parse_isel("y=10:12,x=99")?;
//! let prepared = prepare(&cube, &request)?;
//!
//! let plan = prepared.plan_records(&cube, Limits { memory: 256 << 20, threads: 2, ..Limits::default() })?;
//! let figures = prepared.explain(&cube, &plan)?.total;
//! assert_eq!((figures.chunks, figures.decoded_bytes), (3, 3 * 2 * 50 * 50 * 2));
//!
//! let counters = Counters::default();
//! let records = prepared.records(&cube, &plan, &counters, &RunOptions::default())?;
//! assert_eq!(records.len(), 2);
//! assert_eq!(records[1]["y"], 11);
//! let mean = records[1]["mean"].as_f64().ok_or("no mean")?;
//! assert!((mean - (1.0 / 3.0 + 2.0 / 4.0 + 5.0 / 7.0) / 3.0).abs() < 1e-12);
//!
//! // The same into a new cube, in a folder.
//! use chunkwise::job::output::OutputOptions;
//! let folder = tempfile::tempdir()?;
//! let at = folder.path().join("ndvi.zarr");
//! let to = OutputOptions::new(at.clone());
//! let targets = prepared.arrays(&cube, &to)?.targets();
//! let plan = prepared.plan(&cube, &targets, Limits { memory: 256 << 20, threads: 2, ..Limits::default() })?;
//! prepared.write(&cube, &to, &plan, &counters, &RunOptions::default())?;
//! let ndvi = open(&at.display().to_string())?;
//! assert_eq!(ndvi.cube.variables["ndvi"].shape, [2]);
//! # Ok(())
//! # }
//! ```
//!
//! # Where things are
//!
//! | module | what it has |
//! |---|---|
//! | [`open`](mod@open), [`store`] | from a location to a cube; the stores |
//! | [`job`] | requests, plans, records and result cubes |
//! | [`exec`], [`sink`] | running stages and partitions; where finished values go |
//! | [`create`](mod@create), [`write`](mod@write), [`attrs`] | new cubes, cells and attributes of cubes that exist |
//! | [`codec`] | codecs, and those of your own |
//! | [`memory`] | the budget, and what the process holds |
//!
//! The examples of this crate fill a cube from several threads (`fill_cube`), write the mean of a formula
//! (`ndvi_mean`), and run the partitions of a serialised plan by workers (`partitions`).

pub mod attrs;
pub mod chunk;
pub mod codec;
pub mod compare;
pub mod create;
pub mod error;
pub mod exec;
#[cfg_attr(
    not(all(feature = "geotiff", feature = "netcdf")),
    allow(
        dead_code,
        unused_imports,
        unused_variables,
        unreachable_code,
        reason = "what formats share that are not built in"
    )
)]
pub mod export;
pub mod import;
pub mod job;
pub mod memory;
pub mod open;
mod runtime;
pub mod sink;
pub mod store;
#[cfg(feature = "parquet")]
pub mod table;
#[cfg(feature = "vector")]
pub mod vector;
pub mod verify;
pub mod write;

pub use chunkwise_core::dtype::DType;
pub use chunkwise_core::plan::Stage;
pub use chunkwise_core::plan::partition::Partition;
pub use chunkwise_core::select;
pub use chunkwise_core::stat::Statistic;
pub use chunkwise_core::stat::tree::Node;
pub use exec::{Counters, RunOptions};
pub use job::plan::Limits;
pub use job::{Over, Prepared, Request, prepare};
pub use open::{OpenCube, OpenOptions, open};
pub use store::StorageOptions;
