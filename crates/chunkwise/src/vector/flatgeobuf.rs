//! FlatGeobuf.

use super::{Feature, Layer, VectorError, crs_of};
use crate::error::BoxError;
use chunkwise_core::crs::Crs;
use flatgeobuf::{FallibleStreamingIterator, FgbReader};
use geozero::{ColumnValue, FeatureProperties, PropertyProcessor, ToGeo};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::BufReader;

pub(super) fn read(path: &str) -> Result<Layer, VectorError> {
    let failed = |source: BoxError| VectorError::Read { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(|e| failed(e.into()))?);
    let reader = FgbReader::open(&mut file).map_err(|e| failed(e.into()))?;
    let crs = crs(&reader).map_err(failed)?;
    let mut layer = Layer { features: Vec::new(), crs };
    let mut features = reader.select_all().map_err(|e| failed(e.into()))?;
    while let Some(feature) = features.next().map_err(|e| failed(e.into()))? {
        let geometry = feature.to_geo().map_err(|e| failed(e.into()))?;
        let mut properties = Properties::default();
        feature.process_properties(&mut properties).map_err(|e| failed(e.into()))?;
        layer.features.push(Feature { id: None, geometry: Some(geometry), properties: properties.0 });
    }
    Ok(layer)
}

fn crs<R: std::io::Read>(reader: &FgbReader<R>) -> Result<Option<Crs>, BoxError> {
    let Some(crs) = reader.header().crs() else { return Ok(None) };
    Ok(crs_of(crs.org(), crs.code().into(), crs.wkt())?)
}

#[derive(Default)]
struct Properties(Map<String, Value>);

impl PropertyProcessor for Properties {
    fn property(&mut self, _: usize, name: &str, value: &ColumnValue<'_>) -> geozero::error::Result<bool> {
        let value = match *value {
            ColumnValue::Byte(n) => n.into(),
            ColumnValue::UByte(n) => n.into(),
            ColumnValue::Bool(b) => b.into(),
            ColumnValue::Short(n) => n.into(),
            ColumnValue::UShort(n) => n.into(),
            ColumnValue::Int(n) => n.into(),
            ColumnValue::UInt(n) => n.into(),
            ColumnValue::Long(n) => n.into(),
            ColumnValue::ULong(n) => n.into(),
            ColumnValue::Float(x) => x.into(),
            ColumnValue::Double(x) => x.into(),
            ColumnValue::String(text) | ColumnValue::Json(text) | ColumnValue::DateTime(text) => text.into(),
            ColumnValue::Binary(_) => Value::Null,
        };
        self.0.insert(name.to_owned(), value);
        Ok(false)
    }
}
