//! `info --access`: how variables are cut into chunks, what typical questions read of them, and what other chunks would do.

use crate::output::printable;
use chunkwise_core::crs::find_georeference;
use chunkwise_core::cube::{Cube, Variable};
use chunkwise_core::layout::{Access, Advice, ArrayLayout, AxisRole, Placement, accesses, advice, roles};
use serde_json::{Value, json};
use std::io::{self, Write};

/// Bytes read for one that is of use, from which on other chunks are worth a word.
const WORTH: f64 = 8.0;

/// Variables of one layout, and what is asked of them.
pub(crate) struct Card {
    variables: Vec<String>,
    layout: ArrayLayout,
    accesses: Vec<Access>,
    advice: Vec<Advice>,
}

/// The cards of all data variables that are numbers; those of the same layout share one.
pub(crate) fn cards(cube: &Cube) -> Vec<Card> {
    let mut cards: Vec<Card> = Vec::new();
    for variable in cube.data_variables() {
        let Some(layout) = ArrayLayout::of(variable).filter(|l| !l.shape.is_empty()) else { continue };
        match cards.iter_mut().find(|card| card.layout == layout) {
            Some(card) => card.variables.push(variable.name.clone()),
            None => cards.push(card(cube, variable, layout)),
        }
    }
    cards
}

fn card(cube: &Cube, variable: &Variable, layout: ArrayLayout) -> Card {
    let plane = find_georeference(cube, variable).dims;
    let usual = || layout.dims.iter().rev().take(2).map(String::as_str).collect::<Vec<_>>();
    let space = match (&plane, layout.dims.len()) {
        (Some(d), _) => [Some(d.y.as_str()), Some(d.x.as_str())],
        // Without a word on it the last two dimensions of three or more are taken for rows and columns.
        (None, 3..) => [Some(usual()[1]), Some(usual()[0])],
        (None, _) => [None, None],
    };
    let time = layout.dims.iter().find(|dim| cube.coordinate(dim).is_some_and(Variable::is_time));
    let roles = roles(&layout, space, time.map(String::as_str));
    let found = accesses(&layout, &roles);
    let worst =
        found.iter().filter(|a| a.ask.placed == Placement::Aligned).map(Access::amplification).fold(1.0, f64::max);
    let advice = if worst >= WORTH && roles.contains(&AxisRole::Series) { advice(&layout, &roles) } else { Vec::new() };
    Card { variables: vec![variable.name.clone()], accesses: found, advice, layout }
}

impl Card {
    /// Chunks along each dimension, in all, and what is asked of them.
    pub(crate) fn json(&self) -> Value {
        let dims = self.layout.dims.iter().enumerate();
        let counts: serde_json::Map<String, Value> =
            dims.map(|(d, dim)| (dim.clone(), self.layout.count(d).into())).collect();
        let total = (0..self.layout.dims.len()).map(|d| self.layout.count(d)).fold(1, u64::saturating_mul);
        json!({
            "variables": self.variables,
            "chunks_per_dimension": counts,
            "chunk_count": total,
            "chunk_bytes": self.layout.chunk_bytes(),
            "access": self.accesses.iter().map(row).collect::<Vec<_>>(),
            "recommendations": self.advice.iter().map(|a| json!({
                "for": a.what_for,
                "chunk": self.chunk_option(a),
                "access": a.accesses.iter().map(row).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })
    }

    fn chunk_option(&self, advice: &Advice) -> String {
        let pairs = self.layout.dims.iter().zip(&advice.chunks).map(|(dim, n)| format!("{dim}={n}"));
        pairs.collect::<Vec<_>>().join(",")
    }

    /// The card as lines: heads, then a row for each question.
    pub(crate) fn rows(&self) -> Vec<[String; 6]> {
        let heads = ["asked", "chunks", "requests", "read", "of use", "amplification"].map(str::to_owned);
        let row = |a: &Access| {
            [
                a.ask.name.clone(),
                number(a.chunks),
                number(a.requests),
                megabytes(a.bytes),
                megabytes(a.useful_bytes),
                format!("{} ×", number(a.amplification())),
            ]
        };
        std::iter::once(heads).chain(self.accesses.iter().map(row)).collect()
    }

    /// What the card is of.
    pub(crate) fn title(&self) -> String {
        let along = |(d, dim): (usize, &String)| format!("{} {}", printable(dim), self.layout.count(d));
        let counts: Vec<String> = self.layout.dims.iter().enumerate().map(along).collect();
        let total = (0..self.layout.dims.len()).map(|d| self.layout.count(d)).fold(1, u64::saturating_mul);
        format!(
            "{}  {total} {} ({}) of {}",
            printable(&self.variables.join(", ")),
            if total == 1 { "chunk" } else { "chunks" },
            counts.join(" × "),
            megabytes(self.layout.chunk_bytes() as f64)
        )
    }

    /// Other chunks, in words; nothing where the present ones do.
    pub(crate) fn advised(&self) -> Vec<String> {
        let says = |a: &Advice| {
            let what: Vec<String> = a
                .accesses
                .iter()
                .filter(|a| a.ask.placed == Placement::Aligned)
                .map(|a| format!("{} {}", a.ask.name, megabytes(a.bytes)))
                .collect();
            format!("for {}: --chunk {} ({})", a.what_for, self.chunk_option(a), what.join(", "))
        };
        self.advice.iter().map(says).collect()
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "  {}", self.title())?;
        let rows = self.rows();
        let widths: Vec<usize> = (0..6).map(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
        for row in &rows {
            write!(out, "    {}{}", row[0], " ".repeat(widths[0] - row[0].chars().count()))?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(out, "  {}{cell}", " ".repeat(width - cell.chars().count()))?;
            }
            writeln!(out)?;
        }
        for line in self.advised() {
            writeln!(out, "    {line}")?;
        }
        Ok(())
    }
}

fn row(access: &Access) -> Value {
    json!({
        "access": access.ask.name,
        "chunks": access.chunks,
        "requests": access.requests,
        "bytes": access.bytes,
        "useful_bytes": access.useful_bytes,
        "amplification": access.amplification(),
    })
}

/// A count, which may be a mean.
fn number(value: f64) -> String {
    if value == value.trunc() || value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// Bytes in decimal units, as disks and networks count.
pub(crate) fn megabytes(bytes: f64) -> String {
    match bytes {
        b if b < 1e3 => format!("{b:.0} B"),
        b if b < 1e5 => format!("{:.1} kB", b / 1e3),
        b if b < 1e9 => format!("{:.1} MB", b / 1e6),
        b => format!("{:.1} GB", b / 1e9),
    }
}
