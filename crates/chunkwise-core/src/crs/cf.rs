//! CF grid mapping attributes, read and written.
//!
//! Source: CF conventions 1.11, appendix F.

use super::model::{Datum, Ellipsoid, Geodetic, Method, Projected, Projection, System};
use super::projection::{self, Given};
use crate::cube::Attrs;
use serde_json::{Value, json};

/// A number given as such, as text, or as an array of one.
fn number(attrs: &Attrs, key: &str) -> Option<f64> {
    numbers(attrs, key).and_then(|v| (v.len() == 1).then(|| v[0]))
}

/// One number or an array of them.
fn numbers(attrs: &Attrs, key: &str) -> Option<Vec<f64>> {
    let one = |v: &Value| v.as_f64().or_else(|| v.as_str()?.trim().parse().ok()).filter(|n: &f64| n.is_finite());
    match attrs.get(key)? {
        Value::Array(items) if items.len() <= 4 => items.iter().map(one).collect(),
        other => one(other).map(|n| vec![n]),
    }
}

/// What `grid_mapping_name` and its parameters say; `None` without that attribute.
///
/// Without any word on the Earth's shape it is that of WGS 84 (as pyproj reads it).
pub(super) fn from_attributes(attrs: &Attrs) -> Option<System> {
    let name = attrs.get("grid_mapping_name")?.as_str()?.trim();
    Some(system(name, attrs).unwrap_or_else(|reason| System::Other { reason }))
}

fn geodetic(attrs: &Attrs) -> Result<Geodetic, String> {
    let a = number(attrs, "semi_major_axis").or_else(|| number(attrs, "earth_radius"));
    let text = |key: &str| attrs.get(key).and_then(Value::as_str).unwrap_or("");
    let named = match text("reference_ellipsoid_name") {
        "WGS 84" | "WGS84" | "WGS 1984" => Some(Ellipsoid::WGS84),
        "GRS 1980" | "GRS80" => Some(Ellipsoid::GRS80),
        _ => None,
    };
    let ellipsoid = match a {
        Some(a) => match (number(attrs, "inverse_flattening"), number(attrs, "semi_minor_axis")) {
            (Some(rf), _) => Ellipsoid::new(a, rf),
            (None, Some(b)) => Ellipsoid::from_axes(a, b),
            (None, None) => Ellipsoid::new(a, 0.0),
        }
        .ok_or("its ellipsoid has no size")
        .map(Some)?,
        None => named,
    };
    let datum = match text("horizontal_datum_name") {
        "" if ellipsoid.is_none() => Datum::Wgs84,
        "" => Datum::Unknown,
        name => Datum::from_name(name),
    };
    let prime_meridian = number(attrs, "longitude_of_prime_meridian").unwrap_or(0.0);
    if prime_meridian.abs() > 360.0 {
        return Err("its prime meridian is out of range".to_owned());
    }
    if attrs.get("towgs84").is_some() && numbers(attrs, "towgs84").is_none_or(|v| v.iter().any(|x| *x != 0.0)) {
        return Err("it has a datum shift of its own".to_owned());
    }
    Ok(Geodetic { datum, ellipsoid: ellipsoid.unwrap_or(Ellipsoid::WGS84), prime_meridian, unit: 1.0 })
}

fn system(name: &str, attrs: &Attrs) -> Result<System, String> {
    let base = geodetic(attrs)?;
    let first = |keys: &[&str]| keys.iter().find_map(|k| number(attrs, k));
    let parallels = numbers(attrs, "standard_parallel").unwrap_or_default();
    let mut given = Given {
        lat_0: number(attrs, "latitude_of_projection_origin"),
        lon_0: first(&[
            "longitude_of_central_meridian",
            "longitude_of_projection_origin",
            "straight_vertical_longitude_from_pole",
        ]),
        lat_1: parallels.first().copied(),
        lat_2: parallels.get(1).copied(),
        k: first(&["scale_factor_at_central_meridian", "scale_factor_at_projection_origin"]),
        x_0: number(attrs, "false_easting"),
        y_0: number(attrs, "false_northing"),
    };
    let method = match name {
        "latitude_longitude" => return Ok(System::Geographic(base)),
        "transverse_mercator" => Method::TransverseMercator,
        "mercator" if given.lat_1.is_some() => Method::MercatorB,
        "mercator" => Method::MercatorA,
        "lambert_conformal_conic" => {
            // One parallel is two that coincide; its origin may lie elsewhere.
            given.lat_2 = given.lat_2.or(given.lat_1);
            if given.lat_1.is_none() { Method::LambertConformal1 } else { Method::LambertConformal2 }
        }
        "lambert_azimuthal_equal_area" => Method::LambertAzimuthal,
        "lambert_cylindrical_equal_area" => Method::LambertCylindrical,
        "albers_conical_equal_area" => {
            given.lat_2 = given.lat_2.or(given.lat_1);
            Method::Albers
        }
        "polar_stereographic" if given.lat_1.is_some_and(|l| l.abs() < 90.0 - 1e-9) => Method::PolarStereographicB,
        "polar_stereographic" => Method::PolarStereographicA,
        "sinusoidal" => Method::Sinusoidal,
        other => return Err(format!("its grid mapping `{other}` is not supported")),
    };
    let projection = projection::build(method, &given)?;
    Ok(System::Projected(Projected { base, projection, unit: 1.0 }))
}

