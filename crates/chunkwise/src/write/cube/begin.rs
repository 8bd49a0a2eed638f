//! Where a new cube begins: what lies there, and what is done about it.

use super::{CubeWriter, Existing, Folder, Output};
use crate::store::{LocalStore, Store, join};
use crate::write::array::{ArraySpec, ArrayWriter};
use crate::write::error::WriteError;
use crate::write::group;
use crate::write::journal::{Found, JOURNAL, Journal, JournalHead, Keeper, unfinished};
use crate::write::place::{self, FolderLock, Place, Present};
use std::path::Path;
use std::sync::{Arc, Mutex};

impl CubeWriter {
    pub(super) fn in_folder(output: Output, arrays: Vec<ArrayWriter>, root: &Path) -> Result<CubeWriter, WriteError> {
        let asked = if output.group.is_empty() { root.to_owned() } else { root.join(&output.group) };
        let location = place::shown(&asked);
        let target = place::real(&asked);
        for input in &output.inputs {
            // What is no path here lies in another store.
            let Some(path) = Some(Path::new(input)).filter(|path| path.exists()) else { continue };
            if place::same_place(&target, path) {
                return Err(WriteError::IsInput { location, input: input.clone() });
            }
            // A group that is named as one (`CUBE:GROUP`) is told in the metadata of the cube that holds it.
            if output.group.is_empty() && place::lies_within(&target, path) {
                return Err(WriteError::WithinInput { location, input: input.clone() });
            }
        }
        place::put_back(&target)?;
        let present = place::present_folder(&target)?;
        let busy = || WriteError::Busy { location: location.clone() };
        let unfinished_here = || {
            let lock = FolderLock::try_take(&target);
            if lock.is_some() { WriteError::Unfinished { location: location.clone() } } else { busy() }
        };
        let made_root = !root.exists();
        if !output.group.is_empty() && !made_root {
            let store = LocalStore::open(root)?;
            group::check_ancestors(&store, &output.group, output.zarr)?;
        }
        let (work, journal) = match (present, output.existing) {
            (Present::Other, _) => return Err(WriteError::NotACube { location }),
            (Present::Cube, Existing::Refuse) => return Err(WriteError::Exists { location }),
            (Present::Unfinished, Existing::Refuse | Existing::Extend) => {
                return Err(unfinished_here());
            }
            (Present::Cube, Existing::Extend) => {
                let writer = CubeWriter::new(
                    output,
                    Arc::new(LocalStore::open(&target)?),
                    String::new(),
                    Some(Folder {
                        work: target.clone(),
                        target,
                        made: false,
                        made_root: false,
                        zip: None,
                        _lock: None,
                    }),
                    arrays,
                );
                return writer.check_extension();
            }
            (Present::Nothing, _) => (target.clone(), Journal::new(output.job.clone())),
            (Present::Cube | Present::Unfinished, Existing::Overwrite) => {
                if FolderLock::try_take(&target).is_none() || !place::clean_beside(&target)? {
                    return Err(busy());
                }
                (place::new_beside(&target), Journal::new(output.job.clone()))
            }
            (Present::Unfinished, Existing::Resume) => {
                let journal = resumed(&LocalStore::open(&target)?, "", &output.job, &location)?;
                (target.clone(), journal)
            }
            (Present::Cube, Existing::Resume) => {
                match place::left_beside(&target).into_iter().find_map(|work| {
                    let store = LocalStore::open(&work).ok()?;
                    Some((resumed(&store, "", &output.job, &location).ok()?, work))
                }) {
                    Some((journal, work)) => (work, journal),
                    None => return Err(WriteError::Exists { location }),
                }
            }
        };
        let made = !work.exists();
        let store = LocalStore::create(&work)?;
        let lock = FolderLock::try_take(&work).ok_or_else(busy)?;
        // Another run may have begun here before the lock was taken.
        if present == Present::Nothing && place::present_folder(&work)? != Present::Nothing {
            return Err(WriteError::Unfinished { location });
        }
        let folder = Folder { target, work, made, made_root, zip: None, _lock: Some(lock) };
        let mut writer = CubeWriter::new(output, Arc::new(store), String::new(), Some(folder), arrays);
        writer.keep(journal)?;
        Ok(writer)
    }

    /// In a folder beside the zip file, which is packed in the end.
    pub(super) fn in_zip(
        mut output: Output,
        arrays: Vec<ArrayWriter>,
        target: &Path,
    ) -> Result<CubeWriter, WriteError> {
        let location = place::shown(target);
        let target = place::real(target);
        for input in &output.inputs {
            if Path::new(input).exists() && place::same_place(&target, Path::new(input)) {
                return Err(WriteError::IsInput { location, input: input.clone() });
            }
        }
        match (place::present_zip(&target)?, output.existing) {
            (Present::Other, _) => return Err(WriteError::NotACube { location }),
            (Present::Nothing, _) | (_, Existing::Overwrite) => {}
            (_, Existing::Extend) => {
                let problem = "a zip file is written as a whole".to_owned();
                return Err(WriteError::BadGroup { location, problem });
            }
            (_, Existing::Refuse | Existing::Resume) => return Err(WriteError::Exists { location }),
        }
        let left = place::left_beside(&target).into_iter().next().filter(|_| output.existing == Existing::Resume);
        let work = match left {
            Some(left) => left,
            None if !place::clean_beside(&target)? => return Err(WriteError::Busy { location }),
            None => place::new_beside(&target),
        };
        output.place = Place::Folder(work.clone());
        if output.existing != Existing::Resume {
            output.existing = Existing::Refuse;
        }
        let mut writer = CubeWriter::in_folder(output, arrays, &work)?;
        if let Some(folder) = &mut writer.folder {
            folder.zip = Some(target);
        }
        Ok(writer)
    }

