//! GeoPackage: a table of an SQLite database. Where there are several, one is named by `FILE.gpkg` alone only if it is the
//! only one with features.

use super::{Feature, Layer, VectorError, crs_of};
use crate::error::BoxError;
use chunkwise_core::crs::Crs;
use geozero::ToGeo;
use geozero::wkb::GpkgWkb;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Map, Value};

pub(super) fn read(path: &str) -> Result<Layer, VectorError> {
    let failed = |source: BoxError| VectorError::Read { path: path.to_owned(), source };
    let sql = |e: rusqlite::Error| failed(e.into());
    // Without it SQLite would say no more than that it cannot open the file.
    std::fs::File::open(path).map_err(|e| failed(e.into()))?;
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(sql)?;
    let layers = "SELECT g.table_name, g.column_name, g.srs_id FROM gpkg_geometry_columns g JOIN gpkg_contents c \
                  ON c.table_name = g.table_name WHERE c.data_type = 'features' ORDER BY g.table_name";
    let mut query = database.prepare(layers).map_err(sql)?;
    let found: Vec<(String, String, i64)> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .and_then(Iterator::collect)
        .map_err(sql)?;
    let [(table, column, srs)] = found.as_slice() else {
        let layers = found.into_iter().map(|layer| format!("`{}`", layer.0)).collect::<Vec<_>>();
        return Err(match layers.is_empty() {
            true => VectorError::Empty { path: path.to_owned() },
            false => VectorError::Layers { path: path.to_owned(), layers },
        });
    };
    let crs = crs(&database, *srs).map_err(failed)?;
    let mut layer = Layer { features: Vec::new(), crs };
    let mut query = database.prepare(&format!("SELECT * FROM \"{}\"", table.replace('"', "\"\""))).map_err(sql)?;
    let names: Vec<String> = query.column_names().map(str::to_owned).collect();
    let mut rows = query.query([]).map_err(sql)?;
    while let Some(row) = rows.next().map_err(sql)? {
        let geometry = match row.get_ref(column.as_str()).map_err(sql)? {
            ValueRef::Blob(bytes) => Some(GpkgWkb(bytes.to_vec()).to_geo().map_err(|e| failed(e.into()))?),
            _ => None,
        };
        let properties = properties(row, &names, column).map_err(sql)?;
        layer.features.push(Feature { id: None, geometry, properties });
    }
    Ok(layer)
}

fn properties(row: &Row<'_>, names: &[String], geometry: &str) -> rusqlite::Result<Map<String, Value>> {
    let mut found = Map::new();
    for (i, name) in names.iter().enumerate().filter(|(_, name)| *name != geometry) {
        let value = match row.get_ref(i)? {
            ValueRef::Null | ValueRef::Blob(_) => Value::Null,
            ValueRef::Integer(n) => n.into(),
            ValueRef::Real(x) => x.into(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        };
        found.insert(name.clone(), value);
    }
    Ok(found)
}

/// −1 and 0 are undefined systems.
fn crs(database: &Connection, srs: i64) -> Result<Option<Crs>, BoxError> {
    if srs <= 0 {
        return Ok(None);
    }
    let query = "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys WHERE srs_id = ?1";
    let (authority, code, wkt): (String, i64, String) =
        database.query_row(query, [srs], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(crs_of(Some(&authority), code, Some(&wkt))?)
}
