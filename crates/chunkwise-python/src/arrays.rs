//! Results as NumPy arrays.

use chunkwise::job::arrays::ResultArrays;
use chunkwise_core::cube::DataType;
use chunkwise_core::dtype::Scalar;
use numpy::IntoPyArray;
use pyo3::prelude::*;
use serde_json::{Value, json};

/// The NumPy type of what is stored, as `numpy.dtype` takes it.
fn numpy_type(dtype: &DataType) -> String {
    match dtype {
        DataType::Text(kind) => match kind {
            chunkwise_core::cube::TextKind::Utf32(width) => format!("<U{width}"),
            _ => "object".to_owned(),
        },
        other => other.name(),
    }
}

/// A mark as JSON; what JSON cannot hold as text.
fn mark(value: Scalar) -> Value {
    match value {
        Scalar::Float(v) if v.is_nan() => "nan".into(),
        Scalar::Float(v) if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.into(),
        Scalar::Float(v) => v.into(),
        Scalar::Int(v) => v.into(),
        Scalar::UInt(v) => v.into(),
    }
}

/// Attributes of the whole as JSON, and of each array a description as JSON and its bytes, which NumPy takes over: no copy.
pub(crate) fn give(py: Python<'_>, found: ResultArrays) -> PyResult<Bound<'_, PyAny>> {
    let mut arrays = Vec::new();
    for (i, array) in found.arrays.into_iter().enumerate() {
        let spec = &array.spec;
        let about = json!({
            "name": spec.path,
            "dims": spec.dims,
            "shape": spec.shape,
            "dtype": numpy_type(&spec.dtype),
            "missing": spec.missing.map(mark),
            "attrs": spec.attrs,
            "chunks": spec.chunks,
            "is_result": i < found.results,
        });
        arrays.push((about.to_string(), array.cells.into_pyarray(py)));
    }
    Ok((Value::Object(found.attrs).to_string(), arrays).into_pyobject(py)?.into_any())
}
