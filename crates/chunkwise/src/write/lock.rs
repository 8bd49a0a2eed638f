//! Locks on single objects, for changes that read before they write.
//!
//! Within the process a table of names; between processes, in a folder, an advisory lock on a file of the object's name
//! in `.chunkwise-locks` beside the chunks. A lock ends with the process that holds it, so that none is ever stale: a
//! file that a killed process left is locked anew by the next, which removes it. On other stores there is only the table.

use super::WriteError;
use super::place::failed;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// Folder of the lock files of an array.
pub(crate) const LOCKS: &str = ".chunkwise-locks";

static HELD: Mutex<Option<HashSet<String>>> = Mutex::new(None);
static FREED: Condvar = Condvar::new();

/// The only right to change one object; ends when dropped.
#[derive(Debug)]
pub(crate) struct ObjectLock {
    name: String,
    file: Option<(File, PathBuf)>,
}

impl ObjectLock {
    /// Waits for the right to change object `key` of the array in `folder` (or of the store at `location`).
    ///
    /// # Errors
    /// The file system has no locks, or the folder cannot be written.
    pub(crate) fn take(location: &str, folder: Option<&Path>, key: &str) -> Result<ObjectLock, WriteError> {
        let name = format!("{location}\0{key}");
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        while held.get_or_insert_default().contains(&name) {
            held = FREED.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        held.get_or_insert_default().insert(name.clone());
        drop(held);
        // From here on dropping it frees the name, also when the file cannot be locked.
        let mut lock = ObjectLock { name, file: None };
        if let Some(folder) = folder {
            let path = folder.join(LOCKS).join(key.replace('/', "."));
            let file = lock_file(&path).map_err(|e| failed("lock", &path, e))?;
            lock.file = Some((file, path));
        }
        Ok(lock)
    }
}

impl Drop for ObjectLock {
    fn drop(&mut self) {
        if let Some((file, path)) = self.file.take() {
            // Removed while it is locked: whoever waits for it sees that its file has gone, and makes another.
            if cfg!(unix) {
                let _ = fs::remove_file(path);
            }
            drop(file);
        }
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.get_or_insert_default().remove(&self.name);
        drop(held);
        FREED.notify_all();
    }
}

/// Removes the folder of lock files if no one uses it.
pub(crate) fn tidy(folder: &Path) {
    let _ = fs::remove_dir(folder.join(LOCKS));
}

fn lock_file(path: &Path) -> io::Result<File> {
    loop {
        let open = || File::options().create(true).truncate(false).write(true).open(path);
        let file = match open() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                match path.parent().map(fs::create_dir_all) {
                    // It was there when it was to be made, and gone when it was looked at: tidied up in between.
                    Some(Err(e)) if e.kind() == ErrorKind::AlreadyExists => continue,
                    Some(Err(e)) => return Err(e),
                    _ => {}
                }
                match open() {
                    // Tidied up in between.
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    opened => opened?,
                }
            }
            opened => opened?,
        };
        file.lock()?;
        if still_there(&file, path)? {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn still_there(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(not(unix))]
fn still_there(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_locks_that_others_tidy_away_is_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        std::thread::scope(|scope| {
            for name in ["c.0", "c.1", "c.2", "c.3"] {
                scope.spawn(move || {
                    for _ in 0..2000 {
                        drop(ObjectLock::take("a store", Some(path), name).expect("a lock"));
                        tidy(path);
                    }
                });
            }
        });
    }
}
