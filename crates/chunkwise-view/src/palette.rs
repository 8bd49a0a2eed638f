//! Colours of values and of classes.

use std::sync::OnceLock;

/// matplotlib's colour maps, a line each: the name, then 256 colours.
const TABLE: &str = include_str!("../assets/palettes.txt");

/// Colours of classes that bring none: those of Okabe and Ito, which the colour-blind tell apart (a darker yellow), and
/// lighter ones of them.
const CATEGORIES: [[u8; 3]; 12] = [
    [0, 114, 178],
    [230, 159, 0],
    [0, 158, 115],
    [213, 94, 0],
    [86, 180, 233],
    [204, 121, 167],
    [150, 120, 20],
    [90, 90, 90],
    [127, 184, 216],
    [243, 207, 127],
    [127, 206, 185],
    [234, 174, 127],
];

/// The colour of class or line `i`; they repeat after twelve.
pub fn category(i: usize) -> [u8; 3] {
    CATEGORIES[i % CATEGORIES.len()]
}

/// A scale of 256 colours, those of matplotlib's colour map of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    name: &'static str,
    colours: &'static [[u8; 3]],
    reversed: bool,
}

/// A name and its colours.
type Named = (&'static str, Vec<[u8; 3]>);

fn all() -> &'static [Named] {
    static ALL: OnceLock<Vec<Named>> = OnceLock::new();
    ALL.get_or_init(|| {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once(' '));
        let hex = |pair: &[u8]| {
            let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
            digit(pair[0]) * 16 + digit(pair[1])
        };
        let colours = |text: &str| {
            let colour = |six: &[u8]| [hex(&six[0..2]), hex(&six[2..4]), hex(&six[4..6])];
            text.as_bytes().chunks_exact(6).map(colour).collect()
        };
        pairs.map(|(name, text)| (name, colours(text))).collect()
    })
}

impl Palette {
    /// The palette of this name, whatever the case; `_r` behind it turns it round.
    pub fn named(name: &str) -> Option<Palette> {
        let lower = name.trim().to_lowercase();
        let (stem, reversed) = match lower.strip_suffix("_r") {
            Some(stem) => (stem, true),
            None => (lower.as_str(), false),
        };
        let stem = if stem == "grey" { "gray" } else { stem };
        let (name, colours) = all().iter().find(|(name, _)| *name == stem)?;
        Some(Palette { name, colours, reversed })
    }

    /// The names that there are.
    pub fn names() -> Vec<&'static str> {
        all().iter().map(|(name, _)| *name).collect()
    }

    /// Its name, with `_r` where it is turned round.
    pub fn name(&self) -> String {
        format!("{}{}", self.name, if self.reversed { "_r" } else { "" })
    }

    /// The colour at `t` from 0 to 1, as matplotlib picks it: one of 256 steps of equal width.
    pub fn at(&self, t: f64) -> [u8; 3] {
        let step = (t * 256.0).clamp(0.0, 255.0) as usize;
        self.colours[if self.reversed { 255 - step } else { step }]
    }

    /// The colour of `value` where `range` spans the palette; what lies beyond has the colour of the end.
    pub fn of(&self, value: f64, (low, high): (f64, f64)) -> [u8; 3] {
        let t = match high > low {
            true => (value - low) / (high - low),
            false if value > high => 1.0,
            false if value < low => 0.0,
            false => 0.5,
        };
        self.at(t)
    }
}

impl Default for Palette {
    /// viridis.
    fn default() -> Palette {
        let (name, colours) = &all()[0];
        Palette { name, colours, reversed: false }
    }
}

/// The values at two percentiles of those that are finite, linear between the two nearest; `None` where there are none.
pub fn stretch(values: impl Iterator<Item = f64>, (low, high): (f64, f64)) -> Option<(f64, f64)> {
    let mut found: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    let last = found.len().checked_sub(1)?;
    let mut at = |percent: f64| {
        let place = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
        let (whole, part) = (place.floor() as usize, place.fract());
        let (_, &mut a, above) = found.select_nth_unstable_by(whole, f64::total_cmp);
        match above.iter().copied().reduce(f64::min) {
            Some(b) if part > 0.0 => a + (b - a) * part,
            _ => a,
        }
    };
    Some((at(low), at(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_matplotlib() {
        // plt.colormaps[name]((0, 0.5, 1)) of matplotlib 3.11, as hexadecimal digits.
        let is = |name: &str, want: [&str; 3]| {
            let palette = Palette::named(name).unwrap();
            let hex = |t: f64| palette.at(t).map(|c| format!("{c:02x}")).concat();
            assert_eq!([hex(0.0), hex(0.5), hex(1.0)], want, "{name}");
        };
        is("viridis", ["440154", "21918c", "fde725"]);
        is("cividis", ["00224e", "7d7c78", "fee838"]);
        is("greens", ["f7fcf5", "73c476", "00441b"]);
        is("RdYlGn", ["a50026", "feffbe", "006837"]);
        is("greys", ["ffffff", "959595", "000000"]);
        is("viridis_r", ["fde725", "21908d", "440154"]);
    }

    #[test]
    fn every_palette_has_256_colours() {
        assert!(all().len() >= 15);
        for (name, colours) in all() {
            assert_eq!(colours.len(), 256, "{name}");
        }
    }

    #[test]
    fn what_lies_beyond_the_range_has_the_colour_of_the_end() {
        let p = Palette::default();
        assert_eq!(p.of(-5.0, (0.0, 1.0)), p.at(0.0));
        assert_eq!(p.of(f64::INFINITY, (0.0, 1.0)), p.at(1.0));
        assert_eq!(p.of(3.0, (3.0, 3.0)), p.at(0.5));
    }

    #[test]
    fn percentiles_are_linear_between_values_as_in_numpy() {
        // np.percentile([1, 2, 3, 4, 10], [2, 98]) = [1.08, 9.52]
        let (low, high) = stretch([10.0, 1.0, f64::NAN, 3.0, 2.0, 4.0].into_iter(), (2.0, 98.0)).unwrap();
        assert!((low - 1.08).abs() < 1e-12 && (high - 9.52).abs() < 1e-12, "{low} {high}");
        assert_eq!(stretch([f64::NAN].into_iter(), (2.0, 98.0)), None);
        assert_eq!(stretch([7.0].into_iter(), (2.0, 98.0)), Some((7.0, 7.0)));
    }
}
