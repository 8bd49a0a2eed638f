//! Name of a cube's CRS, as its metadata say it.

use chunkwise_core::cube::{Attrs, Cube, Role};
use serde_json::Value;

/// `EPSG:32610` where a code is named, else the name in the WKT, or of the grid mapping; `None` where nothing says one.
///
/// Looked at in this order: grid mapping variables, `proj:*` attributes (GeoZarr), `crs` attributes, latitude and
/// longitude by units. Codes are found as text, not checked against parameters.
pub(super) fn name(cube: &Cube) -> Option<String> {
    let mapping = cube.variables.values().find(|v| v.role == Role::GridMapping);
    let usual = || cube.variables.get("spatial_ref").or_else(|| cube.variables.get("crs"));
    if let Some(found) = mapping.or_else(usual).and_then(|v| of_mapping(&v.attrs)) {
        return Some(found);
    }
    let data = cube.data_variables().map(|v| &v.attrs);
    if let Some(found) = std::iter::once(&cube.attrs).chain(data).find_map(of_attrs) {
        return Some(found);
    }
    let units = |wanted: &str| cube.variables.values().any(|v| v.role == Role::Dimension && v.units() == Some(wanted));
    (units("degrees_north") && units("degrees_east")).then(|| "EPSG:4326".to_owned())
}

fn text<'a>(attrs: &'a Attrs, key: &str) -> Option<&'a str> {
    attrs.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn of_mapping(attrs: &Attrs) -> Option<String> {
    let written = ["crs_wkt", "spatial_ref"].into_iter().find_map(|key| text(attrs, key));
    let code = attrs.get("epsg_code").or_else(|| attrs.get("spatial_epsg")).and_then(|v| match v {
        Value::Number(n) => n.as_u64(),
        Value::String(s) => s.trim().trim_start_matches("EPSG:").parse().ok(),
        _ => None,
    });
    if let Some(code) = code {
        return Some(format!("EPSG:{code}"));
    }
    written
        .and_then(of_text)
        .or_else(|| text(attrs, "projected_crs_name").map(str::to_owned))
        .or_else(|| text(attrs, "geographic_crs_name").map(str::to_owned))
        .or_else(|| text(attrs, "grid_mapping_name").map(str::to_owned))
}

fn of_attrs(attrs: &Attrs) -> Option<String> {
    if let Some(Value::Number(code)) = attrs.get("proj:epsg") {
        return Some(format!("EPSG:{code}"));
    }
    ["proj:code", "crs", "proj:wkt2", "crs_wkt"].into_iter().find_map(|key| text(attrs, key)).and_then(of_text)
}

/// The code of the outermost element of a WKT (its last `ID` or `AUTHORITY`), else its name; `EPSG:N` as it stands.
fn of_text(written: &str) -> Option<String> {
    let written = written.trim();
    let plain = written.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("EPSG:"));
    if plain && written[5..].bytes().all(|b| b.is_ascii_digit()) {
        return Some(format!("EPSG:{}", &written[5..]));
    }
    let outer = ["ID[\"EPSG\",", "AUTHORITY[\"EPSG\","].into_iter().filter_map(|mark| {
        let at = written.rfind(mark)?;
        let rest = &written[at + mark.len()..];
        let code: String = rest.trim_start_matches([' ', '"']).chars().take_while(char::is_ascii_digit).collect();
        // The outermost element closes with the text: only brackets follow.
        let tail = &rest[rest.find(']')?..];
        (!code.is_empty() && tail.chars().all(|c| c == ']' || c.is_whitespace())).then(|| format!("EPSG:{code}"))
    });
    let outer: Option<String> = outer.into_iter().next();
    outer.or_else(|| written.split('"').nth(1).map(str::to_owned)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_whole_and_not_of_a_part() {
        let utm = r#"PROJCRS["WGS 84 / UTM zone 10N",BASEGEOGCRS["WGS 84",ID["EPSG",4326]],ID["EPSG",32610]]"#;
        assert_eq!(of_text(utm).as_deref(), Some("EPSG:32610"));
        let own = r#"PROJCS["mine",GEOGCS["WGS 84",AUTHORITY["EPSG","4326"]],UNIT["metre",1]]"#;
        assert_eq!(of_text(own).as_deref(), Some("mine"));
        assert_eq!(of_text("epsg:3857").as_deref(), Some("EPSG:3857"));
        assert_eq!(of_text(""), None);
    }
}
