use crate::expr::trial::{Cell, cell, compile, constant, run, scope_of};
use crate::expr::{BLOCK, BlockSource, EvalError, Evaluator, InputColumn};
use std::f64::consts::PI;

mod numpy;
mod tree;

const T: Cell = Some(1.0);
const F: Cell = Some(0.0);
const M: Cell = None;

#[test]
fn logic_is_three_valued() {
    // Kleene's tables: a, b, a and b, a or b.
    for (a, b, and, or) in [
        (T, T, T, T),
        (T, F, F, T),
        (T, M, M, T),
        (F, T, F, T),
        (F, F, F, F),
        (F, M, F, M),
        (M, T, M, T),
        (M, F, F, M),
        (M, M, M, M),
    ] {
        assert_eq!(cell("a and b", "a b", &[a, b]), Ok(and), "{a:?} and {b:?}");
        assert_eq!(cell("a or b", "a b", &[a, b]), Ok(or), "{a:?} or {b:?}");
    }
    for (a, not) in [(T, F), (F, T), (M, M), (Some(-2.5), F), (Some(-0.0), T)] {
        assert_eq!(cell("not a", "a", &[a]), Ok(not), "not {a:?}");
    }
    assert_eq!(constant("missing or true"), T);
    assert_eq!(constant("missing and false"), F);
    assert_eq!(cell("a or b", "a b", &[Some(5.0), M]), Ok(T), "every number but 0 is true");
}

#[test]
fn what_is_missing_stays_missing() {
    for formula in [
        "a + 1",
        "a - a",
        "a * 0",
        "a / 2",
        "a // 2",
        "a % 2",
        "a ** 0",
        "1 ** a",
        "a ** 2",
        "0 ** a",
        "-a",
        "abs(a)",
        "a < 1",
        "a >= 1",
        "a == a",
        "a != a",
        "1 < a < 2",
        "min(a, 1)",
        "max(1, a)",
        "clip(a, 0, 1)",
        "clip(1, a, 2)",
        "where(a, 1, 2)",
        "where(1, a, 2)",
        "where(0, 1, a)",
        "isin(a, 1)",
        "isin(1, 2, a)",
        "round(a)",
        "round(a, 2)",
        "bit(a, 3)",
        "exp(a)",
        "sqrt(a)",
        "floor(a)",
        "pow(a, 0)",
        "a == missing",
    ] {
        assert_eq!(cell(formula, "a", &[M]), Ok(M), "{formula}");
        assert_eq!(cell(formula, "a", &[Some(f64::NAN)]), Ok(M), "{formula} of NaN");
    }
    for (formula, expected) in [
        ("ismissing(a)", 1.0),
        ("isnan(a)", 1.0),
        ("where(0, a, 2)", 2.0),
        ("where(1, 1, a)", 1.0),
        ("isin(1, a, 1)", 1.0),
        ("where(ismissing(a), 0, a)", 0.0),
    ] {
        assert_eq!(cell(formula, "a", &[M]), Ok(Some(expected)), "{formula}");
    }
    assert_eq!(cell("ismissing(a)", "a", &[Some(3.0)]), Ok(F));
}

#[test]
fn what_is_undefined_is_missing_and_what_is_infinite_is_not() {
    for formula in [
        "0/0",
        "log(-1)",
        "sqrt(-1)",
        "log10(-1)",
        "inf - inf",
        "inf / inf",
        "0 * inf",
        "5 % 0",
        "sin(inf)",
        "(-8) ** (1/3)",
    ] {
        assert_eq!(constant(formula), None, "{formula}");
    }
    let infinite =
        [("1/0", 1.0), ("-1/0", -1.0), ("log(0)", -1.0), ("exp(1000)", 1.0), ("5 // 0", 1.0), ("10 ** 400", 1.0)];
    for (formula, sign) in infinite {
        assert_eq!(constant(formula), Some(sign * f64::INFINITY), "{formula}");
        assert_eq!(constant(&format!("ismissing({formula})")), F);
    }
    assert_eq!(cell("a / b", "a b", &[F, F]), Ok(M));
    assert_eq!(cell("a / b", "a b", &[T, F]), Ok(Some(f64::INFINITY)));
}

#[test]
fn bits_are_counted_from_zero_in_twos_complement() {
    let quality = 0b1010_0100u8;
    for n in 0..8 {
        let expected = f64::from(quality >> n & 1);
        assert_eq!(cell(&format!("bit(a, {n})"), "a", &[Some(f64::from(quality))]), Ok(Some(expected)));
    }
    for (value, n, expected) in [
        (-1.0, 63, 1.0),
        (-2.0, 0, 0.0),
        (-128.0, 7, 1.0),
        (-128.0, 6, 0.0),
        (2147483648.0, 31, 1.0),
        (4160749568.0, 27, 1.0),
        (4160749568.0, 26, 0.0),
        (9007199254740992.0, 53, 1.0),
        (-9007199254740992.0, 52, 0.0),
        (-9223372036854775808.0, 63, 1.0),
        (9223372036854775808.0, 63, 1.0),
        (18446744073709549568.0, 11, 1.0),
        (18446744073709549568.0, 10, 0.0),
        (2251799813685247.0, 50, 1.0),
        (2251799813685248.0, 51, 1.0),
        (-2251799813685248.0, 51, 1.0),
        (-2251799813685249.0, 0, 1.0),
    ] {
        assert_eq!(cell(&format!("bit(a, {n})"), "a", &[Some(value)]), Ok(Some(expected)), "bit {n} of {value}");
    }
}

