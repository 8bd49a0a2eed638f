//! Tables in files: CSV, JSON, Parquet, Arrow; written aside and renamed.

use super::{Record, columns, json_end, json_row};
use crate::call;
use crate::failed::{Failed, Kind};
#[cfg(feature = "parquet")]
use chunkwise::table::{ColumnType, Columnar, TableError, TableWriter as ColumnWriter};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a table goes to a file, by the ending of `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableFile {
    /// `.csv`
    Csv,
    /// `.json`
    Json,
    /// `.parquet`, `.arrow`, `.feather`
    #[cfg(feature = "parquet")]
    Columnar(Columnar),
}

impl TableFile {
    /// Endings of tables, for messages.
    pub(crate) const ENDINGS: &str =
        if cfg!(feature = "parquet") { "`.csv`, `.json`, `.parquet` or `.arrow`" } else { "`.csv` or `.json`" };

    /// The kind of table that a path names, if it names one.
    pub(crate) fn of(path: &str) -> Option<TableFile> {
        let ending = Path::new(path).extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" => Some(TableFile::Csv),
            "json" => Some(TableFile::Json),
            #[cfg(feature = "parquet")]
            "parquet" => Some(TableFile::Columnar(Columnar::Parquet)),
            #[cfg(feature = "parquet")]
            "arrow" | "feather" => Some(TableFile::Columnar(Columnar::Arrow)),
            _ => None,
        }
    }

    /// Whether times are more than text in it.
    pub(crate) fn has_times(self) -> bool {
        !matches!(self, TableFile::Csv | TableFile::Json)
    }
}

/// Whether a file that exists is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overwrite {
    /// It is left alone.
    #[default]
    No,
    /// `--overwrite`.
    Yes,
}

impl From<bool> for Overwrite {
    fn from(yes: bool) -> Overwrite {
        if yes { Overwrite::Yes } else { Overwrite::No }
    }
}

/// A table that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct TableTo {
    pub(crate) path: String,
    pub(crate) kind: TableFile,
    pub(crate) replace: Overwrite,
    /// Columns of times of the real calendar.
    #[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "tables of text have no types"))]
    pub(crate) times: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
struct TableWrite {
    path: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// Records to a file.
///
/// # Errors
/// As [`TableWriter`].
pub(crate) fn save(records: &[Record], to: &TableTo) -> Result<(), Failed> {
    let mut table = TableWriter::create(to)?;
    // A column may first appear in a later record.
    table.columns = columns(records).into_iter().map(str::to_owned).collect();
    for column in table.columns.clone() {
        table.holds(&column, records.iter().filter_map(|record| record.get(&column)));
    }
    records.iter().try_for_each(|record| table.write(record))?;
    table.finish()
}

/// Refuses a file that exists and may not be replaced.
///
/// # Errors
/// It does.
pub(crate) fn refuse_existing(path: &str, overwrite: Overwrite) -> Result<(), Failed> {
    match overwrite == Overwrite::No && Path::new(path).symlink_metadata().is_ok() {
        true => Err(Failed::says(format!("the output `{path}` exists"))
            .with_kind(Kind::Exists)
            .with_hint("pass `--overwrite` to replace it, or write elsewhere")),
        false => Ok(()),
    }
}

/// Bytes to a file, which is written aside and renamed.
///
/// # Errors
/// The file exists and may not be replaced, or it cannot be written.
pub(crate) fn save_bytes(bytes: &[u8], path: &str, overwrite: Overwrite) -> Result<(), Failed> {
    refuse_existing(path, overwrite)?;
    let aside = aside(path);
    let written = (|| -> io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    })();
    written.map_err(|source| {
        // Nothing is left of what was not finished.
        let _ = std::fs::remove_file(&aside);
        Failed::of(TableWrite { path: path.to_owned(), source: source.into() })
    })
}

/// The file that is written until it is whole; of a call, no other call's.
fn aside(path: &str) -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let process = std::process::id();
    match call::here(|_| CALLS.fetch_add(1, Ordering::Relaxed)) {
        Some(n) => format!("{path}.{process}-{n}.part"),
        None => format!("{path}.{process}.part"),
    }
}

/// A table in the making, row by row.
pub(crate) struct TableWriter {
    path: String,
    aside: String,
    rows: Rows,
    columns: Vec<String>,
    written: u64,
}

enum Rows {
    Csv(Box<csv::Writer<File>>),
    Json(BufWriter<File>),
    #[cfg(feature = "parquet")]
    Columnar(Box<ColumnWriter>, Vec<String>),
    Done,
}

impl TableWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// The file exists and may not be replaced, or it cannot be written.
    pub(crate) fn create(to: &TableTo) -> Result<TableWriter, Failed> {
        let path = &to.path;
        refuse_existing(path, to.replace)?;
        let aside = aside(path);
        let file = File::create(&aside).map_err(|e| Failed::of(TableWrite { path: path.clone(), source: e.into() }))?;
        let rows = match to.kind {
            TableFile::Csv => Rows::Csv(Box::new(csv::WriterBuilder::new().buffer_capacity(1 << 16).from_writer(file))),
            TableFile::Json => Rows::Json(BufWriter::new(file)),
            #[cfg(feature = "parquet")]
            TableFile::Columnar(kind) => {
                Rows::Columnar(Box::new(ColumnWriter::new(file, kind, to.times.clone())), to.times.clone())
            }
        };
        Ok(TableWriter { path: path.clone(), aside, rows, columns: Vec::new(), written: 0 })
    }

    /// Says which values a column will hold, where they are known before its rows.
    pub(crate) fn holds<'a>(&mut self, column: &str, values: impl Iterator<Item = &'a Value>) {
        #[cfg(feature = "parquet")]
        if let Rows::Columnar(table, times) = &mut self.rows
            && !times.iter().any(|t| t == column)
        {
            table.set_type(column, ColumnType::of(values));
        }
        #[cfg(not(feature = "parquet"))]
        let _ = (column, values);
    }

    /// Says that a column holds counts.
    pub(crate) fn counts(&mut self, column: &str) {
        #[cfg(feature = "parquet")]
        if let Rows::Columnar(table, _) = &mut self.rows {
            table.set_type(column, ColumnType::Count);
        }
        #[cfg(not(feature = "parquet"))]
        let _ = column;
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failed {
        Failed::of(TableWrite { path: self.path.clone(), source: source.into() })
    }

    /// Adds a row. Where the columns are not known, they are those of the first.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&mut self, record: &Record) -> Result<(), Failed> {
        if self.columns.is_empty() {
            self.columns = record.keys().cloned().collect();
        }
        let begins = self.written == 0;
        self.written += 1;
        match &mut self.rows {
            Rows::Csv(csv) => csv_row(csv, &self.columns, record, begins).map_err(|e| self.failed(e)),
            Rows::Json(out) => json_row(out, record, begins).map_err(|e| self.failed(e)),
            #[cfg(feature = "parquet")]
            Rows::Columnar(table, _) => table.write(record).map_err(|e| self.failed(cause(e))),
            Rows::Done => Ok(()),
        }
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn finish(mut self) -> Result<(), Failed> {
        let is_empty = self.written == 0;
        let synced = |file: &File| file.sync_all().map_err(Into::into);
        let ended: Result<(), Box<dyn std::error::Error + Send + Sync>> =
            match std::mem::replace(&mut self.rows, Rows::Done) {
                Rows::Csv(mut csv) => csv.flush().map_err(Into::into).and_then(|()| synced(csv.get_ref())),
                Rows::Json(mut out) => json_end(&mut out, is_empty)
                    .and_then(|()| out.flush())
                    .map_err(Into::into)
                    .and_then(|()| synced(out.get_ref())),
                #[cfg(feature = "parquet")]
                Rows::Columnar(table, _) => table.finish().map_err(cause).and_then(|file| synced(&file)),
                Rows::Done => Ok(()),
            };
        ended
            .and_then(|()| std::fs::rename(&self.aside, &self.path).map_err(Into::into))
            .map_err(|source| self.failed(source))
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        // Nothing is left of what was not finished; what was, has another name.
        let _ = std::fs::remove_file(&self.aside);
    }
}

/// The error of the system beneath, where there is one: a full disk is one on whatever way.
#[cfg(feature = "parquet")]
fn cause(error: TableError) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        TableError::Io(e) => e.into(),
        other => other.into(),
    }
}

fn csv_row(csv: &mut csv::Writer<File>, columns: &[String], record: &Record, begins: bool) -> io::Result<()> {
    if begins && !columns.is_empty() {
        csv.write_record(columns)?;
    }
    csv.write_record(columns.iter().map(|name| match record.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }))?;
    Ok(())
}
