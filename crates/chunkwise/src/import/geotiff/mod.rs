//! GeoTIFFs: windows of cells as they are stored, with nodata, masks, packing, CRS and transform.
//!
//! The first image of a file is read; overviews are left aside, as are palettes (cells are their indices).

mod files;
mod keys;
mod map;
mod tags;

pub use files::OpenFiles;
pub use map::{Map, read_map};

use super::ImportError;
use super::source::{Cells, Linear, Placement, Source, SourceVariable};
use chunkwise_core::cube::{Attrs, Labels};
use chunkwise_core::dtype::{DType, Scalar};
use files::Stamp;
use geotiff_core::tags::TAG_NEW_SUBFILE_TYPE;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tiff_reader::{ColorModel, ExtraSample, Ifd, TiffFile};

/// Photometric interpretation of masks.
const PHOTOMETRIC_MASK: u16 = 4;

/// Whether masks and alpha bands say which cells count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masks {
    /// Cells that they leave out are missing; an alpha band is no band of the cube.
    #[default]
    Use,
    /// All cells are as they are stored, those of alpha bands too.
    Ignore,
}

/// One GeoTIFF on a file system.
#[derive(Debug)]
pub struct GeoTiff {
    path: PathBuf,
    location: String,
    stamp: Stamp,
    identity: String,
    files: Arc<OpenFiles>,
    number: usize,
    variables: Vec<SourceVariable>,
    placement: Placement,
    layout: Layout,
}

/// How cells lie in the file.
#[derive(Clone, Debug)]
struct Layout {
    width: u64,
    height: u64,
    /// Samples of a pixel as reads give them.
    samples: usize,
    cell: usize,
    chunky: bool,
    /// Whether colours are made of what is stored (YCbCr).
    colours: bool,
    alpha: Option<usize>,
    mask: Option<Mask>,
    /// Columns and rows of a block; where it has blocks that are not stored, which.
    block: (u64, u64),
    absent: Option<Vec<bool>>,
    nodata: Option<Scalar>,
}

/// Where the mask of all bands is.
#[derive(Clone, Debug)]
enum Mask {
    /// The image of this number in the file.
    Within(usize),
    /// The first image of a file beside it, `a.tif.msk`.
    Beside { path: PathBuf, stamp: Stamp, number: usize },
}

impl GeoTiff {
    /// Looks at a file; it is opened again to be read.
    ///
    /// # Errors
    /// It cannot be read, is no TIFF, or one whose cells are of no type that a cube has.
    pub fn open(path: &Path, masks: Masks, files: &Arc<OpenFiles>) -> Result<GeoTiff, ImportError> {
        let location = path.display().to_string();
        let stamp = Stamp::of(path, &location)?;
        let tiff = files.open(path, &location)?;
        let read = |e: tiff_reader::TiffError| ImportError::Read { location: location.clone(), source: e.into() };
        let unfit = |problem: String| ImportError::unfit(&location, problem, "");
        let ifd = tiff.ifd(0).map_err(read)?;
        let stored = ifd.raster_layout().map_err(read)?;
        let model = ifd.color_model().map_err(read)?;
        let colours = matches!(model, ColorModel::YCbCr { .. });
        let raster = if colours { ifd.decoded_raster_layout().map_err(read)? } else { stored };
        let dtype = dtype(raster.sample_format, raster.bits_per_sample)
            .ok_or_else(|| unfit(format!("has samples of {} bits of no known kind", raster.bits_per_sample)))?;
        let samples = raster.samples_per_pixel;
        let extras = ifd.extra_samples().map_err(read)?;
        let is_alpha = |e: &ExtraSample| matches!(e, ExtraSample::AssociatedAlpha | ExtraSample::UnassociatedAlpha);
        let alpha = (masks == Masks::Use)
            .then(|| extras.iter().position(is_alpha).and_then(|i| (samples + i).checked_sub(extras.len())))
            .flatten()
            .filter(|&at| at < samples && samples > 1);
        let mask = match masks {
            Masks::Use => match mask_of(&tiff, ifd) {
                Some(image) => Some(Mask::Within(image)),
                None => mask_beside(path, (ifd.width(), ifd.height()), files)?,
            },
            Masks::Ignore => None,
        };
        let told = tags::band_metadata(ifd, samples).map_err(unfit)?;
        let nodata = tags::nodata(ifd, dtype);
        let keys = tags::keys(ifd);
        let mut placement = tags::place(ifd, &keys);
        placement.crs = keys::crs(&keys).map_err(|e| unfit(format!("has a CRS that cannot be read: {e}")))?;
        let block = block(ifd);
        let bands: Vec<usize> = (0..samples).filter(|&b| alpha != Some(b)).collect();
        let (width, height) = (raster.width as u64, raster.height as u64);
        let packing: Vec<Linear> = bands.iter().map(|&b| told.packing[b]).collect();
        let units: Vec<&String> = bands.iter().map(|&b| &told.units[b]).collect();
        let mut attrs = Attrs::new();
        if let [first, rest @ ..] = units.as_slice()
            && !first.is_empty()
            && rest.iter().all(|u| u == first)
        {
            attrs.insert("units".to_owned(), first.as_str().into());
        }
        let variable = SourceVariable {
            name: "data".to_owned(),
            dims: ["band", "y", "x"].map(str::to_owned).to_vec(),
            shape: vec![bands.len() as u64, height, width],
            block: vec![if stored.planar_configuration == 1 { bands.len() as u64 } else { 1 }, block.1, block.0],
            dtype,
            missing: nodata,
            masked: alpha.is_some() || mask.is_some(),
            packing,
            labels: vec![("band".to_owned(), band_labels(&bands, &told.descriptions, &model, alpha.is_some()))],
            attrs,
        };
        let layout = Layout {
            width,
            height,
            samples,
            cell: raster.bytes_per_sample,
            chunky: colours || stored.planar_configuration == 1,
            colours,
            alpha,
            mask,
            block,
            absent: absent(ifd).filter(|_| nodata.is_some_and(|v| v.to_f64() != 0.0)),
            nodata,
        };
        Ok(GeoTiff {
            path: path.to_owned(),
            identity: stamp.to_string(),
            stamp,
            files: Arc::clone(files),
            number: files.number(),
            variables: vec![variable],
            placement,
            layout,
            location,
        })
    }

