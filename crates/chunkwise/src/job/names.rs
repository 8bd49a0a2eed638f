//! Names in formulas, before any is looked up: whether labels must be read to know them.

use std::collections::HashSet;

/// Words that are no names.
const WORDS: [&str; 7] = ["and", "or", "not", "in", "missing", "nan", "inf"];

/// All that may be a name of a variable, a label or a dimension: what stands in quotes, and words that are no
/// function, no literal and not the name of a formula.
pub(super) fn of<'a>(formulas: impl Iterator<Item = &'a String>) -> HashSet<String> {
    let (mut names, mut outputs) = (HashSet::new(), HashSet::new());
    for formula in formulas {
        let mut rest = formula.as_str();
        let mut first = true;
        while let Some(letter) = rest.chars().next() {
            let next = |at: usize| rest[at..].trim_start();
            let end = match letter {
                '"' | '\'' => rest[1..].find(letter).map_or(rest.len(), |at| at + 2),
                c if is_letter(c) => rest.find(|c: char| !is_letter(c) && !c.is_ascii_digit()).unwrap_or(rest.len()),
                c if c.is_ascii_digit() => rest.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            let (word, after) = (&rest[..end], next(end));
            let is_output = first && after.starts_with('=') && !after.starts_with("==");
            if is_output {
                outputs.insert(word.trim_matches(['"', '\'']).to_owned());
            } else if matches!(letter, '"' | '\'') {
                names.insert(word.trim_matches(letter).to_owned());
            } else if is_letter(letter) && !after.starts_with('(') && !WORDS.contains(&word) {
                names.insert(word.to_owned());
            }
            first &= letter.is_whitespace();
            rest = &rest[end..];
        }
    }
    names.retain(|name| !outputs.contains(name));
    names
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_is_no_function_literal_or_output() {
        let found = |formulas: &[&str]| {
            let formulas: Vec<String> = formulas.iter().map(|f| (*f).to_owned()).collect();
            let mut names: Vec<String> = of(formulas.iter()).into_iter().collect();
            names.sort();
            names
        };
        assert_eq!(found(&["ndvi = (nir - red) / (nir + red)"]), ["nir", "red"]);
        assert_eq!(found(&["a = exp(v) + 1e5 * 2x", "b = a == v and not missing"]), ["v"]);
        assert_eq!(found(&["reflectance[band=4] - \"B 8A\""]), ["B 8A", "band", "reflectance"]);
        assert_eq!(found(&["\"my out\" = flag (qa, 'cloud')", "\"my out\" * größe"]), ["cloud", "größe", "qa"]);
        assert_eq!(found(&["time == 3"]), ["time"]);
    }
}
