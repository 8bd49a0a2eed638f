//! A cube that is open: what it has, its labels, and what selections of them mean.

use crate::errors::Told;
use crate::request::{Job, Spec};
use crate::store::PyStore;
use crate::wait::wait;
use chunkwise::job::{OtherAxes, plane, prepare};
use chunkwise::open::{OpenCube, OpenOptions, open_in, open_with};
use chunkwise::store::{Loan, StorageOptions, Store, lend};
use chunkwise_core::cf::decode::{DecodeOptions, Nodata, Valid};
use chunkwise_core::cf::time::{Calendar, NOT_A_TIME};
use chunkwise_core::crs::{Crs, is_longitude};
use chunkwise_core::cube::{ChunkSizes, Labels, Role, Variable};
use chunkwise_core::dtype::Scalar;
use chunkwise_core::select::{AxisSelection, LabelQuery, nearest, resolve};
use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Value, json};
use std::sync::Arc;

/// A cube that is open.
#[pyclass(frozen, module = "chunkwise._chunkwise")]
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) cube: Arc<OpenCube>,
    /// What lets commands find a store that Python gives.
    _loan: Option<Loan>,
}

/// How stored values are understood: `nodata` is a number, `none`, or absent.
fn decode_options(nodata: Option<&str>, raw: bool, valid: bool) -> Result<DecodeOptions, Told> {
    let nodata = match nodata.map(str::trim) {
        None => Nodata::Cube,
        Some(none) if none.eq_ignore_ascii_case("none") => Nodata::None,
        Some(text) => match (text.parse::<i64>(), text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(value), _, _) => Nodata::Value(Scalar::Int(value)),
            (_, Ok(value), _) => Nodata::Value(Scalar::UInt(value)),
            (_, _, Ok(value)) => Nodata::Value(Scalar::Float(value)),
            _ => return Err(Told::value(format!("`nodata={text}` is neither a number nor `none`"))),
        },
    };
    Ok(DecodeOptions { nodata, raw, valid: if valid { Valid::Apply } else { Valid::Report } })
}

/// Opens what lies at a location.
#[pyfunction]
#[pyo3(signature = (location, storage, absent_on, nodata=None, raw=false, valid=false))]
pub(crate) fn open(
    py: Python<'_>,
    location: String,
    storage: Vec<String>,
    absent_on: Vec<u16>,
    nodata: Option<String>,
    raw: bool,
    valid: bool,
) -> PyResult<Source> {
    let cube = wait(py, None, move |_| {
        let mut options =
            StorageOptions::parse(&storage).map_err(|e| Told::from(chunkwise::error::OpenError::from(e)))?;
        options.absent_on = absent_on;
        let decode = decode_options(nodata.as_deref(), raw, valid)?;
        Ok(open_with(&location, &OpenOptions { decode, storage: options })?)
    })?;
    Ok(Source { cube: Arc::new(cube), _loan: None })
}

/// Opens what a Python object gives: `get(key)` and `list_dir(prefix)`, with the keys of Zarr v3. Where `name` is
/// `memory:NAME`, commands find it under that name too, as long as the cube is in use.
#[pyfunction]
#[pyo3(signature = (objects, name, nodata=None, raw=false, valid=false))]
pub(crate) fn open_mapping(
    py: Python<'_>,
    objects: Py<PyAny>,
    name: String,
    nodata: Option<String>,
    raw: bool,
    valid: bool,
) -> PyResult<Source> {
    let store: Arc<dyn Store> = Arc::new(PyStore { objects, name: name.clone() });
    let loan = name.strip_prefix("memory:").map(|name| lend(name, store.clone()));
    let cube =
        wait(py, None, move |_| Ok(open_in(store, "", &name, &decode_options(nodata.as_deref(), raw, valid)?)?))?;
    Ok(Source { cube: Arc::new(cube), _loan: loan })
}