    fn read_error(&self, source: tiff_reader::TiffError) -> ImportError {
        ImportError::Read { location: self.location.clone(), source: source.into() }
    }

    fn file(&self) -> Result<Arc<TiffFile>, ImportError> {
        self.files.get(self.number, &self.path, &self.location, &self.stamp)
    }

    /// Samples of a window, one after another as planes.
    fn planes(&self, tiff: &TiffFile, bands: &[usize], at: Window) -> Result<Vec<u8>, ImportError> {
        let Layout { samples, cell, chunky, colours, .. } = self.layout;
        let plane = at.rows * at.columns * cell;
        let mut out = Vec::with_capacity(plane * bands.len());
        if !colours && (!chunky || bands.len() * 4 < samples || samples == 1) {
            for &band in bands {
                let cells = tiff.read_band_window_bytes(0, band, at.row, at.column, at.rows, at.columns);
                out.extend_from_slice(&cells.map_err(|e| self.read_error(e))?);
            }
        } else {
            let pixels = match colours {
                true => tiff.read_decoded_window_bytes(0, at.row, at.column, at.rows, at.columns),
                false => tiff.read_window_bytes(0, at.row, at.column, at.rows, at.columns),
            };
            let pixels = pixels.map_err(|e| self.read_error(e))?;
            for &band in bands {
                for pixel in pixels.chunks_exact(samples * cell) {
                    out.extend_from_slice(&pixel[band * cell..(band + 1) * cell]);
                }
            }
        }
        if out.len() != plane * bands.len() {
            let problem = format!("gave {} bytes for {} × {} cells", out.len(), at.rows, at.columns);
            return Err(ImportError::unfit(&self.location, problem, ""));
        }
        Ok(out)
    }

