//! EPSG codes: where a text names one, and the definitions built in (crate `crs-definitions`, from PostGIS).

use super::{Crs, CrsError, System, wkt};

/// Codes whose text built in is more than a millimetre off PROJ's (of all projected codes of the list, each at three
/// points of its area, pyproj 3.7.2): spherical formulas on an ellipsoid, and slips. All are deprecated.
const MISLEADING: [u32; 7] = [3973, 3974, 3975, 6996, 6997, 26591, 26592];

/// The code in `EPSG:32610`, `epsg 32610`, a bare number, an OGC URN or address, or `OGC:CRS84` (as 4326, whose
/// longitudes come first here anyway).
pub(super) fn code_in(text: &str) -> Option<u32> {
    let lower = text.trim().to_ascii_lowercase();
    if matches!(lower.as_str(), "ogc:crs84" | "crs84" | "crs:84" | "wgs84" | "urn:ogc:def:crs:ogc:1.3:crs84")
        || (lower.starts_with("http") && lower.ends_with("/ogc/1.3/crs84"))
    {
        return Some(4326);
    }
    let digits = if let Some(rest) = lower.strip_prefix("epsg:") {
        rest
    } else if let Some(rest) = lower.strip_prefix("urn:ogc:def:crs:epsg:") {
        rest.rsplit(':').next()?
    } else if lower.starts_with("http") && lower.contains("/crs/epsg/") {
        lower.trim_end_matches('/').rsplit('/').next()?
    } else if let Some(rest) = lower.strip_prefix("+init=epsg:") {
        rest.split_whitespace().next()?
    } else {
        lower.as_str()
    };
    let digits = digits.trim();
    (digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok()).flatten()
}

/// The WKT of a code, without `TOWGS84`: with it, readers would take the CRS for one bound to WGS 84.
pub(super) fn wkt(code: u32) -> Option<String> {
    let definition = crs_definitions::from_code(u16::try_from(code).ok()?)?;
    // Some codes of the list have no text.
    (!definition.wkt.is_empty()).then(|| without_towgs84(definition.wkt))
}

/// WKT 1 of a projected CRS with the axes of EPSG, so that readers recognise the code: PostGIS leaves them out where
/// northing comes first, and calls those around a pole east and north, where EPSG says south or north for both.
fn with_axes(wkt: String, system: &System) -> String {
    let (System::Projected(projected), Some(end)) = (system, wkt.rfind(",AUTHORITY[")) else {
        return wkt;
    };
    let polar = projected.projection.lat_0.abs() > 90.0 - 1e-9;
    if !wkt.starts_with("PROJCS[") {
        wkt
    } else if !wkt.contains("AXIS[") {
        let axes = ",AXIS[\"Northing\",NORTH],AXIS[\"Easting\",EAST]";
        if polar { wkt } else { format!("{}{axes}{}", &wkt[..end], &wkt[end..]) }
    } else if polar {
        let direction = if projected.projection.lat_0 > 0.0 { "\",SOUTH]" } else { "\",NORTH]" };
        let (head, tail) = wkt.split_at(wkt.find(",AXIS[").unwrap_or(end));
        format!("{head}{}", tail.replace("\",EAST]", direction).replace("\",NORTH]", direction))
    } else {
        wkt
    }
}

/// The CRS of a code.
pub(super) fn from_code(code: u32) -> Result<Crs, CrsError> {
    let text = wkt(code).ok_or(CrsError::NoEpsg { code })?;
    let mut crs = wkt::parse(&text)?;
    crs.epsg = Some(code);
    crs.wkt = crs.wkt.map(|wkt| with_axes(wkt, &crs.system));
    if MISLEADING.contains(&code) {
        crs.system =
            System::Other { reason: "the definition built in says it wrongly, and it is deprecated".to_owned() };
    }
    Ok(crs)
}

fn without_towgs84(wkt: &str) -> String {
    let Some(start) = wkt.find(",TOWGS84[") else {
        return wkt.to_owned();
    };
    let Some(length) = wkt[start..].find(']') else {
        return wkt.to_owned();
    };
    format!("{}{}", &wkt[..start], &wkt[start + length + 1..])
}