#[pymethods]
impl Source {
    /// What the cube has, as JSON.
    fn describe(&self) -> String {
        let cube = &self.cube.cube;
        let variables: Vec<Value> = cube.variables.values().map(describe).collect();
        let found = plane(cube, &[], &[]).ok().flatten();
        let crs = found.as_ref().and_then(|f| f.crs.as_ref());
        let about = json!({
            "location": cube.location,
            "store": self.cube.store.location(),
            "form": self.cube.store.form(),
            "zarr_format": cube.zarr_format,
            "dims": cube.dims,
            "attrs": cube.attrs,
            "groups": self.cube.groups,
            "variables": variables,
            "crs": crs.map(Crs::label),
            "plane": found.and_then(|f| f.dims).map(|d| json!({"x": d.x, "y": d.y})),
        });
        about.to_string()
    }

    /// The location of its store, and its path there.
    fn place(&self) -> (String, String) {
        (self.cube.store.location(), self.cube.path.clone())
    }

    /// What tells this cube from another one of its place: a hash of its metadata and labels.
    fn identity(&self, py: Python<'_>) -> PyResult<String> {
        let cube = self.cube.clone();
        wait(py, None, move |_| Ok(cube.identity()?))
    }

    /// The text of a variable, whole.
    fn text(&self, py: Python<'_>, name: String) -> PyResult<Vec<String>> {
        let cube = self.cube.clone();
        wait(py, None, move |_| {
            let Some(variable) = cube.cube.variables.get(&name) else {
                return Err(Told::value(format!("there is no variable `{name}`")));
            };
            match cube.labels_of(variable)? {
                Labels::Text(text) => Ok(text),
                _ => Err(Told::value(format!("`{name}` holds no text"))),
            }
        })
    }

    /// The labels of a dimension: what they are, their calendar, and the labels.
    fn labels<'py>(&self, py: Python<'py>, dim: String) -> PyResult<(&'static str, Option<String>, Bound<'py, PyAny>)> {
        let cube = self.cube.clone();
        let labels = wait(py, None, move |_| match cube.cube.coordinate(&dim) {
            Some(_) => Ok(cube.labels(&dim)?),
            None => Ok(Arc::new(Labels::Index(cube.cube.dims.get(&dim).copied().unwrap_or(0)))),
        })?;
        Ok(match &*labels {
            Labels::Index(n) => ("index", None, n.into_pyobject(py)?.into_any()),
            Labels::Integer(v) => ("integer", None, v.clone().into_pyarray(py).into_any()),
            Labels::Number(v) => ("number", None, v.clone().into_pyarray(py).into_any()),
            Labels::Text(v) => ("text", None, v.into_pyobject(py)?),
            Labels::Time(axis) => {
                let micros = |nanos: &i128| match *nanos {
                    NOT_A_TIME => i64::MIN,
                    nanos => i64::try_from(nanos.div_euclid(1000)).unwrap_or(i64::MIN),
                };
                let counts: Vec<i64> = axis.nanos.iter().map(micros).collect();
                let calendar = match axis.calendar {
                    // Cells of real dates: NumPy has them.
                    Calendar::Standard => "standard".to_owned(),
                    other => other.name().to_owned(),
                };
                ("time", Some(calendar), counts.into_pyarray(py).into_any())
            }
        })
    }

    /// The indices that labels mean: for each dimension an index, `(start, stop, step)` or a list.
    ///
    /// `asked` has a dimension, `one`, `list` or `range`, and the labels as text; an end of a range may be `None`.
    fn resolve<'py>(
        &self,
        py: Python<'py>,
        asked: Vec<(String, String, Vec<Option<String>>)>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let mut queries = Vec::new();
        for (dim, kind, mut labels) in asked {
            let text = |label: Option<String>| label.unwrap_or_default();
            let query = match (kind.as_str(), labels.len()) {
                ("one", 1) => LabelQuery::One(text(labels.remove(0))),
                ("range", 2) => {
                    let end = labels.pop().flatten();
                    LabelQuery::Range(labels.pop().flatten(), end)
                }
                _ => LabelQuery::List(labels.into_iter().map(text).collect()),
            };
            queries.push((dim, query));
        }
        let cube = self.cube.clone();
        let selection = wait(py, None, move |_| {
            let wraps = |dim: &str| is_longitude(dim, cube.cube.coordinate(dim));
            resolve(&queries, &[], None, &cube.cube.dims, &|dim: &str| cube.labels(dim), &wraps)
                .map_err(|e| Told::from(chunkwise::job::JobError::from(e)))
        })?;
        indices(py, selection.axes.iter())
    }

    /// The indices of the rectangle of cells around a box `(west, south, east, north)`, of the CRS `crs` (`None`: the cube's).
    fn resolve_box<'py>(
        &self,
        py: Python<'py>,
        bounds: [f64; 4],
        crs: Option<String>,
        variables: Vec<String>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let cube = self.cube.clone();
        let selection = wait(py, None, move |_| {
            let given = crs.as_deref().map(Crs::parse).transpose().map_err(Told::of)?;
            let found = plane(&cube.cube, &variables, &[]).map_err(|OtherAxes { one, other }| {
                Told::value(format!("`{one}` and `{other}` lie along other axes; select one of them first"))
            })?;
            let place = found.unwrap_or_default();
            let dims = place.dims.iter().flat_map(|d| [&d.x, &d.y]);
            if let Some(dim) = dims.into_iter().find(|d| cube.cube.coordinate(d).is_none()) {
                return Err(Told::value(format!(
                    "`{dim}` has no coordinate, so its cells cannot be placed; use `isel`"
                )));
            }
            let query = place.box_query(bounds, given.as_ref()).map_err(Told::of)?;
            let wraps = |dim: &str| is_longitude(dim, cube.cube.coordinate(dim));
            resolve(&[], &[], Some(&query), &cube.cube.dims, &|dim: &str| cube.labels(dim), &wraps)
                .map_err(|e| Told::from(chunkwise::job::JobError::from(e)))
        })?;
        indices(py, selection.axes.iter())
    }

    /// The index of the cell that is nearest to a label, no further than half a cell outside.
    fn nearest(&self, py: Python<'_>, dim: String, label: String) -> PyResult<u64> {
        let cube = self.cube.clone();
        wait(py, None, move |_| {
            let labels = cube.labels(&dim)?;
            let wraps = is_longitude(&dim, cube.cube.coordinate(&dim));
            nearest(&labels, &label, wraps).map_err(|e| Told::from(chunkwise::job::JobError::from(e)))
        })
    }

    /// A request, checked.
    fn job(&self, py: Python<'_>, request: String) -> PyResult<Job> {
        let cube = self.cube.clone();
        wait(py, None, move |_| {
            let spec: Spec = serde_json::from_str(&request).map_err(|e| Told::value(format!("{e}")))?;
            let prepared = prepare(&cube, &spec.request()?)?;
            Ok(Job::new(cube, prepared, &spec))
        })
    }
}

