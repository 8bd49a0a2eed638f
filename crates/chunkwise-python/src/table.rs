//! Tables, which Arrow's C stream hands to pandas, polars, DuckDB and others without copies.

use crate::errors::Told;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    Array, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchIterator, RecordBatchReader, StringArray,
    TimestampMicrosecondArray, UInt64Array, new_null_array,
};
use arrow_cast::cast;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use arrow_select::concat::concat_batches;
use chunkwise::job::Record;
use chunkwise::open::OpenCube;
use chunkwise::table::{Table as Columns, TableBatches};
use chunkwise_core::cf::time::Calendar;
use chunkwise_core::cube::{Labels, Variable};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule};
use std::sync::Arc;

/// Rows of typed columns.
#[pyclass(frozen, module = "chunkwise._chunkwise")]
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) columns: Columns,
}

impl Table {
    /// Records of a job on `cube`.
    pub(crate) fn of(cube: &OpenCube, records: &[Record]) -> Result<Table, Told> {
        let times = cube.cube.dims.keys().filter(|dim| cube.cube.coordinate(dim).is_some_and(Variable::is_time));
        let mut real = Vec::new();
        for dim in times {
            if let Labels::Time(axis) = &*cube.labels(dim)?
                && matches!(axis.calendar, Calendar::Standard | Calendar::ProlepticGregorian)
            {
                real.push(dim.clone());
            }
        }
        let mut batches = TableBatches::new(real);
        records.iter().try_for_each(|record| batches.write(record.clone())).map_err(Told::of)?;
        Ok(Table { columns: batches.finish().map_err(Told::of)? })
    }
}

#[pymethods]
impl Table {
    fn __len__(&self) -> usize {
        self.columns.rows()
    }

    /// Names of the columns and what they hold, as Arrow calls it.
    fn schema(&self) -> Vec<(String, String)> {
        self.columns.schema.fields().iter().map(|f| (f.name().clone(), f.data_type().to_string())).collect()
    }

    /// A column for NumPy: what it holds, and its values. Whole numbers with gaps are numbers with NaN; times are
    /// microseconds since 1970, the least number where there is none; text is a list.
    fn column<'py>(&self, py: Python<'py>, at: usize) -> PyResult<(&'static str, Bound<'py, PyAny>)> {
        let parts: Vec<&dyn Array> = self.columns.batches.iter().map(|b| b.column(at).as_ref()).collect();
        let gaps = parts.iter().any(|p| p.null_count() > 0);
        macro_rules! numbers {
            ($array:ty, $of:ty, $to:expr) => {{
                let cells = parts.iter().filter_map(|p| p.as_any().downcast_ref::<$array>());
                let all: Vec<$of> = cells.flat_map(|cells| cells.iter().map($to)).collect();
                all.into_pyarray(py).into_any()
            }};
        }
        Ok(match self.columns.schema.field(at).data_type() {
            DataType::Int64 if gaps => ("number", numbers!(Int64Array, f64, |v| v.map_or(f64::NAN, |v| v as f64))),
            DataType::Int64 => ("number", numbers!(Int64Array, i64, Option::unwrap_or_default)),
            DataType::UInt64 if gaps => ("number", numbers!(UInt64Array, f64, |v| v.map_or(f64::NAN, |v| v as f64))),
            DataType::UInt64 => ("number", numbers!(UInt64Array, u64, Option::unwrap_or_default)),
            DataType::Float64 => ("number", numbers!(Float64Array, f64, |v| v.unwrap_or(f64::NAN))),
            DataType::Timestamp(..) => ("time", numbers!(TimestampMicrosecondArray, i64, |v| v.unwrap_or(i64::MIN))),
            DataType::Boolean => {
                let cells = parts.iter().filter_map(|p| p.as_any().downcast_ref::<BooleanArray>());
                let all: Vec<Option<bool>> = cells.flat_map(|cells| cells.iter()).collect();
                ("object", all.into_pyobject(py)?)
            }
            _ => {
                let cells = parts.iter().filter_map(|p| p.as_any().downcast_ref::<StringArray>());
                let all: Vec<Option<&str>> = cells.flat_map(|cells| cells.iter()).collect();
                ("object", all.into_pyobject(py)?)
            }
        })
    }

    /// The table as a stream of Arrow's IPC format.
    fn to_ipc<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let write = || -> Result<Vec<u8>, ArrowError> {
            let mut writer = StreamWriter::try_new(Vec::new(), &self.columns.schema)?;
            self.columns.batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.into_inner()
        };
        let bytes = py.detach(write).map_err(|e| Told::of(e).raise(py))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The Arrow PyCapsule interface. A schema that is asked for may be ignored, as it says.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches = self.columns.batches.clone().into_iter().map(Ok);
        let reader: Box<dyn RecordBatchReader + Send> =
            Box::new(RecordBatchIterator::new(batches, self.columns.schema.clone()));
        PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(reader), c"arrow_array_stream")
    }
}

/// The table of these rows of tables as [`Table::to_ipc`] gives them: of part `i` the rows `from .. to`, in this order. It has
/// the columns of all parts; cells of a column that a part lacks are missing.
#[pyfunction]
pub(crate) fn table_of(py: Python<'_>, parts: Vec<Vec<u8>>, rows: Vec<(usize, usize, usize)>) -> PyResult<Table> {
    py.detach(|| joined(&parts, &rows)).map_err(|e| e.raise(py))
}

fn joined(parts: &[Vec<u8>], rows: &[(usize, usize, usize)]) -> Result<Table, Told> {
    let mut read: Vec<RecordBatch> = Vec::with_capacity(parts.len());
    for bytes in parts {
        let reader = StreamReader::try_new(bytes.as_slice(), None).map_err(Told::of)?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(Told::of)?;
        read.push(concat_batches(&schema, &batches).map_err(Told::of)?);
    }
    let mut names: Vec<String> = Vec::new();
    for name in
        read.iter().flat_map(|batch| batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>())
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    // A column of which a part has no values is of the type that the others have; whole numbers and numbers are numbers.
    let field = |name: &String| {
        let columns = read.iter().filter_map(|b| b.column_by_name(name));
        let mut types: Vec<&DataType> = Vec::new();
        for of in columns.clone().filter(|c| c.null_count() < c.len()).map(|c| c.data_type()) {
            if !types.contains(&of) {
                types.push(of);
            }
        }
        let of = match types.as_slice() {
            [] => columns.map(|c| c.data_type().clone()).next().unwrap_or(DataType::Float64),
            [one] => (*one).clone(),
            several if several.iter().all(|of| of.is_numeric()) => DataType::Float64,
            _ => DataType::Utf8,
        };
        Field::new(name.clone(), of, true)
    };
    let schema = Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()));
    let mut cast_parts = Vec::with_capacity(read.len());
    for batch in &read {
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>().map_err(Told::of)?;
        cast_parts.push(RecordBatch::try_new(schema.clone(), columns).map_err(Told::of)?);
    }
    let mut batches = Vec::new();
    for &(part, from, to) in rows {
        let batch = cast_parts.get(part).filter(|b| from <= to && to <= b.num_rows());
        let Some(batch) = batch else { return Err(Told::value(format!("part {part} has no rows {from} to {to}"))) };
        batches.push(batch.slice(from, to - from));
    }
    let whole = concat_batches(&schema, &batches).map_err(Told::of)?;
    Ok(Table { columns: Columns { schema, batches: vec![whole] } })
}
