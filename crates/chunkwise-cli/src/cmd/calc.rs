//! `chunkwise calc`: new variables from formulas.

use crate::args::{Common, DecodeArgs, JobArgs, LayoutArgs, SelectArgs};
use crate::failed::Failed;
use crate::job::{Ready, destination, request};
use chunkwise::job::prepare;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples (on what `chunkwise demo` made):\n  chunkwise calc chunkwise-demo/cube.zarr 'ndvi = (nir - red) / (nir + red)' -o ndvi.zarr\n  chunkwise calc chunkwise-demo/cube.zarr 'ndvi = (nir - red) / (nir + red)' --isel time=-1 -o ndvi.tif"
)]
pub(crate) struct CalcArgs {
    /// The cube.
    pub(crate) cube: String,
    /// `ndvi = (nir - red) / (nir + red)`
    #[arg(value_name = "NAME = EXPR", required = true)]
    pub(crate) formulas: Vec<String>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) layout: LayoutArgs,
    /// The new cube, a file (`.tif`, `.nc`), or `none` to compute and write nothing.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: String,
    /// Replace a cube that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: &CalcArgs, common: &Common) -> Result<ExitCode, Failed> {
    let mut select = args.select.clone();
    select.calc.extend(args.formulas.iter().cloned());
    let (cube, request) = request(&args.cube, &select, &args.decode, &args.job, common)?;
    let prepared = prepare(&cube, &request)?;
    let to = destination(Some(&args.output), Some(&args.layout), args.overwrite, &cube, common)?;
    let ready = Ready::new(cube, prepared, to, &args.job, 0, None)?;
    if args.job.explain {
        return ready.explain(common.json());
    }
    ready.deliver(common, |r| r)
}
