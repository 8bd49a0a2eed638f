//! Tables of typed columns, row by row: Parquet and Arrow files.

mod columns;
mod write;

pub use columns::ColumnType;
pub use write::{Columnar, TableError, TableWriter};
