//! The CRS that the keys of a GeoTIFF give: an EPSG code, a WKT in the citation, or the parameters of a projection.
//!
//! Source: OGC GeoTIFF 1.1 (19-008r4), annex on keys; the codes of coordinate transformations are those of GeoTIFF 1.0,
//! section 6.3.3.3.

use chunkwise_core::crs::{Crs, CrsError};
use geotiff_core::geokeys::{
    GEOG_GEODETIC_DATUM, GEOGRAPHIC_TYPE, GT_CITATION, GT_MODEL_TYPE, GeoKeyDirectory, PROJ_CITATION, PROJ_COORD_TRANS,
    PROJ_LINEAR_UNITS, PROJECTED_CS_TYPE, PROJECTION,
};
use std::fmt::Write as _;

/// A code that says: given by parameters.
const USER_DEFINED: u16 = 32767;
const GEOG_LINEAR_UNITS: u16 = 2052;
const GEOG_ELLIPSOID: u16 = 2056;
const GEOG_SEMI_MAJOR: u16 = 2057;
const GEOG_SEMI_MINOR: u16 = 2058;
const GEOG_INV_FLATTENING: u16 = 2059;
const GEOG_PRIME_MERIDIAN_LONG: u16 = 2061;
const LINEAR_UNIT_SIZE: u16 = 3077;

/// The CRS, or `None` where the file names none.
///
/// # Errors
/// A text or code in it that cannot be read.
pub(super) fn crs(keys: &GeoKeyDirectory) -> Result<Option<Crs>, CrsError> {
    let code = |key| keys.get_short(key).filter(|&c| c != 0 && c != USER_DEFINED);
    let model = keys.get_short(GT_MODEL_TYPE);
    if model != Some(2)
        && let Some(code) = code(PROJECTED_CS_TYPE)
    {
        return Crs::from_epsg(code.into()).map(Some);
    }
    // ESRI writes the whole text.
    for key in [PROJ_CITATION, GT_CITATION] {
        if let Some((_, wkt)) = keys.get_ascii(key).and_then(|t| t.split_once("ESRI PE String = ")) {
            return Crs::parse(wkt.trim_end_matches(['|', '\0'])).map(Some);
        }
    }
    if keys.get(PROJ_COORD_TRANS).is_some() || keys.get(PROJECTION).is_some() {
        let name = [PROJ_CITATION, GT_CITATION].iter().find_map(|&k| keys.get_ascii(k));
        let mut crs = match code(PROJECTION).and_then(utm) {
            Some((zone, south)) if code_of_datum(keys) == Some(4326) => {
                Crs::from_epsg(zone + if south { 32700 } else { 32600 })?
            }
            Some((zone, south)) => {
                let south = if south { " +south" } else { "" };
                Crs::parse(&format!("+proj=utm +zone={zone}{south} {}", ellipsoid(keys)))?
            }
            None => Crs::parse(&proj_string(keys))?,
        };
        if crs.epsg.is_none() {
            crs.name = Some(name.map_or_else(|| "unnamed".to_owned(), citation));
        }
        return Ok(Some(crs));
    }
    if let Some(code) = code(GEOGRAPHIC_TYPE) {
        return Crs::from_epsg(code.into()).map(Some);
    }
    if model == Some(2) {
        return Crs::parse(&format!("+proj=longlat {}", ellipsoid(keys))).map(Some);
    }
    Ok(None)
}

/// The first part of a citation, without its label.
fn citation(text: &str) -> String {
    let first = text.split(['|', '\n', '\0']).next().unwrap_or_default();
    first.trim().trim_start_matches("PCS Name = ").to_owned()
}

/// UTM zone by the code of its projection, and whether it is a southern one.
fn utm(projection: u16) -> Option<(u32, bool)> {
    match projection {
        16001..=16060 => Some((u32::from(projection - 16000), false)),
        16101..=16160 => Some((u32::from(projection - 16100), true)),
        _ => None,
    }
}

fn code_of_datum(keys: &GeoKeyDirectory) -> Option<u16> {
    match (keys.get_short(GEOGRAPHIC_TYPE), keys.get_short(GEOG_GEODETIC_DATUM)) {
        (Some(4326), _) | (_, Some(6326)) => Some(4326),
        (other, _) => other,
    }
}

fn number(keys: &GeoKeyDirectory, key: u16) -> Option<f64> {
    keys.get_double(key).and_then(|v| v.first()).copied().filter(|v| v.is_finite())
}

