//! `chunkwise demo`: the example cube and every analysis on it.

use crate::args::{Common, DemoArgs};
use crate::exit::CliError;
use std::process::ExitCode;

pub(crate) fn run(_args: &DemoArgs, _common: &Common) -> Result<ExitCode, CliError> {
    Err(CliError::says("`chunkwise demo` is not built yet"))
}
