//! What a changed attribute means for the values of a cube.

use super::Node;
use serde_json::Value;

/// A sentence for each changed attribute that makes stored values, labels or places mean something else.
pub fn notes(node: &Node, keys: &[(String, Option<Value>, Option<Value>)]) -> Vec<String> {
    keys.iter().filter_map(|(key, _, _)| said(node, key)).collect()
}

fn said(node: &Node, key: &str) -> Option<String> {
    let name = &node.location;
    if node.is_array {
        let means = match key {
            "scale_factor" | "add_offset" => "its stored values stand for other numbers now",
            "_FillValue" | "missing_value" => "other cells of it count as missing now",
            "_Unsigned" => "its stored values are read with another sign now",
            "valid_min" | "valid_max" | "valid_range" => "other cells of it count as invalid now",
            "calendar" => "its times are other dates now",
            "units" if node.is_time() => "its times are other dates now",
            "units" => "its values are in other units now; they were not converted",
            "_ARRAY_DIMENSIONS" => "its dimensions have other names now",
            "grid_mapping" => "another CRS, or none, belongs to it now",
            "coordinates" | "bounds" | "climatology" | "cell_measures" | "ancillary_variables" => {
                "other variables belong to it now"
            }
            "flag_values" | "flag_masks" | "flag_meanings" => "its flags have other meanings now",
            "crs_wkt" | "spatial_ref" | "grid_mapping_name" | "GeoTransform" => {
                "variables that name it as their grid mapping lie elsewhere now"
            }
            key if node.attrs.contains_key("grid_mapping_name") && PROJECTION.contains(&key) => {
                "variables that name it as their grid mapping lie elsewhere now"
            }
            key if key.starts_with("proj:") || key.starts_with("spatial:") => "it lies elsewhere now",
            _ => return None,
        };
        return Some(format!("`{key}` of `{name}`: {means}"));
    }
    let crs = ["proj:", "spatial:"].iter().any(|prefix| key.starts_with(prefix))
        || ["crs", "crs_wkt", "spatial_ref", "grid_mapping"].contains(&key);
    match key {
        _ if crs => Some(format!("`{key}` of `{name}`: its variables may lie elsewhere now")),
        "coordinates" => Some(format!("`{key}` of `{name}`: other variables are coordinates now")),
        "multiscales" => Some(format!("`{key}` of `{name}`: its levels are other groups now")),
        _ => None,
    }
}

/// Parameters of grid mappings. Source: CF conventions 1.11, appendix F.
const PROJECTION: [&str; 16] = [
    "semi_major_axis",
    "semi_minor_axis",
    "inverse_flattening",
    "earth_radius",
    "longitude_of_central_meridian",
    "longitude_of_projection_origin",
    "latitude_of_projection_origin",
    "longitude_of_prime_meridian",
    "straight_vertical_longitude_from_pole",
    "scale_factor_at_central_meridian",
    "scale_factor_at_projection_origin",
    "false_easting",
    "false_northing",
    "standard_parallel",
    "grid_north_pole_latitude",
    "grid_north_pole_longitude",
];

impl Node {
    /// Whether it counts times.
    fn is_time(&self) -> bool {
        self.attrs.get("units").and_then(Value::as_str).is_some_and(|units| units.contains(" since "))
    }
}
