//! Commands of the command line, run in this process.

use crate::table::Table;
use crate::wait::wait;
use chunkwise_cli::Call;
use pyo3::prelude::*;
use std::ffi::OsString;
use std::sync::Arc;

/// Runs a command and gives its code (0, or 1 where the answer is no), its text, its notes and its table.
#[pyfunction]
#[pyo3(signature = (words, progress=None))]
pub(crate) fn call(
    py: Python<'_>,
    words: Vec<OsString>,
    progress: Option<Py<PyAny>>,
) -> PyResult<(u8, String, Vec<String>, Option<Table>)> {
    let answer = wait(py, progress, move |watch| {
        let own = watch.clone();
        let progress: chunkwise_cli::Progress = Arc::new(move |done, of| own.tell(done, of));
        Ok(chunkwise_cli::call(Call { words, cancel: watch.cancel(), progress: Some(progress) })?)
    })?;
    Ok((answer.code, answer.text, answer.notes, answer.table.map(|columns| Table { columns })))
}

/// All commands with their arguments, as JSON.
#[pyfunction]
pub(crate) fn commands() -> String {
    chunkwise_cli::commands().to_string()
}

/// The command line itself, of these words; gives its exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, words: Vec<OsString>) -> u8 {
    ::chunkwise::memory::be_host();
    py.detach(|| chunkwise_cli::main_with(words))
}

/// Text without secrets that stores were given.
#[pyfunction]
pub(crate) fn mask(text: &str) -> String {
    chunkwise::store::secret::mask(text)
}

/// The budget of a job that names none, in bytes.
#[pyfunction]
pub(crate) fn default_memory() -> u64 {
    chunkwise::memory::default_limit()
}
