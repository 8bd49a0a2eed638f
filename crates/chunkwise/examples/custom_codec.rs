//! A codec of one's own: a sensor counts in 12 bits, and two counts are packed into three bytes. A cube is written with it
//! and read back: `cargo run --example custom_codec -- counts.zarr`.
//!
//! A program that does not register the codec refuses the cube by the codec's name.

#![allow(clippy::print_stdout, reason = "an example prints what it did")]

use chunkwise::codec::{BoxError, ChunkCodec, Size, Takes, register};
use chunkwise::create::{CreateSpec, create, parse_dim};
use chunkwise::job::output::OutputOptions;
use chunkwise::store::MemoryStore;
use chunkwise::write::{Output, Place, RegionOptions, write_region};
use chunkwise::{Counters, DType, Limits, Request, RunOptions, Statistic, open, prepare};
use std::path::PathBuf;

/// Counts from 0 to 4095 in 12 bits each, the lower bits first.
#[derive(Debug)]
struct Twelve;

impl ChunkCodec for Twelve {
    fn encoded_size(&self, decoded: u64) -> Size {
        // Cells have two bytes; an odd last one takes two bytes of its own.
        Size::Exact(decoded / 4 * 3 + decoded % 4)
    }

    fn encode(&self, decoded: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        let counts: Vec<u16> = decoded.as_chunks().0.iter().map(|b| u16::from_ne_bytes(*b)).collect();
        if let Some(count) = counts.iter().find(|&&count| count > 0xfff) {
            return Err(format!("{count} takes more than 12 bits").into());
        }
        for pair in counts.chunks(2) {
            let second = pair.get(1).copied().unwrap_or(0);
            out.extend_from_slice(&[pair[0] as u8, (pair[0] >> 8 | second << 4) as u8]);
            if pair.len() == 2 {
                out.push((second >> 4) as u8);
            }
        }
        Ok(())
    }

    fn decode(&self, encoded: &[u8], size: Size, out: &mut Vec<u8>) -> Result<(), BoxError> {
        let most = size.limit() as usize;
        if self.encoded_size(size.limit()) != Size::Exact(encoded.len() as u64) {
            return Err(format!("{} bytes do not hold {} counts", encoded.len(), most / 2).into());
        }
        for three in encoded.chunks(3) {
            let byte = |at: usize| u16::from(three.get(at).copied().unwrap_or(0));
            out.extend_from_slice(&(byte(0) | (byte(1) & 0xf) << 8).to_ne_bytes());
            if three.len() == 3 {
                out.extend_from_slice(&(byte(1) >> 4 | byte(2) << 4).to_ne_bytes());
            }
        }
        Ok(())
    }
}

fn main() -> Result<(), BoxError> {
    let folder = std::env::args().nth(1).ok_or("usage: custom_codec NEW.zarr")?;

    // Once in a program, before cubes are opened. What it refuses here is said when such an array is used.
    register("example.twelve", Takes::Cells, |_settings, dtype| match dtype {
        DType::UInt16 => Ok(Box::new(Twelve)),
        other => Err(format!("it packs uint16, not {other}").into()),
    })?;

    // A cube of counts in memory.
    let dims = ["time=2024-05-01,2024-06-01", "y=33", "x=21"].map(parse_dim).into_iter().collect::<Result<_, _>>()?;
    let mut spec = CreateSpec::new("counts", dims, DType::UInt16);
    spec.chunks = [("time", 1), ("y", 20), ("x", 11)].map(|(d, n)| (d.to_owned(), n)).into();
    let place = Place::Store(MemoryStore::create("counts"));
    create(&spec, Output::new(place.clone()))?;
    let cells: Vec<u16> = (0..2 * 33 * 21).map(|i| (i * 37 % 4096) as u16).collect();
    write_region(&place, "counts", &[0, 0, 0], &[2, 33, 21], &cells, RegionOptions::default())?;

    // The greater of the two dates, packed: a result cube takes the codec by its name as any other.
    let plain = open("memory:counts")?;
    let request = Request::reduce(&["time"], &[Statistic::Max]);
    let prepared = prepare(&plain, &request)?;
    let mut to = OutputOptions::new(PathBuf::from(&folder));
    to.codec = Some("example.twelve".parse()?);
    let limits = Limits { memory: 256 << 20, threads: 2, ..Limits::default() };
    let plan = prepared.plan(&plain, &prepared.arrays(&plain, &to)?.targets(), limits)?;
    prepared.write(&plain, &to, &plan, &Counters::default(), &RunOptions::default())?;

    // Read back with the codec.
    let packed = open(&folder)?;
    let variable = &packed.cube.variables["counts"];
    let reader = chunkwise::chunk::ChunkReader::new(variable, packed.store.clone())?;
    let mut first = Vec::new();
    let fetched = reader.read(&[0, 0], &mut chunkwise::chunk::Scratch::new(), &mut first)?;
    println!("{} of {} bytes, {}", fetched.encoded_bytes, first.len(), variable.codecs);
    let larger = |i: usize| cells[i].max(cells[33 * 21 + i]);
    for (at, cell) in first.as_chunks().0.iter().enumerate() {
        let (y, x) = (at / 11, at % 11);
        if u16::from_ne_bytes(*cell) != larger(y * 21 + x) {
            return Err(
                format!("cell {y}, {x} is {}, expected {}", u16::from_ne_bytes(*cell), larger(y * 21 + x)).into()
            );
        }
    }

    // A part of a chunk is changed: decoded and encoded again.
    write_region(
        &Place::from(PathBuf::from(&folder)),
        "counts",
        &[0, 3],
        &[1, 2],
        &[7u16, 8],
        RegionOptions::default(),
    )?;
    reader.read(&[0, 0], &mut chunkwise::chunk::Scratch::new(), &mut first)?;
    let row: Vec<u16> = first.as_chunks().0[..6].iter().map(|cell| u16::from_ne_bytes(*cell)).collect();
    let expected = [larger(0), larger(1), larger(2), 7, 8, larger(5)];
    if row != expected {
        return Err(format!("the row begins {row:?}, expected {expected:?}").into());
    }
    Ok(())
}
