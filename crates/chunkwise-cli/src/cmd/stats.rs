//! `chunkwise stats`: count, missing, min, max, mean and std of each variable.

use crate::args::{Common, DecodeArgs, JobArgs, SelectArgs};
use crate::failed::Failed;
use crate::job::{Ready, destination, request};
use chunkwise::job::{Over, prepare};
use chunkwise_core::stat::Statistic;
use clap::Args;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Example (on what `chunkwise demo` made):\n  chunkwise stats chunkwise-demo/cube.zarr --by band"
)]
pub(crate) struct StatsArgs {
    /// The cube.
    pub(crate) cube: String,
    /// One row for each label of this dimension.
    #[arg(long, value_name = "DIM")]
    pub(crate) by: Option<String>,
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) decode: DecodeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// A table as `.csv`, `.json`, `.parquet` or `.arrow` instead of stdout.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<String>,
    /// Replace an output that is there.
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(args: &StatsArgs, common: &Common) -> Result<ExitCode, Failed> {
    let (cube, mut request) = request(&args.cube, &args.select, &args.decode, &args.job, common)?;
    request.statistics =
        vec![Statistic::Count, Statistic::Missing, Statistic::Min, Statistic::Max, Statistic::Mean, Statistic::Std];
    request.over = match &args.by {
        Some(dim) => Over::AllBut(vec![dim.clone()]),
        None => Over::All,
    };
    let prepared = prepare(&cube, &request)?;
    let to = destination(args.output.as_deref(), None, args.overwrite, &cube, common)?;
    let ready = Ready::new(cube, prepared, to, &args.job, 0, None)?;
    if args.job.explain {
        return ready.explain(common.json());
    }
    ready.deliver(common, |r| r)
}
