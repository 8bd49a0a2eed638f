//! The example cube: a year of four bands with known statistics, the same bytes every time.

use crate::cmd::create::crs_attrs;
use crate::exit::interrupted;
use crate::failed::{Failed, Kind};
use chunkwise::create::{CreateSpec, create, parse_coord, parse_dim, parse_sizes};
use chunkwise::write::{
    Existing, JournalHead, Output, Partial, Place, RegionError, RegionOptions, ZarrVersion, write_region,
};
use chunkwise_core::cube::Attrs;
use chunkwise_core::dtype::DType;
use indexmap::IndexMap;
use std::f64::consts::PI;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The variable.
pub(super) const VARIABLE: &str = "data";
const DIMS: [&str; 4] = ["time=12", "band=red,green,blue,nir", "y=1000", "x=1000"];
/// Cell centres of 30 m cells.
const COORDS: [&str; 3] = ["time=2024-01-15:1month", "y=4999985:-30", "x=500015:30"];
const CHUNK: &str = "time=1,band=4,y=250,x=250";
const CRS: &str = "EPSG:32610";
const SHAPE: [u64; 4] = [12, 4, 1000, 1000];
const CHUNKS: [u64; 4] = [1, 4, 250, 250];
const BASES: [f64; 4] = [8000.0, 10_000.0, 7000.0, 15_000.0];
/// How far bands follow the season.
const SEASONS: [f64; 4] = [-0.3, 0.1, 0.1, 0.5];
/// Half the width of the noise.
const NOISE: f64 = 250.0;
const SEED: u64 = 0x6368_756e_6b77_6973;

/// The command that makes the cube, empty.
pub(super) fn command(cube: &str) -> String {
    let dims: Vec<String> = DIMS.iter().map(|d| format!("--dim {d}")).collect();
    let coords: Vec<String> = COORDS.iter().map(|c| format!("--coord {c}")).collect();
    let (dims, coords) = (dims.join(" "), coords.join(" "));
    format!("chunkwise create -o {cube} {dims} {coords} --dtype uint16 --chunk {CHUNK} --crs {CRS}")
}

fn attrs(list: &[(&str, &str)]) -> Attrs {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
}

fn spec() -> Result<CreateSpec, Failed> {
    let mut dims = IndexMap::new();
    for dim in DIMS {
        let (name, labels) = parse_dim(dim)?;
        dims.insert(name, labels);
    }
    let mut spec = CreateSpec::new(VARIABLE, dims, DType::UInt16);
    for coord in COORDS {
        let (name, coord) = parse_coord(coord)?;
        spec.coords.insert(name, coord);
    }
    spec.chunks = parse_sizes(CHUNK)?;
    spec.crs = Some(crs_attrs(CRS)?);
    spec.attrs = attrs(&[
        ("title", "Multi-Spectral Satellite Datacube"),
        ("description", "A made-up year of red, green, blue and near infrared with a season, relief and noise"),
        ("spatial_resolution", "30 meters"),
    ]);
    let data = attrs(&[("long_name", "band value"), ("units", "digital numbers (0-65535)")]);
    spec.variable_attrs.insert(VARIABLE.to_owned(), data);
    spec.variable_attrs.insert("band".to_owned(), attrs(&[("long_name", "spectral band")]));
    Ok(spec)
}

