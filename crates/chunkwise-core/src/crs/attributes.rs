//! Attributes of outputs: the grid mapping of a CRS, and the transform of a grid that was cut or coarsened.

use super::{Crs, GridTransform, cf, wkttext};
use crate::cube::Attrs;
use serde_json::{Value, json};

/// Attributes of a grid mapping variable as rioxarray writes it: `crs_wkt`, the CF parameters, `spatial_ref` and,
/// where a transform is given, `GeoTransform`.
///
/// Where the CRS came without WKT (PROJJSON, PROJ string, CF parameters) WKT 2 is written for it.
pub fn grid_mapping_attributes(crs: &Crs, transform: Option<&GridTransform>) -> Attrs {
    let mut attrs = Attrs::new();
    let wkt = crs.wkt.clone().or_else(|| wkttext::write(crs));
    if let Some(wkt) = &wkt {
        attrs.insert("crs_wkt".to_owned(), json!(wkt));
    }
    attrs.extend(cf::to_attributes(&crs.system));
    if let Some(wkt) = wkt {
        attrs.insert("spatial_ref".to_owned(), json!(wkt));
    }
    if let Some(transform) = transform {
        attrs.insert("GeoTransform".to_owned(), json!(transform.geotransform_text()));
    }
    attrs
}

/// Brings those attributes up to date that place a grid and are present: `GeoTransform`, `spatial:transform`,
/// `proj:transform`, and the `bbox` and `shape` beside them, of a grid of `columns` by `rows` cells.
///
/// `transform` is that of the outer corners; where `spatial:registration` is `node` it is written for centres. With
/// `None` (the grid has no longer one: a list of rows) the attributes go.
pub fn update_grid_attributes(attrs: &mut Attrs, transform: Option<&GridTransform>, columns: u64, rows: u64) {
    const KEYS: [&str; 7] = [
        "GeoTransform",
        "spatial:transform",
        "proj:transform",
        "spatial:bbox",
        "proj:bbox",
        "spatial:shape",
        "proj:shape",
    ];
    let node = attrs.get("spatial:registration").and_then(Value::as_str) == Some("node");
    for key in KEYS {
        if !attrs.contains_key(key) {
            continue;
        }
        let value = match (key, transform) {
            ("spatial:shape" | "proj:shape", _) => Some(json!([rows, columns])),
            (_, None) => None,
            ("GeoTransform", Some(t)) => Some(json!(t.geotransform_text())),
            ("spatial:transform", Some(t)) if node => {
                let (x, y) = t.centre(0, 0);
                Some(json!(GridTransform { origin_x: x, origin_y: y, ..*t }.affine()))
            }
            ("spatial:transform" | "proj:transform", Some(t)) => Some(json!(t.affine())),
            (_, Some(t)) => Some(json!(t.bbox(columns, rows))),
        };
        match value {
            Some(value) => attrs.insert(key.to_owned(), value),
            None => attrs.remove(key),
        };
    }
}
