//! `chunkwise append`: files added to the end of a cube.

use super::cubes::{explain, notes, report};
use crate::args::{Common, ResourceArgs};
use crate::exit::interrupted;
use crate::failed::Failed;
use crate::job::{open_cube, words};
use crate::output::{self, Json};
use crate::progress;
use chunkwise::exec::Counters;
use chunkwise::import::ImportError;
use chunkwise::import::cubes::{Append, CubeOptions};
use chunkwise::open::OpenOptions;
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples (on what `chunkwise demo` made):\n  chunkwise calc chunkwise-demo/cube.zarr 'ndvi = (nir - red) / (nir + red)' --isel time=0:6 -o ndvi.zarr\n  chunkwise calc chunkwise-demo/cube.zarr 'ndvi = (nir - red) / (nir + red)' --isel time=6: -o later.nc\n  chunkwise append ndvi.zarr later.nc --along time"
)]
pub(crate) struct AppendArgs {
    /// The cube that grows: a folder or object store, or `CUBE:GROUP`.
    pub(crate) cube: String,
    /// NetCDF files, references or Zarr cubes.
    #[arg(required = true, value_name = "FILES")]
    pub(crate) files: Vec<String>,
    /// The dimension that grows [default: the one of time].
    #[arg(long, value_name = "DIM")]
    pub(crate) along: Option<String>,
    /// Where the cube holds decoded values and the files are packed, decode them.
    #[arg(long)]
    pub(crate) decode: bool,
    #[command(flatten)]
    pub(crate) resources: ResourceArgs,
    /// Where the budget makes it necessary, decode chunks more than 4 times on average.
    #[arg(long)]
    pub(crate) allow_redecode: bool,
    /// Tell files, chunks, bytes and memory, and read none.
    #[arg(long)]
    pub(crate) explain: bool,
    /// In the end, read all files again and compare each chunk with what they give.
    #[arg(long)]
    pub(crate) verify: bool,
}

pub(crate) fn run(args: &AppendArgs, common: &Common) -> Result<ExitCode, Failed> {
    let began = Instant::now();
    let options = CubeOptions {
        along: args.along.clone(),
        decode: args.decode,
        redecode: args.allow_redecode,
        history: format!("chunkwise {}: {}", env!("CARGO_PKG_VERSION"), words()),
        ..CubeOptions::default()
    };
    let open = OpenOptions { storage: common.storage()?, ..OpenOptions::default() };
    let (memory, threads) = (args.resources.memory_limit(), args.resources.threads().get());
    let append = Append::plan(&args.cube, &args.files, &open, &options, memory, threads)?;
    let plan = append.explain();
    if args.explain {
        return explain(&plan, common);
    }
    notes(append.notes(), common);
    let counters = Counters::default();
    progress::shown(common, &counters, plan.chunks, || append.run(&counters, interrupted())).map_err(|e| {
        let stopped = matches!(e, ImportError::Interrupted);
        let failed = Failed::from(e);
        if stopped { failed.with_hint("the cube is as it was; the same command begins anew") } else { failed }
    })?;
    if args.verify {
        let cube = open_cube(&args.cube, &open)?;
        let checked = Counters::default();
        progress::shown(common, &checked, plan.chunks, || append.verify(cube, &checked, interrupted()))?;
    }
    let (dim, old, new) = append.grows();
    let more = [
        ("location", json!(args.cube)),
        ("along", json!(dim)),
        ("old_length", json!(old)),
        ("length", json!(new)),
        ("verified", json!(args.verify)),
        ("notes", json!(append.notes())),
    ];
    report(&plan, &more, &counters, began, common)?;
    if !common.quiet && common.json() == Json::No {
        let verified = if args.verify { "; each chunk holds what the files give" } else { "" };
        output::note(&format!("`{dim}` of `{}` has {new} labels, {} more{verified}", args.cube, new - old));
    }
    Ok(ExitCode::SUCCESS)
}
