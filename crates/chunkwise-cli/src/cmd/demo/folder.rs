//! The folder of the demo: made, recognised, and cleared of what an earlier run made.

use crate::failed::{Failed, Kind};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

/// The file by which a folder is known to be the demo's.
const MARKER: &str = ".chunkwise-demo";
const CUBE: &str = "cube.zarr";
/// The cube until all of its chunks are written.
const PART: &str = "cube.zarr.part";
const MEAN: &str = "mean.zarr";
/// Files that are made beside the cubes.
const FILES: [&str; 6] = [
    "elevation_zones.geojson",
    "red_month_12.png",
    "green_mean.png",
    "ndvi_series.png",
    "ndvi_zones.png",
    "report.html",
];

#[derive(Debug, thiserror::Error)]
#[error("cannot {what} `{path}`")]
struct FolderError {
    what: &'static str,
    path: String,
    source: io::Error,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Failed + 'a {
    move |source| Failed::of(FolderError { what, path: path.display().to_string(), source })
}

/// A folder that is the demo's alone while this lives.
pub(super) struct DemoFolder {
    root: PathBuf,
    _lock: File,
}

impl DemoFolder {
    /// Makes the folder, or takes over one that an earlier run made. What that run made goes; all else stays.
    ///
    /// # Errors
    /// Something else is there, another run is at work in it, or it cannot be written.
    pub(super) fn take(location: &str) -> Result<DemoFolder, Failed> {
        if location.is_empty() {
            return Err(Failed::says("the output has no name"));
        }
        let root = PathBuf::from(location);
        let marker = root.join(MARKER);
        match root.symlink_metadata() {
            Ok(_) if marker.is_file() => {}
            Ok(_) => {
                return Err(Failed::says(format!("`{location}` exists, and `chunkwise demo` did not make it"))
                    .with_kind(Kind::Exists)
                    .with_hint("name another folder with `-o`, or remove it first"));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(&root).map_err(failed("make", &root))?;
                let mut file = File::create_new(&marker).map_err(failed("make", &marker))?;
                writeln!(file, "Made by `chunkwise demo`, which makes the cubes in this folder anew each time.")
                    .map_err(failed("write", &marker))?;
            }
            Err(error) => return Err(failed("look at", &root)(error)),
        }
        let lock = File::open(&marker).map_err(failed("read", &marker))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(
                    Failed::says(format!("another `chunkwise demo` is at work in `{location}`")).with_kind(Kind::Io)
                );
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &marker)(error)),
        }
        let folder = DemoFolder { root, _lock: lock };
        for made in [MEAN, CUBE, PART].into_iter().chain(FILES) {
            folder.remove(made)?;
        }
        Ok(folder)
    }

    fn remove(&self, name: &str) -> Result<(), Failed> {
        let path = self.root.join(name);
        let gone = if FILES.contains(&name) { fs::remove_file(&path) } else { fs::remove_dir_all(&path) };
        match gone {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// The cube once it is whole.
    pub(super) fn cube(&self) -> PathBuf {
        self.root.join(CUBE)
    }

    /// The temporal mean.
    pub(super) fn mean(&self) -> PathBuf {
        self.root.join(MEAN)
    }

    /// A file of the demo.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes the cube aside and puts it in its place once it is whole; what is not whole is removed.
    ///
    /// # Errors
    /// Those of `make`; the cube cannot be renamed.
    pub(super) fn make_cube<T>(&self, make: impl FnOnce(&Path) -> Result<T, Failed>) -> Result<T, Failed> {
        let (part, cube) = (self.root.join(PART), self.cube());
        let made = make(&part).and_then(|made| {
            fs::rename(&part, &cube).map_err(failed("rename", &part))?;
            Ok(made)
        });
        if made.is_err() {
            // The first error is the one to tell.
            let _ = self.remove(PART);
        }
        made
    }
}
