//! What the tests of this module share: cubes of a few names, formulas of a few cells.

use super::*;
use crate::cube::{Attrs, Labels};

/// `None` is a missing cell.
pub(super) type Cell = Option<f64>;

/// A variable with these dimensions.
pub(super) fn variable(name: &str, dims: &str) -> ScopeVariable {
    let dims = dims.split_whitespace().map(str::to_owned).collect();
    ScopeVariable { name: name.to_owned(), dims, dtype: None, attrs: Attrs::new() }
}

/// Variables without labels.
pub(super) fn scope_of(names: &str) -> Scope {
    Scope { variables: names.split_whitespace().map(|n| variable(n, "y x")).collect(), labels: Default::default() }
}

/// A cube of `reflectance(time, band, y, x)` with named bands, `t2m(time, y, x)`, `level_t(level, y, x)`.
pub(super) fn satellite() -> Scope {
    let bands = ["red", "green", "blue", "nir", "B 8A", "SWIR", "twin", "twin"];
    let labels = [
        ("time".to_owned(), Labels::Index(12)),
        ("band".to_owned(), Labels::Text(bands.map(str::to_owned).to_vec())),
        ("level".to_owned(), Labels::Integer(vec![1000, 850, 500, -1])),
        ("lat".to_owned(), Labels::Number(vec![45.5, 45.25, -45.0, 0.1f32.into()])),
    ];
    Scope {
        variables: vec![
            variable("reflectance", "time band y x"),
            variable("t2m", "time y x"),
            variable("level_t", "level y x"),
            variable("profile", "lat x"),
            variable("2m wind", "x"),
        ],
        labels: labels.into_iter().collect(),
    }
}

/// The formulas, read and checked.
pub(super) fn compile(formulas: &[&str], scope: &Scope) -> Result<Checked, ExprError> {
    let read: Vec<Formula> = formulas.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
    check(&read, scope)
}

/// The error of one formula.
pub(super) fn error(formula: &str, scope: &Scope) -> ExprError {
    match compile(&[formula], scope) {
        Ok(checked) => panic!("`{formula}` was accepted: {checked:?}"),
        Err(error) => error,
    }
}

/// The results of the last formula for columns of cells, one for each variable of the scope `names`.
pub(super) fn run(formulas: &[&str], names: &str, columns: &[&[Cell]]) -> Result<Vec<Cell>, EvalError> {
    let checked = compile(formulas, &scope_of(names)).unwrap();
    let len = columns.first().map_or(1, |column| column.len());
    let values: Vec<Vec<f64>> =
        columns.iter().map(|column| column.iter().map(|cell| cell.unwrap_or(f64::NAN)).collect()).collect();
    let place = |input: &Input| names.split_whitespace().position(|n| n == input.variable).unwrap();
    let inputs: Vec<InputColumn<'_>> =
        checked.inputs.iter().map(|input| InputColumn::Values(&values[place(input)])).collect();
    let mut results = vec![vec![0.0; len]; checked.outputs.len()];
    let mut outputs: Vec<&mut [f64]> = results.iter_mut().map(Vec::as_mut_slice).collect();
    Evaluator::new(&checked).eval(&inputs, len, &mut outputs)?;
    Ok(results.pop().unwrap().into_iter().map(|value| (!value.is_nan()).then_some(value)).collect())
}

/// The value of a formula of constants.
pub(super) fn constant(formula: &str) -> Cell {
    run(&[formula], "", &[]).unwrap()[0]
}

/// The value of a formula of one cell of each name.
pub(super) fn cell(formula: &str, names: &str, cells: &[Cell]) -> Result<Cell, EvalError> {
    let columns: Vec<&[Cell]> = cells.iter().map(std::slice::from_ref).collect();
    run(&[formula], names, &columns).map(|results| results[0])
}

/// A formula with a number in the place of a name.
pub(super) fn with_number(formula: &str, name: char, value: f64) -> String {
    let letters: Vec<char> = formula.chars().collect();
    let in_word = |at: Option<usize>| at.and_then(|at| letters.get(at)).is_some_and(|c| c.is_alphanumeric());
    let alone = |at: usize| letters[at] == name && !in_word(at.checked_sub(1)) && !in_word(Some(at + 1));
    (0..letters.len()).map(|at| if alone(at) { format!("({value:?})") } else { letters[at].to_string() }).collect()
}
