//! PROJJSON: WKT 2 as JSON.
//!
//! Source: <https://proj.org/en/stable/specifications/projjson.html>

use super::model::{Datum, Ellipsoid, Geodetic, Projected, System};
use super::projection::{self, Given, Key, Quantity};
use super::{Crs, CrsError};
use serde_json::Value;

/// Reads PROJJSON text.
pub(super) fn parse(text: &str) -> Result<Crs, CrsError> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| CrsError::Malformed { form: "PROJJSON", problem: e.to_string() })?;
    from_value(&value)
}

/// Reads PROJJSON.
pub(super) fn from_value(value: &Value) -> Result<Crs, CrsError> {
    if !value.get("type").is_some_and(Value::is_string) {
        return Err(CrsError::Malformed { form: "PROJJSON", problem: "it has no `type`".to_owned() });
    }
    let system = system(value, 0).unwrap_or_else(|reason| System::Other { reason });
    let name = value.get("name").and_then(Value::as_str).filter(|n| !n.is_empty()).map(str::to_owned);
    let epsg = epsg(value);
    Ok(Crs { name, epsg, wkt: None, system })
}

fn epsg(value: &Value) -> Option<u32> {
    let id = value.get("id").or_else(|| value.get("ids").and_then(|ids| ids.get(0)))?;
    let epsg = id.get("authority")?.as_str()?.eq_ignore_ascii_case("EPSG");
    let code = id.get("code")?;
    let code = code.as_u64().and_then(|c| u32::try_from(c).ok()).or_else(|| code.as_str()?.parse().ok());
    code.filter(|_| epsg)
}

/// Factor of a unit: degrees, metres or 1.
fn unit(value: &Value, quantity: Quantity) -> Option<f64> {
    let factor = match value {
        Value::String(name) => match (name.as_str(), quantity) {
            ("degree", Quantity::Angle) | ("metre", Quantity::Length) | ("unity", Quantity::Scale) => 1.0,
            _ => return None,
        },
        other => {
            let factor = other.get("conversion_factor")?.as_f64()?;
            if quantity == Quantity::Angle { snap(factor.to_degrees()) } else { factor }
        }
    };
    (factor.is_finite() && factor > 0.0).then_some(factor)
}

fn snap(degrees: f64) -> f64 {
    [1.0, 0.9].into_iter().find(|w| (degrees - w).abs() < 1e-11).unwrap_or(degrees)
}

/// A number, or `{value, unit}`.
fn measure(value: &Value, quantity: Quantity) -> Option<f64> {
    match value.as_f64() {
        Some(number) => Some(number),
        None => Some(value.get("value")?.as_f64()? * unit(value.get("unit")?, quantity)?),
    }
}

fn system(value: &Value, depth: usize) -> Result<System, String> {
    match value.get("type").and_then(Value::as_str).unwrap_or("") {
        _ if depth > 8 => Err("it is nested too deeply".to_owned()),
        "GeographicCRS" | "GeodeticCRS" => geographic(value).map(System::Geographic),
        "ProjectedCRS" => projected(value).map(System::Projected),
        "CompoundCRS" => {
            let first = value.get("components").and_then(|c| c.get(0)).ok_or("it is a compound of nothing")?;
            system(first, depth + 1)
        }
        other => Err(format!("it is of the kind `{other}`")),
    }
}

fn axes(value: &Value) -> impl Iterator<Item = &Value> {
    value.pointer("/coordinate_system/axis").and_then(Value::as_array).into_iter().flatten()
}

fn axes_point(value: &Value, allowed: &[&str]) -> Result<(), String> {
    for axis in axes(value) {
        let direction = axis.get("direction").and_then(Value::as_str).unwrap_or("east");
        if !allowed.contains(&direction) {
            return Err(format!("one of its axes counts to the {direction}"));
        }
    }
    Ok(())
}

fn geographic(value: &Value) -> Result<Geodetic, String> {
    let subtype = value.pointer("/coordinate_system/subtype").and_then(Value::as_str);
    if subtype.is_some_and(|s| s != "ellipsoidal") {
        return Err("it is geocentric".to_owned());
    }
    axes_point(value, &["east", "north", "up"])?;
    let datum = value.get("datum").or_else(|| value.get("datum_ensemble")).ok_or("it names no datum")?;
    let ellipsoid = datum.get("ellipsoid").ok_or("its datum has no ellipsoid")?;
    let length = |key: &str| ellipsoid.get(key).and_then(|v| measure(v, Quantity::Length));
    let ellipsoid = match (length("semi_major_axis"), length("radius")) {
        (Some(a), _) => {
            match (ellipsoid.get("inverse_flattening").and_then(Value::as_f64), length("semi_minor_axis")) {
                (Some(rf), _) => Ellipsoid::new(a, rf),
                (None, Some(b)) => Ellipsoid::from_axes(a, b),
                (None, None) => None,
            }
        }
        (None, Some(radius)) => Ellipsoid::new(radius, 0.0),
        (None, None) => None,
    };
    let ellipsoid = ellipsoid.ok_or("its ellipsoid has no size")?;
    let prime_meridian = match datum.pointer("/prime_meridian/longitude") {
        Some(longitude) => measure(longitude, Quantity::Angle).ok_or("its prime meridian has no longitude")?,
        None => 0.0,
    };
    let unit = axes(value).next().and_then(|a| unit(a.get("unit")?, Quantity::Angle)).unwrap_or(1.0);
    let name = datum.get("name").and_then(Value::as_str).unwrap_or("");
    Ok(Geodetic { datum: Datum::from_name(name), ellipsoid, prime_meridian, unit })
}

fn projected(value: &Value) -> Result<Projected, String> {
    let mut base = geographic(value.get("base_crs").ok_or("it has no geographic base")?)?;
    let conversion = value.get("conversion").ok_or("it names no projection")?;
    let method = conversion.get("method").ok_or("it names no projection")?;
    let name = method.get("name").and_then(Value::as_str).unwrap_or("");
    let own = axes(value).next().and_then(|a| unit(a.get("unit")?, Quantity::Length)).unwrap_or(1.0);
    let mut given = Given::default();
    let mut strange = None;
    for parameter in conversion.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        let label = parameter.get("name").and_then(Value::as_str).unwrap_or("");
        let Some(key) = Key::find(label, epsg(parameter)) else {
            strange.get_or_insert(label);
            continue;
        };
        let number = parameter.get("value").and_then(Value::as_f64);
        let factor = match parameter.get("unit") {
            Some(u) => unit(u, key.quantity()),
            None => Some(1.0),
        };
        let (Some(number), Some(factor)) = (number, factor) else {
            return Err(format!("its parameter `{label}` has no value that can be read"));
        };
        given.set(key, number * factor);
    }
    let projection = projection::from_name(name, epsg(method), &given, &base.ellipsoid)?;
    if let Some(label) = strange {
        return Err(format!("its projection `{name}` has the parameter `{label}`"));
    }
    let polar = projection.lat_0.abs() > 90.0 - 1e-9;
    axes_point(value, if polar { &["east", "north", "south", "up"] } else { &["east", "north", "up"] })?;
    base.unit = 1.0;
    Ok(Projected { base, projection, unit: own })
}
