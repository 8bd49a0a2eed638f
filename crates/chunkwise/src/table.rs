//! Tables of typed columns, row by row: in memory, and as Parquet and Arrow files.

mod columns;
mod memory;
mod write;

pub use columns::ColumnType;
pub use memory::{Table, TableBatches};
pub use write::{Columnar, TableError, TableWriter};
