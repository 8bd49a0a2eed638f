//! Any formulas: refused with a place in the text, or evaluated to the same bits twice.

use chunkwise_core::cube::{Attrs, Labels};
use chunkwise_core::expr::{self, Evaluator, Formula, InputColumn, Scope, ScopeVariable};

/// Cells, one more than a block.
const CELLS: usize = 513;

/// Formulas, one on a line.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = expr::parse_condition(text).map_err(|error| error.to_string());
    let formulas: Result<Vec<Formula>, _> = text.lines().take(8).map(expr::parse).collect();
    let checked = match formulas.and_then(|formulas| expr::check(&formulas, &scope())) {
        Ok(checked) => checked,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    let columns: Vec<Vec<f64>> = (0..checked.inputs.len()).map(column).collect();
    let inputs: Vec<InputColumn<'_>> = columns.iter().map(|column| InputColumn::Values(column)).collect();
    let mut evaluator = Evaluator::new(&checked);
    let mut results = || {
        let mut results = vec![vec![0.0; CELLS]; checked.outputs.len()];
        let mut outputs: Vec<&mut [f64]> = results.iter_mut().map(Vec::as_mut_slice).collect();
        let done = evaluator.eval(&inputs, CELLS, &mut outputs);
        let bits = |v: &f64| if v.is_nan() { u64::MAX } else { v.to_bits() };
        done.map(|()| results.iter().flatten().map(bits).collect::<Vec<u64>>()).map_err(|error| error.to_string())
    };
    assert_eq!(results(), results());
}

/// Cells of an input: what floats have at their ends, small integers, and fractions.
fn column(input: usize) -> Vec<f64> {
    const ENDS: [f64; 9] = [
        0.0,
        -0.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN_POSITIVE,
        9.007_199_254_740_993e15,
        -1.0,
    ];
    let cell = |at: usize| match at % 3 {
        0 => ENDS[(at / 3 + input) % ENDS.len()],
        1 => (at % 17) as f64 - input as f64,
        _ => (at as f64 + 0.25) / (input as f64 - 3.5),
    };
    (0..CELLS).map(cell).collect()
}

fn scope() -> Scope {
    let variable = |name: &str, dims: &[&str], attrs: Attrs| ScopeVariable {
        name: name.to_owned(),
        dims: dims.iter().map(|d| (*d).to_owned()).collect(),
        dtype: None,
        attrs,
    };
    let flags =
        serde_json::json!({"flag_values": [0, 1, 2], "flag_masks": [3, 3, 3], "flag_meanings": "clear cloud snow"});
    let serde_json::Value::Object(flags) = flags else { unreachable!("an object") };
    let bands = ["red", "nir", "B 8A", "SWIR"].map(str::to_owned).to_vec();
    Scope {
        variables: vec![
            variable("reflectance", &["time", "band", "y", "x"], Attrs::new()),
            variable("t2m", &["time", "y", "x"], Attrs::new()),
            variable("level_t", &["level", "y"], Attrs::new()),
            variable("scl", &["y", "x"], flags.into_iter().collect()),
            variable("a", &["x"], Attrs::new()),
        ],
        labels: [
            ("time".to_owned(), Labels::Index(12)),
            ("band".to_owned(), Labels::Text(bands)),
            ("level".to_owned(), Labels::Integer(vec![1000, 850, -1])),
        ]
        .into_iter()
        .collect(),
    }
}