#[test]
fn bits_of_what_is_no_integer_are_an_error_that_says_where() {
    for value in [0.5, 1e-300, f64::INFINITY, -f64::INFINITY, 18446744073709551616.0, -1e19, 4503599627370495.5] {
        let mut column = vec![Some(3.0); BLOCK + 10];
        column[7] = M;
        column[BLOCK + 3] = Some(value);
        let error = run(&["bit(qa, 1)"], "qa", &[&column]).unwrap_err();
        let argument = "`qa`".to_owned();
        assert_eq!(error, EvalError::NotInteger { function: "bit", argument, value, cell: BLOCK + 3 });
    }
    let error = cell("bit(qa / 2, 1)", "qa", &[Some(3.0)]).unwrap_err();
    assert_eq!(error.to_string(), "`bit` needs integers, but its argument holds 1.5");
}

#[test]
fn zeros_of_either_sign_are_equal_and_the_second_is_taken() {
    for (formula, sign) in [("min(0, -a)", -1.0), ("min(-a, 0)", 1.0), ("max(0, -a)", -1.0), ("max(-a, 0)", 1.0)] {
        assert_eq!(cell(&format!("1 / {formula}"), "a", &[F]), Ok(Some(sign * f64::INFINITY)), "{formula}");
    }
    assert_eq!(cell("-a == 0 and not -a", "a", &[F]), Ok(T));
}

#[test]
fn rounding_takes_halves_to_even() {
    // numpy 2.4.6: np.round([0.5, 1.5, 2.5, -0.5, -1.5, 0.125, 0.375, 250, 350], digits)
    for (formula, expected) in [
        ("round(0.5)", 0.0),
        ("round(1.5)", 2.0),
        ("round(2.5)", 2.0),
        ("round(-1.5)", -2.0),
        ("round(0.125, 2)", 0.12),
        ("round(0.375, 2)", 0.38),
        ("round(250, -2)", 200.0),
        ("round(350, -2)", 400.0),
        ("round(1e300, 22)", 1e300),
    ] {
        assert_eq!(constant(formula), Some(expected), "{formula}");
    }
}

#[test]
fn squares_and_roots_are_correctly_rounded_and_circles_close() {
    assert_eq!(cell("a ** 2", "a", &[Some(0.1)]), Ok(Some(0.1 * 0.1)));
    assert_eq!(cell("a ** 0.5", "a", &[Some(2.0)]), Ok(Some(std::f64::consts::SQRT_2)));
    let one = cell("sin(a) ** 2 + cos(a) ** 2", "a", &[Some(PI / 5.0)]).unwrap().unwrap();
    assert!((one - 1.0).abs() < 1e-15);
}

#[test]
fn later_formulas_use_the_names_of_earlier_ones() {
    let formulas = ["red = red / 10", "total = red + nir", "share = red / total"];
    let result = run(&formulas, "red nir", &[&[Some(20.0), M], &[Some(8.0), T]]).unwrap();
    assert_eq!(result, [Some(0.2), M]);
}

#[test]
fn results_do_not_depend_on_how_cells_are_dealt_out() {
    let formula = "where(a > b, (a - b) / (a + b), sin(a)) ** 1.5 + bit(round(abs(b)), 2)";
    let column = |seed: u64| -> Vec<Cell> {
        (0..3 * BLOCK as u64 + 17)
            .map(|i| (i * 2654435761 + seed) % 10_007)
            .map(|i| (i % 11 != 0).then_some(i as f64 / 7.0 - 300.0))
            .collect()
    };
    let (a, b) = (column(1), column(77));
    let whole = run(&[formula], "a b", &[&a, &b]).unwrap();
    let singly: Vec<Cell> = a.iter().zip(&b).map(|(a, b)| cell(formula, "a b", &[*a, *b]).unwrap()).collect();
    assert_eq!(whole, singly);
}

