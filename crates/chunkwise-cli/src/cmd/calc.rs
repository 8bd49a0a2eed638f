//! `chunkwise calc`: new variables from formulas.

use crate::args::{CalcArgs, Common};
use crate::exit::CliError;
use crate::job::{Ready, destination, request};
use chunkwise::job::prepare;
use std::process::ExitCode;

pub(crate) fn run(args: &CalcArgs, common: &Common) -> Result<ExitCode, CliError> {
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