    pub(super) fn in_store(
        output: Output,
        arrays: Vec<ArrayWriter>,
        store: Arc<dyn Store>,
    ) -> Result<CubeWriter, WriteError> {
        let group = output.group.clone();
        let location = match group.as_str() {
            "" => store.location(),
            group => format!("{}:{group}", store.location()),
        };
        let within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':']))
        };
        if let Some(input) = output.inputs.iter().find(|input| within(input, &location)) {
            return Err(WriteError::IsInput { location, input: input.clone() });
        }
        if let Some(input) = output.inputs.iter().find(|input| group.is_empty() && within(&location, input)) {
            return Err(WriteError::WithinInput { location, input: input.clone() });
        }
        group::check_ancestors(&store, &group, output.zarr)?;
        let journal = match (place::present(&store, &group)?, output.existing) {
            (Present::Other, _) => return Err(WriteError::NotACube { location }),
            (Present::Cube, Existing::Refuse | Existing::Resume) => {
                return Err(WriteError::Exists { location });
            }
            (Present::Unfinished, Existing::Refuse | Existing::Extend) => {
                return Err(WriteError::Unfinished { location });
            }
            (Present::Cube, Existing::Extend) => {
                return CubeWriter::new(output, store, group, None, arrays).check_extension();
            }
            (Present::Cube | Present::Unfinished, Existing::Overwrite) => {
                // Metadata first: what is left of the old cube must not look like one.
                for name in ["zarr.json", ".zmetadata", ".zgroup", ".zarray"] {
                    store.delete(&join(&group, name))?;
                }
                store.delete_prefix(&group)?;
                Journal::new(output.job.clone())
            }
            (Present::Unfinished, Existing::Resume) => resumed(&store, &group, &output.job, &location)?,
            (Present::Nothing, _) => {
                let journal = Journal::new(output.job.clone());
                // Of two that begin at once, one finds the other's journal.
                let claimed = Keeper::claim(journal, &store, &group).map_err(|source| WriteError::Object {
                    location: location.clone(),
                    key: JOURNAL.to_owned(),
                    source: Arc::new(source),
                })?;
                let Some(keeper) = claimed else { return Err(WriteError::Unfinished { location }) };
                let mut writer = CubeWriter::new(output, store, group, None, arrays);
                writer.journal = Some(Mutex::new(keeper));
                return Ok(writer);
            }
        };
        let mut writer = CubeWriter::new(output, store, group, None, arrays);
        writer.keep(journal)?;
        Ok(writer)
    }

    /// Goes on, beside other processes, with an output that one of them has begun and will finish: only chunks are written
    /// here. `work` is where that one said it lies until then ([`CubeWriter::work`]).
    ///
    /// # Errors
    /// There is no such output any more, or it is another job's; arrays that cannot be made as asked.
    pub fn join(
        output: Output,
        arrays: Vec<ArraySpec>,
        work: Option<std::path::PathBuf>,
    ) -> Result<CubeWriter, WriteError> {
        let arrays: Vec<ArrayWriter> = arrays.into_iter().map(ArrayWriter::new).collect::<Result<_, _>>()?;
        let location = output.place.location();
        let (store, prefix): (Arc<dyn Store>, String) = match (&output.place, work) {
            (_, Some(work)) => (Arc::new(LocalStore::open(&work)?), String::new()),
            (Place::Store(store), None) => (store.clone(), output.group.clone()),
            (place, None) => (place.store()?, output.group.clone()),
        };
        resumed(&store, &prefix, &output.job, &location)?;
        Ok(CubeWriter::new(output, store, prefix, None, arrays))
    }

    /// Checks that the group can take the new arrays, and removes chunks that an interrupted run left there.
    fn check_extension(self) -> Result<CubeWriter, WriteError> {
        let location = self.location();
        group::check_version(&self.store, &self.prefix, self.output.zarr, &location)?;
        for array in &self.arrays {
            let path = join(&self.prefix, &array.spec().path);
            match place::present(&self.store, &path)? {
                Present::Nothing => {}
                Present::Other => self.store.delete_prefix(&path)?,
                Present::Cube | Present::Unfinished => {
                    return Err(WriteError::NodeExists { location, node: array.spec().path.clone() });
                }
            }
        }
        Ok(self)
    }
}

fn resumed(store: &dyn Store, group: &str, head: &JournalHead, location: &str) -> Result<Journal, WriteError> {
    let other = |changed: String| WriteError::OtherJob { location: location.to_owned(), changed };
    match unfinished(store, group)? {
        Found::Unfinished(journal) => match head.changed(&journal.head) {
            None => Ok(journal),
            Some(changed) => Err(other(changed)),
        },
        Found::Unreadable | Found::None => Err(other("its journal cannot be read, and perhaps all".to_owned())),
    }
}