    /// Gives cells of blocks that are not stored their no-data value, as GDAL does.
    fn fill_absent(&self, bands: &[usize], at: Window, out: &mut [u8]) {
        let (Some(absent), Some(mark)) = (&self.layout.absent, self.layout.nodata) else { return };
        let dtype = self.variables[0].dtype;
        let Some(mark) = chunkwise_core::cf::encode::scalar_to_bytes(dtype, mark) else { return };
        let (bw, bh) = (self.layout.block.0 as usize, self.layout.block.1 as usize);
        let across = (self.layout.width as usize).div_ceil(bw);
        let down = (self.layout.height as usize).div_ceil(bh);
        let cell = self.layout.cell;
        for (i, &band) in bands.iter().enumerate() {
            let first = if self.layout.chunky { 0 } else { band * across * down };
            for row in at.row..at.row + at.rows {
                for block in at.column / bw..=(at.column + at.columns - 1) / bw {
                    if !absent.get(first + row / bh * across + block).copied().unwrap_or(false) {
                        continue;
                    }
                    let from = (block * bw).max(at.column) - at.column;
                    let to = ((block + 1) * bw).min(at.column + at.columns) - at.column;
                    let line = ((i * at.rows + row - at.row) * at.columns) * cell;
                    for target in out[line + from * cell..line + to * cell].chunks_exact_mut(cell) {
                        target.copy_from_slice(&mark);
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

impl Source for GeoTiff {
    fn location(&self) -> &str {
        &self.location
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn stored_bytes(&self) -> u64 {
        self.stamp.bytes
    }

    fn variables(&self) -> &[SourceVariable] {
        &self.variables
    }

    fn placement(&self) -> &Placement {
        &self.placement
    }

    fn keep(&self, bytes: u64) {
        self.files.keep(bytes);
    }

    fn read_bytes(&self, variable: usize, shape: &[u64]) -> u64 {
        let _ = variable;
        let [bands, rows, columns] = *shape else { return 0 };
        let Layout { samples, cell, chunky, colours, block, .. } = self.layout;
        let (samples, cell) = (samples as u64, cell as u64);
        let plane = rows.saturating_mul(columns);
        let in_block = if chunky { samples } else { 1 };
        // A block as stored, decoded, and once more on its way through predictors.
        let decoded = block.0.saturating_mul(block.1).saturating_mul(in_block).saturating_mul(cell);
        let read = if bands * 4 < samples && !colours || !chunky { 1 } else { samples };
        let window = plane.saturating_mul(cell).saturating_mul(read + bands + u64::from(colours) * samples);
        let mask = if self.variables[0].masked { plane.saturating_mul(2 + cell) } else { 0 };
        // Tables of blocks, of the two files that are open for each thread.
        let blocks = self.layout.width.div_ceil(block.0).saturating_mul(self.layout.height.div_ceil(block.1));
        let tables = blocks.saturating_mul(if chunky { 1 } else { samples }).saturating_mul(2 * 16);
        decoded.saturating_mul(3).saturating_add(window).saturating_add(mask).saturating_add(tables)
    }

    fn read(&self, variable: usize, start: &[u64], shape: &[u64]) -> Result<Cells, ImportError> {
        let whole = &self.variables[variable].shape;
        let inside = start.iter().zip(shape).zip(whole).all(|((s, n), w)| s + n <= *w);
        let (&[first, row, column], &[bands, rows, columns]) = (start, shape) else {
            return Err(ImportError::unfit(&self.location, "has three dimensions", ""));
        };
        if !inside || bands * rows * columns == 0 {
            return Err(ImportError::unfit(&self.location, format!("has no cells {start:?} to {shape:?}"), ""));
        }
        let at = Window { row: row as usize, column: column as usize, rows: rows as usize, columns: columns as usize };
        // Without the alpha band, which may stand before others.
        let kept: Vec<usize> = (0..self.layout.samples).filter(|&b| self.layout.alpha != Some(b)).collect();
        let bands = &kept[first as usize..(first + bands) as usize];
        let tiff = self.file()?;
        let mut values = self.planes(&tiff, bands, at)?;
        self.fill_absent(bands, at, &mut values);
        let mut valid = None;
        if let Some(alpha) = self.layout.alpha {
            let cells = self.planes(&tiff, &[alpha], at)?;
            valid = Some(cells.chunks_exact(self.layout.cell).map(|c| c.iter().any(|&b| b != 0)).collect());
        }
        if let Some(mask) = &self.layout.mask {
            let (tiff, image) = match mask {
                Mask::Within(image) => (tiff, *image),
                Mask::Beside { path, stamp, number } => {
                    (self.files.get(*number, path, &path.display().to_string(), stamp)?, 0)
                }
            };
            let cells = tiff.read_band_window_bytes(image, 0, at.row, at.column, at.rows, at.columns);
            let cells = cells.map_err(|e| self.read_error(e))?;
            let mut both: Vec<bool> = cells.iter().map(|&c| c != 0).collect();
            if let Some(alpha) = valid {
                both.iter_mut().zip(alpha).for_each(|(a, b): (&mut bool, bool)| *a &= b);
            }
            valid = Some(both);
        }
        Ok(Cells { values, valid })
    }
}

/// The element type of samples.
fn dtype(format: u16, bits: u16) -> Option<DType> {
    Some(match (format, bits) {
        (1, 1..=8) => DType::UInt8,
        (1, 9..=16) => DType::UInt16,
        (1, 32) => DType::UInt32,
        (1, 64) => DType::UInt64,
        (2, 8) => DType::Int8,
        (2, 16) => DType::Int16,
        (2, 32) => DType::Int32,
        (2, 64) => DType::Int64,
        (3, 32) => DType::Float32,
        (3, 64) => DType::Float64,
        _ => return None,
    })
}

/// Columns and rows of a block.
fn block(ifd: &Ifd) -> (u64, u64) {
    match (ifd.tile_width(), ifd.tile_height()) {
        (Some(width), Some(height)) if ifd.is_tiled() => (width.max(1).into(), height.max(1).into()),
        _ => (ifd.width().max(1).into(), ifd.rows_per_strip().clamp(1, ifd.height().max(1)).into()),
    }
}

/// Which blocks are not stored; `None` where all are.
fn absent(ifd: &Ifd) -> Option<Vec<bool>> {
    let (offsets, counts) = match ifd.is_tiled() {
        true => (ifd.tile_offsets()?, ifd.tile_byte_counts()?),
        false => (ifd.strip_offsets()?, ifd.strip_byte_counts()?),
    };
    let absent: Vec<bool> = offsets.iter().zip(&counts).map(|(&o, &c)| o == 0 || c == 0).collect();
    absent.contains(&true).then_some(absent)
}

/// The image that is the mask of the first.
fn mask_of(tiff: &TiffFile, first: &Ifd) -> Option<usize> {
    let kind = |ifd: &Ifd| ifd.tag(TAG_NEW_SUBFILE_TYPE).and_then(|t| t.value.as_u32()).unwrap_or(0);
    let is_mask = |ifd: &Ifd| {
        let mask = kind(ifd) & 4 != 0 || ifd.photometric_interpretation() == Some(PHOTOMETRIC_MASK);
        mask && kind(ifd) & 1 == 0
    };
    let same =
        |ifd: &Ifd| (ifd.width(), ifd.height()) == (first.width(), first.height()) && ifd.samples_per_pixel() == 1;
    tiff.ifds().iter().enumerate().skip(1).find(|(_, ifd)| is_mask(ifd) && same(ifd)).map(|(i, _)| i)
}

/// The mask in a file beside another, where there is one, as GDAL writes it.
fn mask_beside(path: &Path, size: (u32, u32), files: &OpenFiles) -> Result<Option<Mask>, ImportError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".msk");
    let path = PathBuf::from(name);
    if !path.exists() {
        return Ok(None);
    }
    let location = path.display().to_string();
    let stamp = Stamp::of(&path, &location)?;
    let tiff = files.open(&path, &location)?;
    let ifd = tiff.ifd(0).map_err(|e| ImportError::Read { location: location.clone(), source: e.into() })?;
    if (ifd.width(), ifd.height()) != size || ifd.samples_per_pixel() != 1 {
        let problem = format!(
            "is a mask of {} × {} cells and {} bands, and not one of {} × {} for all bands",
            ifd.height(),
            ifd.width(),
            ifd.samples_per_pixel(),
            size.1,
            size.0
        );
        return Err(ImportError::unfit(&location, problem, "leave it aside with `--masks ignore`"));
    }
    Ok(Some(Mask::Beside { path, stamp, number: files.number() }))
}

/// Names of bands: their descriptions, colours, or numbers from 1.
fn band_labels(bands: &[usize], descriptions: &[String], model: &ColorModel, alpha_used: bool) -> Labels {
    let distinct = |names: &[String]| names.iter().collect::<HashSet<_>>().len() == names.len();
    let described: Vec<String> = bands.iter().map(|&b| descriptions[b].clone()).collect();
    if described.iter().any(|d| !d.is_empty()) {
        let named: Vec<String> =
            bands.iter().zip(described).map(|(b, d)| if d.is_empty() { format!("{}", b + 1) } else { d }).collect();
        if distinct(&named) {
            return Labels::Text(named);
        }
    }
    let colours = ["red", "green", "blue", "alpha"];
    let (rgb, extras) = match model {
        ColorModel::Rgb { extra_samples } | ColorModel::YCbCr { extra_samples, .. } => (true, extra_samples.len()),
        _ => (false, 0),
    };
    if rgb && bands.len() == if alpha_used { 3 } else { 3 + extras } && bands.len() <= colours.len() {
        return Labels::Text(colours[..bands.len()].iter().map(|&c| c.to_owned()).collect());
    }
    Labels::Integer(bands.iter().map(|&b| b as i64 + 1).collect())
}