#[test]
fn results_do_not_depend_on_the_instruction_set() {
    let formulas = [
        "(a - b) / (a + b)",
        "where(a > 0, sqrt(a) * b + a, b ** 1.7) - a * b",
        "round(a * b, 3) // 0.7 % 11",
        "bit(floor(a), 3) + min(a, b) - clip(b, -1, a)",
        "exp(a / 1000) * log(b) + sin(a) - tan(b)",
    ];
    let checked = compile(&formulas, &scope_of("a b")).unwrap();
    let column = |seed: u64| -> Vec<f64> {
        (0..2 * BLOCK as u64 + 13)
            .map(|i| (i * 2654435761 + seed) % 10_007)
            .map(|i| if i % 13 == 0 { f64::NAN } else { i as f64 / 7.0 - 300.0 })
            .collect()
    };
    let (a, b) = (column(5), column(99));
    let bits = |arch: pulp::Arch| -> Vec<u64> {
        let mut evaluator = Evaluator::new(&checked);
        evaluator.arch = arch;
        let inputs = [&a, &b].map(|values| InputColumn::Values(values));
        let mut results = vec![vec![0.0; a.len()]; formulas.len()];
        let mut outputs: Vec<&mut [f64]> = results.iter_mut().map(Vec::as_mut_slice).collect();
        evaluator.eval(&inputs, a.len(), &mut outputs).unwrap();
        results.iter().flatten().map(|v| v.to_bits()).collect()
    };
    assert_eq!(bits(pulp::Arch::new()), bits(pulp::Arch::Scalar));
}

/// 1, 2, 3 …, with NaN for each multiple of seven.
#[derive(Debug)]
struct Counting(usize);

impl BlockSource for Counting {
    fn cells(&self) -> usize {
        self.0
    }
    fn block(&self, first: usize, to: &mut [f64]) {
        for (cell, to) in (first + 1..).zip(to) {
            *to = if cell % 7 == 0 { f64::NAN } else { cell as f64 };
        }
    }
}

#[test]
fn columns_may_be_decoded_a_block_at_a_time() {
    let checked = compile(&["a + b", "a"], &scope_of("a b")).unwrap();
    let len = 2 * BLOCK + 5;
    let values: Vec<f64> = (0..len).map(|i| 2.0 * i as f64).collect();
    let inputs = [InputColumn::Decoded(&Counting(len)), InputColumn::Values(&values)];
    let (mut sum, mut same) = (vec![0.0; len], vec![0.0; len]);
    Evaluator::new(&checked).eval(&inputs, len, &mut [&mut sum, &mut same]).unwrap();
    for i in 0..len {
        let a = if (i + 1) % 7 == 0 { f64::NAN } else { (i + 1) as f64 };
        let bits = [sum[i], same[i]].map(f64::to_bits);
        assert_eq!(bits, [a + 2.0 * i as f64, a].map(f64::to_bits), "cell {i}; missing is one NaN");
    }
}

#[test]
fn outputs_may_be_inputs_constants_or_the_same() {
    let formulas = ["p = a", "q = 7", "r = -a", "s = -a", "t = missing"];
    let checked = compile(&formulas, &scope_of("a")).unwrap();
    let mut results = [[0.0]; 5];
    let mut outputs: Vec<&mut [f64]> = results.iter_mut().map(|value| &mut value[..]).collect();
    Evaluator::new(&checked).eval(&[InputColumn::Values(&[2.0])], 1, &mut outputs).unwrap();
    let got: Vec<Cell> = results.iter().map(|[value]| (!value.is_nan()).then_some(*value)).collect();
    assert_eq!(got, [Some(2.0), Some(7.0), Some(-2.0), Some(-2.0), None]);
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let checked = compile(&["a + b"], &scope_of("a b")).unwrap();
    let mut evaluator = Evaluator::new(&checked);
    let two = InputColumn::Values(&[1.0, 2.0]);
    let one = InputColumn::Values(&[1.0]);
    for inputs in [&[two][..], &[two, two, two], &[two, one], &[two, InputColumn::Decoded(&Counting(1))]] {
        let error = evaluator.eval(inputs, 2, &mut [&mut [0.0; 2]]).unwrap_err();
        assert_eq!(error, EvalError::Columns { inputs: 2, outputs: 1, len: 2 });
    }
    assert!(evaluator.eval(&[two, two], 2, &mut []).is_err());
    assert!(evaluator.eval(&[two, two], 2, &mut [&mut [0.0]]).is_err());
}

#[test]
fn scratch_memory_is_that_of_values_alive_at_once() {
    let sum = vec!["sqrt(a)*2"; 500].join("+").replace("+sqrt(a)*2", "+(a*a-sqrt(a))");
    let bytes = Evaluator::new(&compile(&[&sum], &scope_of("a")).unwrap()).scratch_bytes();
    assert!(bytes <= 8 * BLOCK * 8, "{bytes}");
    let terms: Vec<String> = (0..500).map(|i| format!("sin(a+{i})")).collect();
    let many = Evaluator::new(&compile(&[&terms.join("+")], &scope_of("a")).unwrap());
    // 500 constants, each filled once, and a few intermediate results.
    assert!(many.scratch_bytes() <= 510 * BLOCK * 8, "{}", many.scratch_bytes());
}
