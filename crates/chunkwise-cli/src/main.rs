//! The `chunkwise` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    chunkwise_cli::main()
}
