//! The words of `plot`, read.

use crate::failed::Failed;
use chunkwise::open::OpenCube;
use chunkwise_view::Palette;

/// Least and most pixels along a side.
const SIDES: (u32, u32) = (120, 4000);

/// A palette by name.
pub(super) fn palette(text: &str) -> Result<Palette, String> {
    Palette::named(text).ok_or_else(|| format!("there are {}", Palette::names().join(", ")))
}

/// Two numbers, the first less than the second.
pub(super) fn pair(text: &str) -> Result<(f64, f64), String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[low, high]) if low < high && low.is_finite() && high.is_finite() => Ok((low, high)),
        _ => Err("expected two numbers LO,HI, the first less than the second".to_owned()),
    }
}

/// Two percentiles.
pub(super) fn percentiles(text: &str) -> Result<(f64, f64), String> {
    let (low, high) = pair(text)?;
    match (0.0..=100.0).contains(&low) && (0.0..=100.0).contains(&high) {
        true => Ok((low, high)),
        false => Err("percentiles lie between 0 and 100".to_owned()),
    }
}

/// Pixels along a side.
pub(super) fn pixels(text: &str) -> Result<u32, String> {
    let pixels = text.trim().parse().ok().filter(|p| (SIDES.0..=SIDES.1).contains(p));
    pixels.ok_or_else(|| format!("expected a number of pixels from {} to {}", SIDES.0, SIDES.1))
}

/// Names of the formulas that give red, green and blue.
pub(super) const CHANNELS: [&str; 3] = ["chunkwise_red", "chunkwise_green", "chunkwise_blue"];

/// `--rgb` as formulas. A text that is the name of a variable or label is taken as that, whatever it looks like.
pub(super) fn channels(text: &str, cube: &OpenCube) -> Result<Vec<String>, Failed> {
    let parts = split(text);
    if parts.len() != 3 {
        return Err(Failed::says(format!("`--rgb {text}` names {} channels, three are wanted", parts.len()))
            .with_hint("as in `--rgb red,green,blue`: band labels, variables or formulas"));
    }
    let formula = |(name, part): (&str, &&str)| {
        let known = cube.cube.variables.contains_key(*part);
        let plain = part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ' ');
        let number = part.parse::<f64>().is_ok();
        match known || (plain && !number) {
            true => Ok(format!("{name} = \"{part}\"")),
            false if number => Err(Failed::says(format!("`--rgb {text}`: `{part}` is a number, not a band"))
                .with_hint(format!("name the variable too: `reflectance[band={part}]`"))),
            false => Ok(format!("{name} = {part}")),
        }
    };
    CHANNELS.into_iter().zip(&parts).map(formula).collect()
}

/// The parts of `--rgb`: between commas that stand in no brackets or quotes.
pub(super) fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut start) = (0i32, false, 0);
    let mut parts = Vec::new();
    for (i, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_split_outside_of_brackets() {
        assert_eq!(split("red, where(a > 0, b, c),\"B 8,A\""), ["red", "where(a > 0, b, c)", "\"B 8,A\""]);
    }

    #[test]
    fn ranges_ascend() {
        assert_eq!(pair("-1, 2.5"), Ok((-1.0, 2.5)));
        for bad in ["1", "2,1", "1,1", "a,b", "nan,1", "0,inf", "1,2,3"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
        assert!(percentiles("0,101").is_err());
    }
}
