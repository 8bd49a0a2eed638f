//! A cube as a file of another format: a cloud-optimised GeoTIFF, a NetCDF-4 file.
//!
//! What a job gives is first a cube beside the file, in chunks as the file is to have them; from there it goes over chunk by
//! chunk, so that neither is ever whole in memory.

#[cfg(feature = "geotiff")]
mod geotiff;
#[cfg(feature = "netcdf")]
mod netcdf;

use crate::chunk::{ChunkError, ChunkReader, Scratch};
use crate::error::{BoxError, OpenError};
use crate::exec::{Counters, RunOptions};
use crate::job::output::OutputOptions;
use crate::open::{OpenCube, open_in};
use crate::store::{LocalStore, Store};
use crate::write::{CodecChoice, Compression, Place};
use chunkwise_core::cf::decode::DecodeOptions;
use chunkwise_core::cube::Variable;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Cells of a tile of a GeoTIFF along each side, at most.
const TILE: u64 = 512;

/// Formats that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// A GeoTIFF in tiles with overviews, its directories first (COG).
    GeoTiff,
    /// NetCDF-4, in HDF5.
    NetCdf,
}

impl FileFormat {
    /// The format that the ending of a path names.
    pub fn of(path: &str) -> Option<FileFormat> {
        match Path::new(path).extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "tif" | "tiff" => Some(FileFormat::GeoTiff),
            "nc" | "nc4" => Some(FileFormat::NetCdf),
            _ => None,
        }
    }
}

/// Why a cube cannot be written as such a file.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ExportError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error("a GeoTIFF has one type, one grid: `{one}` is {one_is}, `{other}` is {other_is}")]
    Mixed { one: String, one_is: String, other: String, other_is: String },
    #[error("`{variable}` has no two dimensions for the rows and columns of a GeoTIFF; it has {}", .has.join(", "))]
    NoPlane { variable: String, has: Vec<String> },
    #[error("the labels of `{dim}` are not even, and a GeoTIFF has only grids that are")]
    Uneven { dim: String },
    #[error("`{dim}` has one cell, and nothing says how large it is; a GeoTIFF needs to know")]
    OneCell { dim: String },
    #[error("`{variable}` is {dtype}, which is not written to {to}")]
    Type { variable: String, dtype: String, to: &'static str },
    #[error("`{codec}` is no compression of {to}; there are {has}")]
    Codec { codec: String, to: &'static str, has: &'static str },
    #[error("there is nothing to write")]
    Nothing,
    #[error("interrupted")]
    Interrupted,
    #[error("writing {to} is not built in")]
    NotBuilt { to: &'static str },
    #[error("cannot write `{}`", .path.display())]
    Write { path: PathBuf, source: BoxError },
}

/// A file to be written.
#[derive(Clone, Debug)]
pub struct Export {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    pub format: FileFormat,
    /// Compression; `None`: deflate.
    pub codec: Option<CodecChoice>,
}

impl Export {
    /// The options of the cube from which the file is made: it lies beside the file, in the chunks that the file is to have.
    pub fn cube(&self, mut options: OutputOptions) -> OutputOptions {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let beside = self.path.with_file_name(format!(".{name}.{}.zarr", std::process::id()));
        options.place = Place::Folder(beside);
        options.shards.clear();
        // It is read once, and soon.
        options.codec = "lz4".parse().ok();
        options
    }

    /// Cuts a variable along `dims` as the file is cut, where nothing else is asked for: a GeoTIFF has tiles of each band.
    pub fn lay_out(&self, dims: &[&str], options: &mut OutputOptions) {
        if self.format == FileFormat::NetCdf {
            return;
        }
        for (n, dim) in dims.iter().enumerate() {
            let cells = if n + 2 >= dims.len() { TILE } else { 1 };
            options.chunks.entry((*dim).to_owned()).or_insert(cells);
        }
    }

    /// Writes the file from the cube that [`Export::cube`] describes, and removes that.
    ///
    /// # Errors
    /// The cube is none that such a file can hold, or the file cannot be written. Nothing is left of either then.
    pub fn run(&self, cube: &OutputOptions, counters: &Counters, run: &RunOptions) -> Result<(), ExportError> {
        let Place::Folder(folder) = &cube.place else { return Err(ExportError::Nothing) };
        let _removed = Removed(folder.clone());
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(folder).map_err(|e| self.failed(e))?);
        let cube = open_in(store, "", &folder.display().to_string(), &DecodeOptions::default())?;
        let aside = self.path.with_file_name(format!(
            ".{}.{}.part",
            self.path.file_name().unwrap_or_default().to_string_lossy(),
            std::process::id()
        ));
        let part = Removed(aside.clone());
        match self.format {
            #[cfg(feature = "geotiff")]
            FileFormat::GeoTiff => geotiff::write(&cube, &aside, self, counters, run)?,
            #[cfg(feature = "netcdf")]
            FileFormat::NetCdf => netcdf::write(&cube, &aside, self, counters, run)?,
            #[cfg(not(all(feature = "geotiff", feature = "netcdf")))]
            _ => return Err(ExportError::NotBuilt { to: "this format" }),
        }
        let failed = |source: std::io::Error| self.failed(source);
        std::fs::File::open(&aside).and_then(|file| file.sync_all()).map_err(failed)?;
        std::fs::rename(&aside, &self.path).map_err(failed)?;
        drop(part);
        Ok(())
    }

    fn failed(&self, source: impl Into<BoxError>) -> ExportError {
        ExportError::Write { path: self.path.clone(), source: source.into() }
    }

    /// The level of deflate, or that nothing is compressed.
    fn deflate(&self, to: &'static str) -> Result<Option<u32>, ExportError> {
        let Some(codec) = &self.codec else { return Ok(Some(6)) };
        match &codec.compression {
            Compression::None if codec.filters.is_empty() => Ok(None),
            Compression::Gzip { level } | Compression::Zlib { level } if codec.filters.is_empty() => {
                Ok(Some(u32::from(*level)))
            }
            Compression::Auto => Ok(Some(6)),
            _ => Err(ExportError::Codec { codec: codec.to_string(), to, has: "`gzip:LEVEL`, `none`" }),
        }
    }
}