fn indices<'py, 'a>(
    py: Python<'py>,
    axes: impl Iterator<Item = (&'a String, &'a AxisSelection)>,
) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    for (dim, axis) in axes {
        match axis {
            AxisSelection::Index(i) => all.set_item(dim, i)?,
            AxisSelection::Range { start, stop, step } => all.set_item(dim, (start, stop, step))?,
            AxisSelection::List(list) => all.set_item(dim, list.clone().into_pyarray(py))?,
        }
    }
    Ok(all)
}

fn describe(v: &Variable) -> Value {
    let sizes = |all: &[ChunkSizes]| -> Vec<Value> {
        let one = |sizes: &ChunkSizes| match sizes {
            ChunkSizes::Regular(n) => json!(n),
            ChunkSizes::Listed(list) => json!(list),
        };
        all.iter().map(one).collect()
    };
    let role = match v.role {
        Role::Data => "data",
        Role::Dimension => "dimension",
        Role::Auxiliary => "auxiliary",
        Role::Bounds => "bounds",
        Role::GridMapping => "grid_mapping",
    };
    json!({
        "name": v.name,
        "path": v.path,
        "dims": v.dims,
        "shape": v.shape,
        "dtype": v.dtype.name(),
        "view": v.view.map(|d| d.name()),
        "decoded_dtype": v.decoded_dtype().map(|d| d.name()),
        "chunks": sizes(&v.chunks),
        "shards": v.shards.as_deref().map(sizes),
        "codecs": v.codecs,
        "role": role,
        "is_time": v.is_time(),
        "fill_value": v.fill_value,
        "missing": v.missing.marks,
        "packing": [v.packing.scale, v.packing.offset],
        "attrs": v.attrs,
        "problem": v.problem,
        "zarr_format": v.zarr_format,
    })
}
