//! Coordinate reference systems: finding the one of a cube, reading and writing it, transforming points.
//!
//! Coordinates are always x (easting, longitude) first and y (northing, latitude) second, whatever order the
//! authority gives them in.
//!
//! Every text that says what a CRS is (EPSG code, WKT 1 and 2, PROJJSON, PROJ string, CF grid mapping) is read
//! into one model ([`System`]). What the model cannot say is kept as text ([`System::Other`]) and refused by name
//! where a transformation is needed.

mod affine;
mod attributes;
mod cf;
mod epsg;
mod find;
mod longitude;
mod model;
mod projection;
mod projjson;
mod projtext;
mod region;
mod transform;
mod wkt;
mod wkttext;

#[cfg(test)]
mod tests;

pub use affine::{AxisStep, GridTransform};
pub use attributes::{grid_mapping_attributes, update_grid_attributes};
pub use find::{CrsSource, Georeference, SpatialDims, find_georeference, is_longitude};
pub use longitude::{longitude_runs, wrap_longitude};
pub use model::{Datum, Ellipsoid, Geodetic, Method, Projected, Projection, System};
pub use transform::{Bounds, Transformer};

use serde::{Deserialize, Serialize};

/// Longest text (WKT, PROJJSON, PROJ string) that is read as a CRS, in bytes.
pub const LONGEST_TEXT: usize = 1 << 20;

/// Why a CRS cannot be read or used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CrsError {
    /// The text is in no form that says what a CRS is.
    #[error(
        "`{text}` is not a CRS: write `EPSG:` and a code, WKT, PROJJSON or a PROJ string such as `+proj=utm +zone=33`"
    )]
    Unknown {
        /// What was given, cut to a line.
        text: String,
    },
    /// The code is not among the definitions that are built in.
    #[error("`EPSG:{code}` is not among the EPSG definitions built in; its WKT or PROJJSON would work")]
    NoEpsg {
        /// The code asked for.
        code: u32,
    },
    /// The text begins as WKT, JSON or PROJ string, and breaks off or contradicts itself.
    #[error("cannot read the {form} of a CRS: {problem}")]
    Malformed {
        /// `WKT`, `PROJJSON`, `PROJ string` or `CF grid mapping`.
        form: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The CRS is carried as text, and no transformation from or to it is known here.
    #[error(
        "cannot transform coordinates of `{crs}`: {reason}; supported are geographic CRSs, transverse Mercator (UTM), Web Mercator, Mercator, Lambert conformal conic, Lambert azimuthal and cylindrical equal area, Albers, polar stereographic and sinusoidal"
    )]
    Unsupported {
        /// Label of the CRS.
        crs: String,
        /// What about it is not supported.
        reason: String,
    },
    /// The two datums differ by a shift that needs parameters or grids.
    #[error(
        "cannot transform from `{from}` to `{to}`: between the datums `{from_datum}` and `{to_datum}` lies a shift that is not built in"
    )]
    Datums {
        /// Label of the CRS of the input.
        from: String,
        /// Label of the CRS of the output.
        to: String,
        /// Datum of the input.
        from_datum: String,
        /// Datum of the output.
        to_datum: String,
    },
    /// The point cannot be expressed in the other CRS.
    #[error("the point x = {x}, y = {y} of `{from}` has no place in `{to}`")]
    Outside {
        /// x of the point.
        x: f64,
        /// y of the point.
        y: f64,
        /// Label of the CRS of the point.
        from: String,
        /// Label of the CRS asked for.
        to: String,
    },
    /// A cube that does not say where its cells lie.
    #[error("the cells cannot be placed: the variable has no {missing}; {hint}")]
    Unplaced {
        /// What is missing.
        missing: &'static str,
        /// What would work.
        hint: &'static str,
    },
    /// Bounds that enclose nothing, or are not numbers.
    #[error("`{west}, {south}, {east}, {north}` is not a box: write west, south, east, north, with south ≤ north{}",
        if *.geographic { "" } else { " and west ≤ east" })]
    NotABox {
        /// Western edge.
        west: f64,
        /// Southern edge.
        south: f64,
        /// Eastern edge.
        east: f64,
        /// Northern edge.
        north: f64,
        /// Whether the box is in longitudes and latitudes, where west may exceed east.
        geographic: bool,
    },
}

