//! What parts of a job give, as bytes.

use crate::errors::Told;
use crate::wait::wait;
use chunkwise::exec::PatchStates;
use chunkwise::job::parts::{PartResult, merge as merge_results};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// First byte of what parts give: its form.
const FORM: u8 = 1;
const CELLS: u8 = 1;
const STATES: u8 = 2;
const WRITTEN: u8 = 3;

/// A result as bytes. Cells stand as they are, so that they are copied once.
pub(crate) fn to_bytes(result: &PartResult) -> Result<Vec<u8>, Told> {
    let failed = |e: postcard::Error| Told::value(format!("states cannot be written: {e}"));
    let mut bytes = vec![FORM];
    match result {
        PartResult::Cells(arrays) => {
            bytes.push(CELLS);
            for (array, cells) in arrays {
                bytes.extend((*array as u64).to_le_bytes());
                bytes.extend((cells.len() as u64).to_le_bytes());
                bytes.extend(cells);
            }
        }
        PartResult::States(states) => {
            bytes.push(STATES);
            bytes = postcard::to_extend(states, bytes).map_err(failed)?;
        }
        PartResult::Written => bytes.push(WRITTEN),
    }
    Ok(bytes)
}

/// A result from bytes.
pub(crate) fn from_bytes(bytes: &[u8]) -> Result<PartResult, Told> {
    let foreign = || Told::value("these bytes are not what a part of this version gives");
    match bytes {
        [FORM, CELLS, rest @ ..] => {
            let mut arrays = Vec::new();
            let mut rest = rest;
            while !rest.is_empty() {
                let (head, cells) = rest.split_at_checked(16).ok_or_else(foreign)?;
                let number = |at: usize| -> u64 {
                    let mut bytes = [0; 8];
                    bytes.copy_from_slice(&head[at..at + 8]);
                    u64::from_le_bytes(bytes)
                };
                let (cells, after) = cells.split_at_checked(number(8) as usize).ok_or_else(foreign)?;
                arrays.push((number(0) as usize, cells.to_vec()));
                rest = after;
            }
            Ok(PartResult::Cells(arrays))
        }
        [FORM, STATES, rest @ ..] => {
            postcard::from_bytes::<Vec<PatchStates>>(rest).map(PartResult::States).map_err(|_| foreign())
        }
        [FORM, WRITTEN] => Ok(PartResult::Written),
        _ => Err(foreign()),
    }
}

/// The states of a result.
pub(crate) fn states(result: PartResult) -> Result<Vec<PatchStates>, Told> {
    match result {
        PartResult::States(states) => Ok(states),
        _ => Err(Told::value("a part that is complete has no states to finish")),
    }
}

/// Merges the states that parts of one tile gave.
#[pyfunction]
pub(crate) fn merge(py: Python<'_>, results: Vec<Vec<u8>>) -> PyResult<Bound<'_, PyBytes>> {
    let bytes = wait(py, None, move |_| {
        let results = results.iter().map(|bytes| from_bytes(bytes)).collect::<Result<Vec<_>, _>>()?;
        to_bytes(&merge_results(results)?)
    })?;
    Ok(PyBytes::new(py, &bytes))
}

/// The arrays of a result of cells: the number of each, and its bytes.
#[pyfunction]
pub(crate) fn cells<'py>(py: Python<'py>, result: &[u8]) -> PyResult<Vec<(usize, Bound<'py, PyAny>)>> {
    match from_bytes(result).map_err(|e| e.raise(py))? {
        PartResult::Cells(arrays) => {
            Ok(arrays.into_iter().map(|(array, cells)| (array, cells.into_pyarray(py).into_any())).collect())
        }
        _ => Ok(Vec::new()),
    }
}