/// Makes the cube in `folder`, its chunks on `threads` threads; gives the number of chunks.
///
/// # Errors
/// It cannot be written, or the user asked to stop: the cube is then not whole.
pub(super) fn make(folder: &Path, threads: NonZeroUsize) -> Result<u64, Failed> {
    let place = Place::Folder(folder.to_owned());
    let output = Output {
        place: place.clone(),
        group: String::new(),
        existing: Existing::Refuse,
        inputs: Vec::new(),
        job: JournalHead::default(),
        zarr: ZarrVersion::V3,
        attrs: Attrs::new(),
    };
    create(&spec()?, output)?;
    let field = Field::new();
    let grid: Vec<u64> = SHAPE.iter().zip(CHUNKS).map(|(n, c)| n / c).collect();
    let chunks: u64 = grid.iter().product();
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<RegionError>> = Mutex::new(None);
    // Other threads do not know what the command runs in.
    let stop = interrupted();
    let work = || {
        let mut cells = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let mut number = next.fetch_add(1, Ordering::Relaxed);
            if number >= chunks {
                return;
            }
            let mut start = [0; 4];
            for d in (0..4).rev() {
                start[d] = number % grid[d] * CHUNKS[d];
                number /= grid[d];
            }
            field.chunk(start, &mut cells);
            let options = RegionOptions { threads: NonZeroUsize::MIN, partial: Partial::Locked };
            if let Err(error) = write_region(&place, VARIABLE, &start, &CHUNKS, &cells, options) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                // The others have nothing left to take.
                next.store(chunks, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get() {
            scope.spawn(work);
        }
        work();
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(Failed::of(error)),
        None if stop.load(Ordering::Relaxed) => Err(Failed::says("interrupted").with_kind(Kind::Interrupted)),
        None => Ok(chunks),
    }
}

/// What the value of a cell is made of, along each axis.
///
/// value = base + 2000·y/H + 1000·x/W + 3000·sin(πy/100)·cos(πx/100) + 2000·sin(πy/25)·sin(πx/25) + 5000·season + noise,
/// with y, x the row and column of H × W, season = factor · cos(πm/6) of month m from 0, and noise uniform within ±250;
/// rounded. Sines are those of the `libm` crate, the same on every machine.
struct Field {
    /// For each row: its slope, sin(πy/100), sin(πy/25).
    rows: Vec<[f64; 3]>,
    /// For each column: its slope, cos(πx/100), sin(πx/25).
    columns: Vec<[f64; 3]>,
    /// For each month.
    season: Vec<f64>,
}

impl Field {
    fn new() -> Field {
        let [months, _, rows, columns] = SHAPE;
        let (height, width) = (rows as f64, columns as f64);
        let row = |y: f64| [2000.0 * y / height, libm::sin(PI * y / 100.0), libm::sin(PI * y / 25.0)];
        let column = |x: f64| [1000.0 * x / width, libm::cos(PI * x / 100.0), libm::sin(PI * x / 25.0)];
        Field {
            rows: (0..rows).map(|y| row(y as f64)).collect(),
            columns: (0..columns).map(|x| column(x as f64)).collect(),
            season: (0..months).map(|m| libm::cos(PI * m as f64 / 6.0)).collect(),
        }
    }

    /// The cells of the chunk from cell `start`, in C order.
    fn chunk(&self, start: [u64; 4], cells: &mut Vec<u16>) {
        let [month, _, top, left] = start;
        let [_, bands, height, width] = CHUNKS;
        cells.clear();
        for band in 0..bands {
            let flat = BASES[band as usize] + 5000.0 * SEASONS[band as usize] * self.season[month as usize];
            for y in top..top + height {
                let [down, sin_100, sin_25] = self.rows[y as usize];
                let first = ((month * SHAPE[1] + band) * SHAPE[2] + y) * SHAPE[3] + left;
                let columns = &self.columns[left as usize..(left + width) as usize];
                cells.extend(columns.iter().zip(first..).map(|(&[right, cos_100, other_25], cell)| {
                    let value = flat
                        + down
                        + right
                        + 3000.0 * sin_100 * cos_100
                        + 2000.0 * sin_25 * other_25
                        + NOISE * (2.0 * uniform(cell) - 1.0);
                    value.clamp(0.0, 65_535.0).round() as u16
                }));
            }
        }
    }
}

/// A number from 0 up to 1 that depends on the cell's index in C order alone, whoever computes it.
///
/// Source: SplitMix64, Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators", at step `cell` + 1
/// from the seed; the upper 53 bits.
fn uniform(cell: u64) -> f64 {
    let mut z = SEED.wrapping_add(cell.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (((z ^ (z >> 31)) >> 11) as f64) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_even_and_does_not_repeat() {
        let values: Vec<f64> = (0..100_000).map(uniform).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let apart = values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / values.len() as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert!(apart.abs() < 0.002, "{apart}");
        assert!(values.iter().all(|v| (0.0..1.0).contains(v)));
    }

    #[test]
    fn the_pixel_in_the_middle_has_the_known_ndvi() {
        let field = Field::new();
        let mut cells = Vec::new();
        let known = [0.407, 0.389, 0.340, 0.269, 0.196, 0.141, 0.120, 0.141, 0.196, 0.269, 0.340, 0.389];
        for (month, known) in (0..).zip(known) {
            field.chunk([month, 0, 500, 500], &mut cells);
            let band = |b: usize| f64::from(cells[b * 250 * 250]);
            let ndvi = (band(3) - band(0)) / (band(3) + band(0));
            assert!((ndvi - known).abs() < 0.02, "month {month}: {ndvi}, known {known}");
        }
    }
}
