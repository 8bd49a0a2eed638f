//! What the tags of a GeoTIFF say beside its layout: GDAL's metadata and no-data value, the transform.

use crate::import::scalar;
use crate::import::source::{Linear, Placement};
use chunkwise_core::crs::GridTransform;
use chunkwise_core::dtype::{DType, Scalar};
use geotiff_core::crs::RasterType;
use geotiff_core::geokeys::{GT_RASTER_TYPE, GeoKeyDirectory};
use geotiff_core::tags;
use geotiff_core::transform::GeoTransform;
use quick_xml::Reader;
use quick_xml::events::Event;
use tiff_reader::{Ifd, TagValue};

/// Text of XML metadata.
const GDAL_METADATA: u16 = 42112;

pub(super) fn shorts(ifd: &Ifd, code: u16) -> Vec<u16> {
    match ifd.tag(code).map(|t| &t.value) {
        Some(TagValue::Short(values)) => values.clone(),
        _ => Vec::new(),
    }
}

pub(super) fn doubles(ifd: &Ifd, code: u16) -> Vec<f64> {
    match ifd.tag(code).map(|t| &t.value) {
        Some(TagValue::Double(values)) => values.clone(),
        Some(TagValue::Float(values)) => values.iter().map(|&v| v.into()).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn text(ifd: &Ifd, code: u16) -> Option<&str> {
    match ifd.tag(code).map(|t| &t.value) {
        Some(TagValue::Ascii(text)) => Some(text.trim_end_matches('\0')),
        _ => None,
    }
}

/// What GDAL's metadata say of the bands.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct BandMetadata {
    /// By band; identity where nothing is said.
    pub(super) packing: Vec<Linear>,
    /// By band; empty where there is none.
    pub(super) descriptions: Vec<String>,
    /// By band; empty where there is none.
    pub(super) units: Vec<String>,
}

/// Reads `GDAL_METADATA`: items of the roles `scale`, `offset`, `description` and `unittype`.
///
/// # Errors
/// The text is no XML, or a scale no number.
pub(super) fn band_metadata(ifd: &Ifd, bands: usize) -> Result<BandMetadata, String> {
    let mut found = BandMetadata {
        packing: vec![Linear::default(); bands],
        descriptions: vec![String::new(); bands],
        units: vec![String::new(); bands],
    };
    let Some(xml) = text(ifd, GDAL_METADATA) else { return Ok(found) };
    let bad = |e: &dyn std::fmt::Display| format!("has GDAL metadata that cannot be read: {e}");
    let mut reader = Reader::from_str(xml);
    let mut item: Option<(String, Option<usize>)> = None;
    let mut inside = String::new();
    loop {
        match reader.read_event().map_err(|e| bad(&e))? {
            Event::Eof => return Ok(found),
            Event::Start(start) if start.local_name().as_ref() == b"Item" => {
                let (mut role, mut sample) = (String::new(), None);
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(|e| bad(&e))?;
                    let value = String::from_utf8_lossy(&attribute.value).into_owned();
                    match attribute.key.local_name().as_ref() {
                        b"role" => role = value,
                        b"sample" => sample = value.parse().ok(),
                        _ => {}
                    }
                }
                item = Some((role, sample));
                inside.clear();
            }
            Event::Text(part) => inside.push_str(&part.decode().map_err(|e| bad(&e))?),
            Event::GeneralRef(name) => inside.push_str(match name.as_ref() {
                b"lt" => "<",
                b"gt" => ">",
                b"amp" => "&",
                b"quot" => "\"",
                b"apos" => "'",
                _ => "",
            }),
            Event::End(end) if end.local_name().as_ref() == b"Item" => {
                let Some((role, Some(band))) = item.take() else { continue };
                if band >= bands {
                    continue;
                }
                let value = inside.trim();
                let number = || {
                    let number = value.parse::<f64>().ok().filter(|v| v.is_finite());
                    number.ok_or_else(|| format!("has GDAL metadata whose {role} `{value}` is no number"))
                };
                match role.as_str() {
                    "scale" => found.packing[band].scale = number()?,
                    "offset" => found.packing[band].offset = number()?,
                    "description" => found.descriptions[band] = value.to_owned(),
                    "unittype" => found.units[band] = value.to_owned(),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// The no-data value, as the type stores it; `None` where there is none, or none that a cell can hold.
pub(super) fn nodata(ifd: &Ifd, dtype: DType) -> Option<Scalar> {
    let text = text(ifd, tags::TAG_GDAL_NODATA)?.trim();
    scalar(text, dtype)
}

/// The keys that say what the CRS is.
pub(super) fn keys(ifd: &Ifd) -> GeoKeyDirectory {
    let ascii = text(ifd, tags::TAG_GEO_ASCII_PARAMS).unwrap_or_default();
    let directory = shorts(ifd, tags::TAG_GEO_KEY_DIRECTORY);
    GeoKeyDirectory::parse(&directory, &doubles(ifd, tags::TAG_GEO_DOUBLE_PARAMS), ascii).unwrap_or_default()
}

/// The transform of outer corners, or the number of control points where there is none.
pub(super) fn place(ifd: &Ifd, keys: &GeoKeyDirectory) -> Placement {
    let point = match keys.get_short(GT_RASTER_TYPE) {
        Some(2) => RasterType::PixelIsPoint,
        _ => RasterType::PixelIsArea,
    };
    let ties = doubles(ifd, tags::TAG_MODEL_TIEPOINT);
    let scale = doubles(ifd, tags::TAG_MODEL_PIXEL_SCALE);
    let matrix = doubles(ifd, tags::TAG_MODEL_TRANSFORMATION);
    let first: Option<[f64; 6]> = ties.get(..6).and_then(|t| t.try_into().ok());
    let scales: Option<[f64; 3]> = match scale.as_slice() {
        [x, y, rest @ ..] => Some([*x, *y, rest.first().copied().unwrap_or(0.0)]),
        _ => None,
    };
    let found = match (<[f64; 16]>::try_from(matrix), first, scales) {
        (Ok(matrix), ..) => Some(GeoTransform::from_transformation_matrix_with_raster_type(&matrix, point)),
        (_, Some(tie), Some(scale)) => {
            Some(GeoTransform::from_tiepoint_and_scale_with_raster_type(&tie, &scale, point))
        }
        _ => None,
    };
    let transform = found.and_then(|t| {
        GridTransform::from_gdal([t.origin_x, t.pixel_width, t.skew_x, t.origin_y, t.skew_y, t.pixel_height])
    });
    let control_points = if transform.is_none() { ties.len() / 6 } else { 0 };
    Placement { crs: None, transform, control_points }
}
