//! A file of columns in the making: rows are kept until they fill a batch.

use super::columns::{ColumnType, batch, schema, types};
use crate::job::Record;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::BufWriter;
use thiserror::Error;

/// Rows of a batch. A record of ten columns takes about 2 KB until it is one.
pub(super) const BATCH: usize = 8192;
/// Rows of a group of a Parquet file.
const GROUP: usize = 1 << 19;

/// Which kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columnar {
    /// Apache Parquet, compressed with zstd.
    Parquet,
    /// Apache Arrow's IPC file format (Feather version 2), not compressed.
    Arrow,
}

/// Why a table cannot be written.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TableError {
    #[error("the column `{column}` holds {holds}, and is to hold {value} too")]
    Value { column: String, holds: &'static str, value: String },
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Writes rows as a Parquet or Arrow file.
///
/// The columns are those of the first rows; their types are found from these, where they are not given.
pub struct TableWriter {
    kind: Columnar,
    /// Taken once the columns are known.
    file: Option<File>,
    to: Option<Writer>,
    types: Vec<(String, ColumnType)>,
    times: HashSet<String>,
    columns: Vec<(String, ColumnType)>,
    schema: SchemaRef,
    rows: Vec<Record>,
}

enum Writer {
    Parquet(Box<ArrowWriter<File>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter").field("kind", &self.kind).field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl TableWriter {
    /// A table in `file`. Columns that `times` names hold times of the real calendar where all of their values are such.
    pub fn new(file: File, kind: Columnar, times: impl IntoIterator<Item = String>) -> TableWriter {
        TableWriter {
            kind,
            file: Some(file),
            to: None,
            types: Vec::new(),
            times: times.into_iter().collect(),
            columns: Vec::new(),
            schema: schema(&[]),
            rows: Vec::new(),
        }
    }

    /// Says what a column holds, whatever its first rows do.
    pub fn set_type(&mut self, column: &str, holds: ColumnType) {
        self.types.push((column.to_owned(), holds));
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The file cannot be written; a value that its column does not hold.
    pub fn write(&mut self, row: &Record) -> Result<(), TableError> {
        self.rows.push(row.clone());
        if self.rows.len() == BATCH { self.batch() } else { Ok(()) }
    }

    fn batch(&mut self) -> Result<(), TableError> {
        if let Some(file) = self.file.take() {
            self.begin(file)?;
        }
        let batch = batch(&self.columns, &self.schema, &self.rows)?;
        self.rows.clear();
        match &mut self.to {
            Some(Writer::Parquet(to)) => to.write(&batch)?,
            Some(Writer::Arrow(to)) => to.write(&batch)?,
            None => {}
        }
        Ok(())
    }

    fn begin(&mut self, file: File) -> Result<(), TableError> {
        let types = types(&self.rows, &self.types, &self.times);
        self.columns = types.into_iter().map(|(name, of)| (name, of.unwrap_or(ColumnType::Number))).collect();
        self.schema = schema(&self.columns);
        let schema = self.schema.clone();
        self.to = Some(match self.kind {
            Columnar::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP))
                    .build();
                Writer::Parquet(Box::new(ArrowWriter::try_new(file, schema, Some(properties))?))
            }
            Columnar::Arrow => Writer::Arrow(Box::new(FileWriter::try_new_buffered(file, &schema)?)),
        });
        Ok(())
    }

    /// Ends the file and gives it back.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(mut self) -> Result<File, TableError> {
        if self.file.is_some() || !self.rows.is_empty() {
            self.batch()?;
        }
        match self.to {
            Some(Writer::Parquet(to)) => Ok(to.into_inner()?),
            Some(Writer::Arrow(mut to)) => {
                to.finish()?;
                let buffer = to.into_inner()?;
                Ok(buffer.into_inner().map_err(std::io::IntoInnerError::into_error)?)
            }
            None => Err(std::io::Error::other("the table was not begun").into()),
        }
    }
}
