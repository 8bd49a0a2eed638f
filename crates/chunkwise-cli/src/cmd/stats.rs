//! `chunkwise stats`: count, missing, min, max, mean and std of each variable.

use crate::args::{Common, StatsArgs};
use crate::exit::CliError;
use crate::job::{Ready, destination, request};
use chunkwise::job::{Over, prepare};
use chunkwise_core::stat::Statistic;
use std::process::ExitCode;

pub(crate) fn run(args: &StatsArgs, common: &Common) -> Result<ExitCode, CliError> {
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