/// A coordinate reference system: the text it was given in and what that text says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crs {
    /// Name, as its text gives it: `WGS 84 / UTM zone 10N`.
    pub name: Option<String>,
    /// EPSG code, where known.
    pub epsg: Option<u32>,
    /// WKT as found, or of the EPSG code; kept letter by letter.
    pub wkt: Option<String>,
    /// What the text says.
    pub system: System,
}

impl Crs {
    /// The CRS of an EPSG code, with its WKT (version 1, without `TOWGS84`).
    ///
    /// # Errors
    /// The code is not built in (the list is that of PostGIS 3.4, about 8 000 codes).
    pub fn from_epsg(code: u32) -> Result<Crs, CrsError> {
        epsg::from_code(code)
    }

    /// Reads a CRS from `EPSG:32610`, `urn:ogc:def:crs:EPSG::32610`, an `http://www.opengis.net/def/crs/…` address,
    /// `OGC:CRS84`, a bare code, WKT 1 or 2, PROJJSON, or a PROJ string.
    ///
    /// # Errors
    /// The text is none of these, is malformed, or names a code that is not built in. A well-formed CRS of a kind
    /// that cannot be transformed is no error: it is [`System::Other`].
    pub fn parse(text: &str) -> Result<Crs, CrsError> {
        let text = text.trim();
        if text.len() > LONGEST_TEXT {
            return Err(CrsError::Unknown { text: shorten(text) });
        }
        if let Some(code) = epsg::code_in(text) {
            return Crs::from_epsg(code);
        }
        if text.starts_with('{') {
            return projjson::parse(text);
        }
        if text.starts_with('+') {
            return projtext::parse(text);
        }
        if wkt::looks_like(text) {
            return wkt::parse(text);
        }
        Err(CrsError::Unknown { text: shorten(text) })
    }

    /// Longitude and latitude on WGS 84 (`EPSG:4326`).
    pub fn wgs84() -> Crs {
        Crs {
            name: Some("WGS 84".to_owned()),
            epsg: Some(4326),
            wkt: epsg::wkt(4326),
            system: System::Geographic(Geodetic::WGS84),
        }
    }

    /// What to call it: `EPSG:32610`, else its name, else `unnamed CRS`.
    pub fn label(&self) -> String {
        match (self.epsg, &self.name) {
            (Some(code), _) => format!("EPSG:{code}"),
            (None, Some(name)) => name.clone(),
            (None, None) => "unnamed CRS".to_owned(),
        }
    }

    /// Whether coordinates are longitudes and latitudes.
    pub fn is_geographic(&self) -> bool {
        matches!(self.system, System::Geographic(_))
    }

    /// Whether both are the same system: same datum, ellipsoid, projection and unit, whatever text or name says so.
    ///
    /// Systems that are only carried are the same when they have one EPSG code or one WKT (but for white space).
    /// `EPSG:25833` and `EPSG:32633` are not the same, although the coordinates agree to a millimetre.
    pub fn same_as(&self, other: &Crs) -> bool {
        match (&self.system, &other.system) {
            (System::Other { .. }, System::Other { .. }) => {
                let squeeze = |w: &Option<String>| -> Option<String> {
                    w.as_ref().map(|w| w.chars().filter(|c| !c.is_whitespace()).collect())
                };
                match (self.epsg, other.epsg) {
                    (Some(a), Some(b)) => a == b,
                    _ => self.wkt.is_some() && squeeze(&self.wkt) == squeeze(&other.wkt),
                }
            }
            (a, b) => a.same_as(b),
        }
    }
}

/// The first line of `text`, at most 60 characters, for messages.
fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