/// The grid mapping attributes of a system; none for Web Mercator and what is only carried, for which CF has none.
pub(super) fn to_attributes(system: &System) -> Attrs {
    let mut attrs = Attrs::new();
    let base = match system {
        System::Geographic(base) => base,
        System::Projected(p) if p.projection.method != Method::WebMercator && p.unit == 1.0 => &p.base,
        _ => return attrs,
    };
    let mut put = |key: &str, value: Value| attrs.insert(key.to_owned(), value);
    put("semi_major_axis", json!(base.ellipsoid.a));
    put("semi_minor_axis", json!(base.ellipsoid.b()));
    if !base.ellipsoid.is_sphere() {
        put("inverse_flattening", json!(base.ellipsoid.rf));
    }
    put("longitude_of_prime_meridian", json!(base.prime_meridian));
    if base.datum != Datum::Unknown {
        put("horizontal_datum_name", json!(base.datum.name()));
    }
    let System::Projected(Projected { projection: p, .. }) = system else {
        put("grid_mapping_name", json!("latitude_longitude"));
        return attrs;
    };
    for (key, value) in parameters(p) {
        put(key, value);
    }
    put("false_easting", json!(p.x_0));
    put("false_northing", json!(p.y_0));
    attrs
}

fn parameters(p: &Projection) -> Vec<(&'static str, Value)> {
    const NAME: &str = "grid_mapping_name";
    const LAT: &str = "latitude_of_projection_origin";
    const LON: &str = "longitude_of_projection_origin";
    const MERIDIAN: &str = "longitude_of_central_meridian";
    const POLE: &str = "straight_vertical_longitude_from_pole";
    const PARALLEL: &str = "standard_parallel";
    const SCALE: &str = "scale_factor_at_projection_origin";
    let Projection { lat_0, lon_0, lat_1, lat_2, k, .. } = *p;
    match p.method {
        Method::TransverseMercator => vec![
            (NAME, json!("transverse_mercator")),
            (LAT, json!(lat_0)),
            (MERIDIAN, json!(lon_0)),
            ("scale_factor_at_central_meridian", json!(k)),
        ],
        Method::WebMercator => Vec::new(),
        Method::MercatorA => vec![(NAME, json!("mercator")), (LON, json!(lon_0)), (SCALE, json!(k))],
        Method::MercatorB => vec![(NAME, json!("mercator")), (LON, json!(lon_0)), (PARALLEL, json!(lat_1))],
        // CF's conic has no scale; with one parallel it is the origin.
        Method::LambertConformal1 if k != 1.0 => Vec::new(),
        Method::LambertConformal1 => vec![
            (NAME, json!("lambert_conformal_conic")),
            (PARALLEL, json!(lat_0)),
            (LAT, json!(lat_0)),
            (MERIDIAN, json!(lon_0)),
        ],
        Method::LambertConformal2 => vec![
            (NAME, json!("lambert_conformal_conic")),
            (PARALLEL, json!([lat_1, lat_2])),
            (LAT, json!(lat_0)),
            (MERIDIAN, json!(lon_0)),
        ],
        Method::LambertAzimuthal => {
            vec![(NAME, json!("lambert_azimuthal_equal_area")), (LAT, json!(lat_0)), (LON, json!(lon_0))]
        }
        Method::LambertCylindrical => {
            vec![(NAME, json!("lambert_cylindrical_equal_area")), (PARALLEL, json!(lat_1)), (MERIDIAN, json!(lon_0))]
        }
        Method::Albers => vec![
            (NAME, json!("albers_conical_equal_area")),
            (PARALLEL, json!([lat_1, lat_2])),
            (LAT, json!(lat_0)),
            (MERIDIAN, json!(lon_0)),
        ],
        Method::PolarStereographicA => {
            vec![(NAME, json!("polar_stereographic")), (LAT, json!(lat_0)), (POLE, json!(lon_0)), (SCALE, json!(k))]
        }
        Method::PolarStereographicB => vec![
            (NAME, json!("polar_stereographic")),
            (LAT, json!(lat_0)),
            (POLE, json!(lon_0)),
            (PARALLEL, json!(lat_1)),
        ],
        Method::Sinusoidal => vec![(NAME, json!("sinusoidal")), (LON, json!(lon_0))],
    }
}
