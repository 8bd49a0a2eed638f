//! The extension module `chunkwise._chunkwise`: the engine for Python. It is thin: it takes requests as JSON and plain
//! values, runs them without the interpreter's lock, and gives back NumPy arrays, Arrow tables and text. What users
//! see is the Python package around it.

mod arrays;
mod call;
mod errors;
mod output;
mod parts;
mod region;
mod request;
mod source;
mod store;
mod table;
mod wait;

use pyo3::prelude::*;

/// The engine. Use the package `chunkwise`.
#[pymodule]
fn _chunkwise(module: &Bound<'_, PyModule>) -> PyResult<()> {
    ::chunkwise::memory::be_guest();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<source::Source>()?;
    module.add_class::<request::Job>()?;
    module.add_class::<output::Shared>()?;
    module.add_class::<table::Table>()?;
    module.add_function(wrap_pyfunction!(source::open, module)?)?;
    module.add_function(wrap_pyfunction!(source::open_mapping, module)?)?;
    module.add_function(wrap_pyfunction!(parts::merge, module)?)?;
    module.add_function(wrap_pyfunction!(parts::cells, module)?)?;
    module.add_function(wrap_pyfunction!(region::write_region, module)?)?;
    module.add_function(wrap_pyfunction!(region::forget_memory, module)?)?;
    module.add_function(wrap_pyfunction!(call::call, module)?)?;
    module.add_function(wrap_pyfunction!(call::commands, module)?)?;
    module.add_function(wrap_pyfunction!(call::main, module)?)?;
    module.add_function(wrap_pyfunction!(call::mask, module)?)?;
    module.add_function(wrap_pyfunction!(table::table_of, module)?)?;
    module.add_function(wrap_pyfunction!(call::default_memory, module)?)?;
    Ok(())
}