fn ellipsoid(keys: &GeoKeyDirectory) -> String {
    let (a, b) = (number(keys, GEOG_SEMI_MAJOR), number(keys, GEOG_SEMI_MINOR));
    let size = match (a, b, number(keys, GEOG_INV_FLATTENING)) {
        _ if code_of_datum(keys) == Some(4326) => "+datum=WGS84".to_owned(),
        (Some(a), _, Some(rf)) if rf > 0.0 => format!("+a={a} +rf={rf}"),
        (Some(a), Some(b), _) => format!("+a={a} +b={b}"),
        (Some(a), None, _) => format!("+R={a}"),
        _ => match keys.get_short(GEOG_ELLIPSOID) {
            Some(7019) => "+ellps=GRS80".to_owned(),
            Some(7004) => "+ellps=bessel".to_owned(),
            Some(7022) => "+ellps=intl".to_owned(),
            Some(7008) => "+ellps=clrk66".to_owned(),
            Some(7024) => "+ellps=krass".to_owned(),
            Some(7035 | 7048) => "+R=6371000".to_owned(),
            _ => match code_of_datum(keys) {
                Some(4269) => "+datum=NAD83".to_owned(),
                _ => "+ellps=WGS84".to_owned(),
            },
        },
    };
    match number(keys, GEOG_PRIME_MERIDIAN_LONG).filter(|&pm| pm != 0.0) {
        Some(pm) => format!("{size} +pm={pm}"),
        None => size,
    }
}

/// The PROJ string of a projection that is given by parameters; one of a method that is not known says so.
fn proj_string(keys: &GeoKeyDirectory) -> String {
    let get = |list: &[u16]| list.iter().find_map(|&k| number(keys, k)).unwrap_or(0.0);
    let lat_1 = get(&[3078]);
    let lat_2 = get(&[3079]);
    // Natural origin, centre or false origin, whichever a writer took.
    let lon_0 = get(&[3080, 3088, 3084, 3095]);
    let lat_0 = get(&[3081, 3089, 3085]);
    let x_0 = get(&[3082, 3090, 3086]);
    let y_0 = get(&[3083, 3091, 3087]);
    let k = [3092, 3093].iter().find_map(|&k| number(keys, k)).unwrap_or(1.0);
    let own = match keys.get_short(PROJ_COORD_TRANS) {
        Some(1) => format!("+proj=tmerc +lat_0={lat_0} +k={k}"),
        Some(7) if number(keys, 3078).is_some() => format!("+proj=merc +lat_ts={lat_1}"),
        Some(7) => format!("+proj=merc +k={k}"),
        Some(8) => format!("+proj=lcc +lat_1={lat_1} +lat_2={lat_2} +lat_0={lat_0}"),
        Some(9) => format!("+proj=lcc +lat_1={lat_0} +lat_0={lat_0} +k_0={k}"),
        Some(10) => format!("+proj=laea +lat_0={lat_0}"),
        Some(11) => format!("+proj=aea +lat_1={lat_1} +lat_2={lat_2} +lat_0={lat_0}"),
        Some(15) => {
            let pole = if lat_0 < 0.0 { -90.0 } else { 90.0 };
            match lat_0.abs() {
                90.0 => format!("+proj=stere +lat_0={lat_0} +k={k}"),
                _ => format!("+proj=stere +lat_0={pole} +lat_ts={lat_0}"),
            }
        }
        Some(24) => "+proj=sinu".to_owned(),
        Some(28) => format!("+proj=cea +lat_ts={lat_1}"),
        other => format!("+proj=geotiff_{}", other.unwrap_or_default()),
    };
    let mut text = format!("{own} +lon_0={lon_0} +x_0={x_0} +y_0={y_0} {}", ellipsoid(keys));
    let unit = match keys.get_short(PROJ_LINEAR_UNITS).or(keys.get_short(GEOG_LINEAR_UNITS)) {
        Some(9002) => Some(0.3048),
        Some(9003) => Some(1200.0 / 3937.0),
        Some(9036) => Some(1000.0),
        Some(USER_DEFINED) => number(keys, LINEAR_UNIT_SIZE),
        _ => None,
    };
    if let Some(unit) = unit {
        // Writing into a string does not fail.
        let _ = write!(text, " +to_meter={unit}");
    }
    text
}
