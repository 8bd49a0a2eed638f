//! One file for each command: from its arguments to an exit code.

#[cfg(feature = "geotiff")]
pub(crate) mod append;
pub(crate) mod attrs;
pub(crate) mod calc;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod create;
#[cfg(feature = "geotiff")]
pub(crate) mod cubes;
pub(crate) mod demo;
#[cfg(feature = "geotiff")]
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod plot;
pub(crate) mod rasterize;
pub(crate) mod reduce;
pub(crate) mod series;
pub(crate) mod stats;
pub(crate) mod verify;
pub(crate) mod zonal;
