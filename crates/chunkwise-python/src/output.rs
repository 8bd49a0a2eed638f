//! Where results are written.

use crate::errors::Told;
use crate::request::element;
use crate::wait::wait;
use chunkwise::export::{Export, FileFormat};
use chunkwise::job::output::OutputOptions;
use chunkwise::job::parts::SharedOutput;
use chunkwise::job::{JobError, Prepared};
use chunkwise::open::OpenCube;
use chunkwise::store::StorageOptions;
use chunkwise::write::{Existing, Place, WriteError, ZarrVersion, lies_within};
use chunkwise_cli::Failed;
use pyo3::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where a result goes, as Python says it.
#[derive(Clone, Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct To {
    location: String,
    storage: Vec<String>,
    overwrite: bool,
    zarr_format: u8,
    chunks: Vec<(String, u64)>,
    shards: Vec<(String, u64)>,
    codec: Option<String>,
    dtype: Option<String>,
    history: String,
    job: String,
}

impl To {
    /// The new cube, and the file that is made of it, where it is one.
    pub(crate) fn options(
        &self,
        cube: &OpenCube,
        prepared: &Prepared,
    ) -> Result<(OutputOptions, Option<Export>), Told> {
        let format = FileFormat::of(&self.location);
        let (place, group) = match format {
            Some(_) => (Place::Folder(PathBuf::from(&self.location)), String::new()),
            None => {
                let storage = StorageOptions::parse(&self.storage).map_err(Failed::from)?;
                Place::find(&self.location, &storage).map_err(Failed::from)?
            }
        };
        if !group.is_empty() {
            return Err(Told::value(format!(
                "`{}`: a result is written as a cube of its own, not into a group",
                self.location
            )));
        }
        let codec = self.codec.as_deref().map(str::parse).transpose().map_err(|e| Told::from(Failed::from(e)))?;
        let mut options = OutputOptions {
            place,
            existing: if self.overwrite { Existing::Overwrite } else { Existing::Refuse },
            inputs: vec![cube.store.location()],
            zarr: if self.zarr_format == 2 { ZarrVersion::V2 } else { ZarrVersion::V3 },
            chunks: self.chunks.iter().cloned().collect(),
            shards: self.shards.iter().cloned().collect(),
            codec,
            dtype: self.dtype.as_deref().map(element).transpose()?,
            history: self.history.clone(),
            job: self.job.clone(),
        };
        let Some(format) = format else { return Ok((options, None)) };
        let path = PathBuf::from(&self.location);
        let input = cube.store.location();
        if Path::new(&input).exists() && lies_within(&path, Path::new(&input)) {
            return Err(Failed::from(WriteError::WithinInput { location: self.location.clone(), input }).into());
        }
        if path.is_dir() || (!self.overwrite && path.symlink_metadata().is_ok()) {
            return Err(Failed::from(WriteError::Exists { location: self.location.clone() }).into());
        }
        let export = Export { path, format, codec: options.codec.clone() };
        options = export.cube(options);
        for stage in prepared.results() {
            let dims: Vec<&str> = stage.output_dims().map(|d| prepared.output_name(&stage.dims[d].name)).collect();
            export.lay_out(&dims, &mut options);
        }
        Ok((options, Some(export)))
    }
}

/// How long an output waits for parts that still run before it is finished or removed.
const PATIENCE: Duration = Duration::from_secs(30);

/// An output that several processes write.
#[pyclass(frozen, module = "chunkwise._chunkwise")]
#[derive(Debug)]
pub(crate) struct Shared {
    options: Arc<OutputOptions>,
    /// Parts that run hold the output too.
    output: Arc<Mutex<Option<Arc<SharedOutput>>>>,
}

impl Shared {
    pub(crate) fn new(options: OutputOptions, output: SharedOutput) -> Shared {
        Shared { options: Arc::new(options), output: Arc::new(Mutex::new(Some(Arc::new(output)))) }
    }

    fn get(&self) -> Option<Arc<SharedOutput>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does `work` with the output.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&OutputOptions, &SharedOutput) -> Result<T, Told>,
    ) -> Result<T, Told> {
        match self.get() {
            Some(output) => work(&self.options, &output),
            None => Err(Told::value("the output is closed")),
        }
    }

    /// Ends the output, once no part holds it any more.
    fn end<T: Send + 'static>(
        &self,
        py: Python<'_>,
        end: impl FnOnce(SharedOutput) -> Result<T, JobError> + Send + 'static,
    ) -> PyResult<()> {
        let output = self.output.clone();
        wait(py, None, move |watch| {
            let taken = || output.lock().unwrap_or_else(PoisonError::into_inner).take();
            let until = Instant::now() + PATIENCE;
            let Some(mut held) = taken() else { return Ok(()) };
            loop {
                match Arc::try_unwrap(held) {
                    Ok(own) => return end(own).map(|_| ()).map_err(Told::from),
                    Err(back) if Instant::now() > until || watch.cancel().load(Ordering::Relaxed) => {
                        *output.lock().unwrap_or_else(PoisonError::into_inner) = Some(back);
                        return Err(Told::value("parts of the output still run"));
                    }
                    Err(back) => held = back,
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    }
}

#[pymethods]
impl Shared {
    /// The folder in which it is written until it is complete; `None` in other stores.
    fn work(&self) -> Option<String> {
        self.get().and_then(|output| output.work()).map(|work| work.display().to_string())
    }

    /// Makes a cube of it.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, SharedOutput::finish)
    }

    /// Removes it.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py, SharedOutput::abort)
    }
}
