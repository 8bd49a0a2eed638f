//! Classes of flags: their values, meanings and colours.

use chunkwise_core::cube::{Attrs, Variable};
use chunkwise_core::plan::{From, Stage};
use chunkwise_view::{Class, category};
use serde_json::Value;

/// Flags of a variable.
pub(super) struct Flags {
    meanings: Vec<String>,
    values: Vec<i64>,
    masks: Vec<i64>,
    colours: Vec<[u8; 3]>,
}

/// Classes that a picture has, at most.
pub(super) const MOST: usize = 64;

impl Flags {
    /// Those of what is folded, where that is a variable whose values are kept.
    pub(super) fn of(stage: &Stage) -> Option<Flags> {
        let folded = stage.folded.first()?;
        let From::Input(i) = folded.from else { return None };
        if !folded.statistics.iter().all(|s| chunkwise::job::keeps_stored(*s)) {
            return None;
        }
        Flags::of_variable(&stage.arrays[stage.inputs[i].array])
    }

    fn of_variable(variable: &Variable) -> Option<Flags> {
        let meanings = words(&variable.attrs, "flag_meanings");
        let (values, masks) = (integers(&variable.attrs, "flag_values"), integers(&variable.attrs, "flag_masks"));
        let fits = |list: &[i64]| list.is_empty() || list.len() == meanings.len();
        if meanings.is_empty() || (values.is_empty() && masks.is_empty()) || !fits(&values) || !fits(&masks) {
            return None;
        }
        let colours: Vec<[u8; 3]> = words(&variable.attrs, "flag_colors").iter().filter_map(|c| colour(c)).collect();
        let colours = if colours.len() == meanings.len() { colours } else { Vec::new() };
        Some(Flags { meanings, values, masks, colours })
    }

    /// The classes of the values that there are; `None` where there are too many to tell apart.
    pub(super) fn classes(&self, values: &[f64]) -> Option<Vec<Class>> {
        let mut found: Vec<f64> = Vec::new();
        for v in values.iter().filter(|v| !v.is_nan()) {
            if !found.contains(v) {
                if found.len() == MOST {
                    return None;
                }
                found.push(*v);
            }
        }
        found.sort_by(f64::total_cmp);
        let known = if self.masks.is_empty() { self.values.len() } else { 0 };
        let mut others = known;
        let mut class = |value: f64| {
            let at = self.masks.is_empty().then(|| self.values.iter().position(|v| *v as f64 == value)).flatten();
            let name = match at {
                Some(i) => self.meanings[i].replace('_', " "),
                None if self.masks.is_empty() => crate::output::float(value),
                None => self.bits(value),
            };
            let colour = match at {
                Some(i) if self.colours.is_empty() && is_nothing(&self.meanings[i]) => NOTHING,
                Some(i) => self.colours.get(i).copied().unwrap_or_else(|| category(i)),
                None => {
                    others += 1;
                    category(others - 1)
                }
            };
            Class { value, name, colour }
        };
        Some(found.into_iter().map(&mut class).collect())
    }

    /// The flags that are set in a value.
    fn bits(&self, value: f64) -> String {
        let bits = value as i64;
        // A mask of the highest bit of 32 may be stored as a negative number.
        let same = |mask: i64| if mask < 0 && bits >= 0 { mask & 0xffff_ffff } else { mask };
        let set = |i: usize| match self.values.get(i) {
            Some(v) => bits & same(self.masks[i]) == *v,
            None => self.masks[i] != 0 && bits & same(self.masks[i]) == same(self.masks[i]),
        };
        let names: Vec<&str> =
            (0..self.meanings.len()).filter(|&i| set(i)).map(|i| self.meanings[i].as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(" + ").replace('_', " ") }
    }
}

/// The colour of classes that say that nothing is known.
const NOTHING: [u8; 3] = [216, 216, 216];

fn is_nothing(meaning: &str) -> bool {
    let letters: String = meaning.chars().filter(|c| c.is_alphabetic()).collect();
    ["nodata", "unknown", "unclassified", "unclassifiable", "missing", "fill", "notclassified"]
        .contains(&letters.to_lowercase().as_str())
}

fn words(attrs: &Attrs, name: &str) -> Vec<String> {
    match attrs.get(name) {
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn integers(attrs: &Attrs, name: &str) -> Vec<i64> {
    let integer = |v: &Value| v.as_i64().or_else(|| v.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64));
    match attrs.get(name) {
        Some(Value::Array(list)) => list.iter().filter_map(integer).collect(),
        Some(Value::String(text)) => {
            let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|w| !w.is_empty());
            words.filter_map(|w| w.trim_end_matches(['b', 's', 'l', 'u', 'B', 'S', 'L', 'U']).parse().ok()).collect()
        }
        Some(one) => integer(one).into_iter().collect(),
        None => Vec::new(),
    }
}

/// `#rrggbb` or `#rgb`.
fn colour(text: &str) -> Option<[u8; 3]> {
    let digits: Option<Vec<u8>> = text.strip_prefix('#')?.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    match *digits?.as_slice() {
        [a, b, c, d, e, f] => Some([a * 16 + b, c * 16 + d, e * 16 + f]),
        [r, g, b] => Some([r * 17, g * 17, b * 17]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flags(attrs: Value) -> Flags {
        let Value::Object(attrs) = attrs else { panic!() };
        let (meanings, colours) = (words(&attrs, "flag_meanings"), words(&attrs, "flag_colors"));
        Flags {
            meanings,
            values: integers(&attrs, "flag_values"),
            masks: integers(&attrs, "flag_masks"),
            colours: colours.iter().filter_map(|c| colour(c)).collect(),
        }
    }

    #[test]
    fn classes_have_their_meanings_and_colours() {
        let f = flags(json!({"flag_values": [0, 2], "flag_meanings": "water dry_land", "flag_colors": "#0000ff #0a0"}));
        let classes = f.classes(&[2.0, f64::NAN, 0.0, 2.0, 9.0]).unwrap();
        let told: Vec<_> = classes.iter().map(|c| (c.value, c.name.as_str(), c.colour)).collect();
        assert_eq!(told[..2], [(0.0, "water", [0, 0, 255]), (2.0, "dry land", [0, 170, 0])]);
        assert_eq!(told[2].1, "9");
    }

    #[test]
    fn bits_are_named_one_by_one() {
        let f = flags(json!({"flag_masks": [-2147483648i64, 1, 2], "flag_meanings": "land cloud snow"}));
        assert_eq!(f.bits(2147483651.0), "land + cloud + snow");
        assert_eq!(f.bits(0.0), "none");
    }
}