/// A file or folder that is gone once this is.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // What has another name by now, or was never made, is not there.
        let _ = std::fs::remove_dir_all(&self.0);
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Calls `each` with the cells of every chunk of a variable, in C order: where the chunk begins, its shape, its bytes in the
/// order of this machine. Chunks at the end have no cells beyond the variable.
fn each_chunk(
    cube: &OpenCube,
    variable: &Variable,
    run: &RunOptions,
    mut each: impl FnMut(&[u64], &[u64], &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let reader = ChunkReader::new(variable, cube.store.clone())?;
    let size = variable.dtype.number().map_or(8, |d| d.size());
    let (mut scratch, mut cells, mut cut) = (Scratch::new(), Vec::new(), Vec::new());
    let grid = reader.grid().to_vec();
    for n in 0..grid.iter().product::<u64>() {
        if run.cancel.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(ExportError::Interrupted);
        }
        let mut rest = n;
        let mut chunk = vec![0; grid.len()];
        for d in (0..grid.len()).rev() {
            chunk[d] = rest % grid[d];
            rest /= grid[d];
        }
        reader.read(&chunk, &mut scratch, &mut cells)?;
        let full = reader.shape(&chunk)?;
        let first: Vec<u64> = chunk.iter().zip(&full).map(|(c, n)| c * n).collect();
        let shape: Vec<u64> =
            first.iter().zip(&full).zip(&variable.shape).map(|((f, n), all)| (*n).min(all - f)).collect();
        if shape == full {
            each(&first, &shape, &cells)?;
            continue;
        }
        cut.clear();
        let region: Vec<(u64, u64)> = shape.iter().map(|&n| (0, n)).collect();
        crate::sink::memory::each_row(&full, &region, |at, _, n| {
            cut.extend_from_slice(&cells[at * size..(at + n) * size])
        });
        each(&first, &shape, &cut)?;
    }
    Ok(())
}
