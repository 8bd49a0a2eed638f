//! Five horizontal elevation zones of the demo cube, as polygons.

use crate::failed::Failed;
use serde_json::{Value, json};
use std::path::Path;

/// What the zones are called, from the first rows on.
pub(super) const LABELS: [&str; 5] = ["Low", "Medium-Low", "Medium", "Medium-High", "High"];
/// Outer edges of the cube: west, north, east; and the height of a zone of 200 rows.
const WEST: f64 = 500_000.0;
const NORTH: f64 = 5_000_000.0;
const EAST: f64 = 530_000.0;
const HEIGHT: f64 = 6000.0;

#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
struct Zones {
    path: String,
    source: std::io::Error,
}

/// Writes the zones as GeoJSON in the CRS of the cube.
pub(super) fn write(path: &Path) -> Result<(), Failed> {
    let features: Vec<Value> = LABELS
        .iter()
        .enumerate()
        .map(|(zone, label)| {
            let (north, south) = (NORTH - HEIGHT * zone as f64, NORTH - HEIGHT * (zone + 1) as f64);
            let ring = [[WEST, north], [WEST, south], [EAST, south], [EAST, north], [WEST, north]];
            json!({
                "type": "Feature",
                "properties": { "zone": zone + 1, "label": label },
                "geometry": { "type": "Polygon", "coordinates": [ring] },
            })
        })
        .collect();
    let all = json!({
        "type": "FeatureCollection",
        "crs": { "type": "name", "properties": { "name": "urn:ogc:def:crs:EPSG::32610" } },
        "features": features,
    });
    let failed = |source| Failed::of(Zones { path: path.display().to_string(), source });
    std::fs::write(path, format!("{all:#}\n")).map_err(failed)
}

/// The rows of `zonal`, one for each zone and month, as one for each zone: means weighted by the cells that they are of.
pub(super) fn over_months(rows: &[serde_json::Map<String, Value>]) -> Vec<Value> {
    LABELS
        .iter()
        .enumerate()
        .map(|(zone, label)| {
            let own = rows.iter().filter(|row| row.get("zone").and_then(Value::as_str) == Some(label));
            let (mut sum, mut count) = (0.0, 0);
            for row in own {
                let n = row.get("count").and_then(Value::as_u64).unwrap_or(0);
                sum += row.get("mean").and_then(Value::as_f64).unwrap_or(0.0) * n as f64;
                count += n;
            }
            let mean = if count > 0 { Value::from(sum / count as f64) } else { Value::Null };
            json!({ "zone": zone + 1, "label": label, "mean": mean, "count": count })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_weigh_as_much_as_they_have_cells() {
        let row = |zone: &str, mean: f64, count: u64| {
            json!({ "zone": zone, "mean": mean, "count": count }).as_object().unwrap().clone()
        };
        let found = over_months(&[row("Low", 1.0, 1), row("High", 7.0, 2), row("Low", 4.0, 2)]);
        assert_eq!(found[0], json!({ "zone": 1, "label": "Low", "mean": 3.0, "count": 3 }));
        assert_eq!(found[4], json!({ "zone": 5, "label": "High", "mean": 7.0, "count": 2 }));
        assert_eq!(found[1], json!({ "zone": 2, "label": "Medium-Low", "mean": null, "count": 0 }));
    }
}
