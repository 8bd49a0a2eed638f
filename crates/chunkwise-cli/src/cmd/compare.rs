//! `chunkwise compare`: whether two cubes are equal.

use crate::args::{Common, CompareArgs};
use crate::exit::CliError;
use std::process::ExitCode;

pub(crate) fn run(_args: &CompareArgs, _common: &Common) -> Result<ExitCode, CliError> {
    Err(CliError::says("`chunkwise compare` is not built yet"))
}
