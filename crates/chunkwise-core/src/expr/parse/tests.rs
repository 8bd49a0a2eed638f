use crate::expr::trial::{cell, constant, error, scope_of, with_number};
use crate::expr::{Formula, MAX_DEPTH, MAX_LENGTH, parse, parse_condition};

/// `eval` of CPython 3.11.7 with a = 3.5, b = -2.25, c = 0.75, d = 7.0; formulas made at random.
const PYTHON: [(&str, f64); 60] = [
    ("10 + d + 1.5 + b**2", 23.5625),
    ("-c // 2 // d * b", 2.25),
    ("3** (1+1) * 2 // 3 % 1.5 - c", -0.75),
    ("-3 // 0.5 + b + 2", -6.25),
    ("(- -(b))", -2.25),
    ("+0.5 + 1.5 // 1.5** 2**-1 - c", 0.75),
    ("10 * a** 2**-1 / 1.5 + d", 19.472191289246474),
    ("c // 3 // d", 0.0),
    ("(0.5) / b % 2 / 10 * 10 + b % 10", 9.527777777777779),
    ("d**-1 / 0.5 * a * 3 * b - a / 3", -7.916666666666667),
    ("c / 3 + +b % c", 0.25),
    ("(10 - b) // d + 2 // 1.5 - 3", -1.0),
    ("0.5 // 10 + 0.5**2 - a", -3.25),
    ("a**(1+1)", 12.25),
    ("d** (1+1)", 49.0),
    ("(d / b / 1.5 + 2)", -0.07407407407407396),
    ("c / 0.5 - d - 1.5**-1**2", -6.166666666666667),
    ("10 / 10**-2 - 2 + c", 998.75),
    ("0.5** -2 * c / b // b * (10)", 0.0),
    ("c * d * 2** 3 * 10 // 10 / (1.5)", 28.0),
    ("1.5** -1", 0.6666666666666666),
    ("c / 2 / b % 2**2**2", 15.833333333333334),
    ("d**-2 * a / 2 % c** -1**2", 0.03571428571428571),
    ("+a / 10 // 10", 0.0),
    ("0.5 / b / d + 3 * a / b % (10)", 5.301587301587301),
    ("(b** 2 * 0.5** 2**-1)", 3.579728079756897),
    ("b - 10 * 3 - (c)", -33.0),
    ("++a * 1.5", 5.25),
    ("1.5 * 2 + 2 % - -3 / - -b", 2.111111111111111),
    ("0.5** -1**2 * d * 1.5 + c", 21.75),
    ("(((10)))", 10.0),
    ("+2** 2 / 10 // d / 0.5", 0.0),
    ("1.5 % (0.5) + 10", 10.0),
    ("(b % 0.5 + c - a)", -2.5),
    ("- -b + d // 10 * d // 1.5 % 0.5 % b", -2.25),
    ("++d + 0.5**2**2", 7.0625),
    ("0.5 // d >= c / a == a and b - c != (1.5) > (a)", 0.0),
    ("d / 2 >= 0.5", 1.0),
    ("3 != d % a >= b", 1.0),
    ("+10 == a + d", 0.0),
    ("d + c >= 3 - 3 and d < - -2 and 1.5 % 10 < - -2 != 3 / 3", 0.0),
    ("(not not -1.5 == (c) < c)", 0.0),
    ("(2 - b < a / 1.5 and d / d < 3**3 and 10 != 3)", 0.0),
    ("2 // 1.5 != a**(1+1) >= (0.5)", 1.0),
    ("not 10 // a != 3", 0.0),
    ("not b // b <= 0.5 > d + 2 and (10) >= d * d", 0.0),
    ("1.5 - 2 < 3 / b", 0.0),
    ("3 // 3 < a * 2 > a - 1.5", 1.0),
    ("not not a // b == 2 // 3 == d % b", 0.0),
    ("2 + 10 > (10)", 1.0),
    ("10 < b + d and not not b * 0.5 != +0.5 < (b)", 0.0),
    ("not a * 2 < 10 / a", 1.0),
    ("d % b == 10 - a and 3 // c > b % 0.5", 0.0),
    ("((1.5) >= 2** 2)", 0.0),
    ("d >= -d != b", 1.0),
    ("not c * 0.5 >= 1.5", 1.0),
    ("not - -a != 2 * 1.5 == 2 / 3 and not 2 * c <= 0.5", 1.0),
    ("- -b != 2**(1+1)", 1.0),
    ("2 * 0.5 >= 3 - b > 2 and ((10**2**-1 > a))", 0.0),
    ("10 // c != 0.5 % b != a", 1.0),
];

#[test]
fn formulas_mean_what_they_mean_in_python() {
    let cells = [Some(3.5), Some(-2.25), Some(0.75), Some(7.0)];
    for (formula, expected) in PYTHON {
        for formula in [formula.to_owned(), formula.replace("**", "^")] {
            let got = cell(&formula, "a b c d", &cells).unwrap().unwrap();
            assert!((got - expected).abs() <= 1e-13 * expected.abs(), "{formula}: {got}, not {expected}");
            // With the numbers written in, the same is computed at once when the formula is checked.
            let numbers = ['a', 'b', 'c', 'd'].into_iter().zip([3.5, -2.25, 0.75, 7.0]);
            let written = numbers.fold(formula, |text, (name, value)| with_number(&text, name, value));
            assert_eq!(constant(&written), Some(got), "{written}");
        }
    }
}

#[test]
fn power_binds_tighter_than_the_sign_before_it_and_looser_than_the_sign_after_it() {
    for (formula, expected) in [
        ("-2**2", -4.0),
        ("(-2)**2", 4.0),
        ("2**-1", 0.5),
        ("2^3^2", 512.0),
        ("-2^-2", -0.25),
        ("2**-1**2", 0.5),
        ("-7 // 2", -4.0),
        ("-7 % 3", 2.0),
        ("7 % -3", -2.0),
        ("8 / 2 / 2", 2.0),
        ("1 - 2 - 3", -4.0),
        ("not 1 == 2", 1.0),
        ("not true or true", 1.0),
        ("true or true and false", 1.0),
        ("3 > 2 > 1", 1.0),
        ("3 > 2 > 2", 0.0),
        ("1 < 3 != 4 < 5 <= 5", 1.0),
    ] {
        assert_eq!(constant(formula), Some(expected), "{formula}");
    }
}

#[test]
fn numbers_are_read_in_every_form_of_python() {
    for (formula, expected) in [
        ("1", 1.0),
        ("1.5", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e-4", 1e-4),
        ("1.5E+3", 1500.0),
        ("0x1F", 31.0),
        ("0b101", 5.0),
        ("0o17", 15.0),
        ("10_000", 10000.0),
        ("9007199254740992", 9007199254740992.0),
        ("inf", f64::INFINITY),
        ("True", 1.0),
    ] {
        assert_eq!(constant(formula), Some(expected), "{formula}");
    }
    assert_eq!(constant("missing"), None);
    assert_eq!(constant("nan"), None);
}

#[test]
fn numbers_that_cannot_be_held_are_refused() {
    for (formula, column) in [
        ("1 + 9007199254740993", 5),
        ("1e999", 1),
        ("8A + 1", 1),
        ("1.5.2", 1),
        ("0x", 1),
        ("1__0", 1),
        ("999999999999999999999999999999999999999999999999", 1),
    ] {
        assert_eq!(parse(formula).unwrap_err().column(), column, "{formula}");
    }
}

#[test]
fn a_formula_has_a_name_an_expression_and_nothing_else() {
    let formula = parse("  ndvi = (nir - red) / (nir + red) ").unwrap();
    assert_eq!(formula.name(), Some("ndvi"));
    assert_eq!(formula.long_name(), "(nir - red) / (nir + red)");
    assert_eq!(parse("\"my index\" = a").unwrap().name(), Some("my index"));
    assert_eq!(parse("a == b").unwrap().name(), None);
    assert_eq!(parse("a").unwrap().with_name("b").unwrap().name(), Some("b"));
    assert!(parse("a").unwrap().with_name("b/c").is_err());
    assert!(parse_condition("a = b").is_err());
    assert_eq!(
        parse_condition("a = b").unwrap_err().hint().unwrap(),
        "`==` compares; a name is given once, at the start: `name = expression`"
    );
    for name in ["\"\"", "\"..\"", "\"a/b\"", "__x", "and", "missing", "1"] {
        assert_eq!(parse(&format!("{name} = 1")).unwrap_err().column(), 1, "{name}");
    }
}

#[test]
fn errors_point_at_their_column() {
    for (formula, column, message) in [
        ("", 1, "expected a number, a name or `(`, found the end"),
        ("a +", 4, "expected a number, a name or `(`, found the end"),
        ("(a + b", 7, "expected `)` or an operator, found the end"),
        ("a + b)", 6, "expected an operator or the end, found `)`"),
        ("a b", 3, "expected an operator or the end, found `b`"),
        ("2(a)", 2, "expected an operator or the end, found `(`"),
        ("a * / b", 5, "expected a number, a name or `(`, found `/`"),
        ("ü + é * ", 9, "expected a number, a name or `(`, found the end"),
        ("a & b", 3, "`&` is not part of a formula"),
        ("a || b", 3, "`||` is not part of a formula"),
        ("a @ b", 3, "`@` is not part of a formula"),
        ("a = 1 = 2", 7, "expected an operator or the end, found `=`"),
        ("a if b", 3, "expected an operator or the end, found `if`"),
        ("a == not b", 6, "expected a number, a name or `(`, found `not`"),
        ("\"B 8A", 1, "the name in quotes has no closing `\"`"),
        ("min(a, b", 9, "expected `,` or `)`, found the end"),
        ("a[3]", 3, "expected `dimension=label`, found `3`"),
        ("a[band=]", 8, "expected a label: a number, a name or quoted text, found `]`"),
        ("a[band 4]", 8, "expected `=` and a label, found `4`"),
        ("flag(q, 3)", 9, "expected the name of a flag, as `\"cloud\"`, found `3`"),
    ] {
        let error = parse(formula).unwrap_err();
        let shown = error.to_string();
        assert_eq!(error.column(), column, "{shown}");
        let first = format!("{message} (column {column})");
        assert_eq!(shown.lines().next(), Some(first.as_str()));
        let carets = shown.lines().last().unwrap();
        assert_eq!(carets.chars().position(|c| c == '^'), Some(column + 1), "{shown}");
    }
}

#[test]
fn signs_of_other_languages_come_with_a_hint() {
    for (formula, hint) in [
        ("a & b", "`and`"),
        ("a | b", "`or`"),
        ("a && b", "`and`"),
        ("!a", "`not`"),
        ("~a", "`not`"),
        ("a <> b", "`!=`"),
        ("a << 2", "`bit(x, n)`"),
        ("a ? b : c", "`where(condition, a, b)`"),
        ("a if b else c", "`where(condition, a, b)`"),
        ("a in (1, 2)", "`isin(x, a, b)`"),
        ("a is None", "`ismissing(x)`"),
        ("2 (a)", "`*`"),
        ("a == not b", "parentheses"),
    ] {
        let hint_given = error(formula, &scope_of("a b c")).hint().unwrap_or_default();
        assert!(hint_given.contains(hint), "{formula}: {hint_given}");
    }
}

#[test]
fn the_place_is_shown_within_a_long_formula() {
    let formula = format!("{} $ {}", "a + ".repeat(100), "b + ".repeat(100));
    let shown = parse(&formula).unwrap_err().to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "`$` is not part of a formula (column 402)");
    assert!(lines[1].chars().count() < 100, "{shown}");
    let caret = lines[2].chars().position(|c| c == '^').unwrap();
    assert_eq!(lines[1].chars().nth(caret), Some('$'), "{shown}");
}

#[test]
fn hostile_formulas_are_refused_and_not_run_out_of_stack() {
    let deep = MAX_DEPTH + 1;
    for open in ["(", "-", "not ", "abs(", "2**", "a[b=", "where(1,2,", "2**-", "not(", "min(1,-"] {
        for times in [deep, 4000 / open.len(), 10_000] {
            assert!(parse(&open.repeat(times)).is_err(), "{open}");
            assert!(parse(&format!("{}1{}", open.repeat(times), ")".repeat(times))).is_err(), "{open}");
        }
    }
    assert!(parse(&"(".repeat(10_000)).unwrap_err().to_string().contains("nested more than 200"));
    let long = parse(&"1+".repeat(MAX_LENGTH)).unwrap_err().to_string();
    assert_eq!(long, "the formula is too long: 32768 bytes; at most 16384 are read (column 1)");
}

#[test]
fn long_flat_formulas_are_not_deep() {
    let terms = MAX_LENGTH / 2 - 1;
    let sum = vec!["1"; terms].join("+");
    assert_eq!(constant(&sum), Some(terms as f64));
    let cells = [Some(2.0)];
    assert_eq!(cell(&vec!["a"; terms].join("+"), "a", &cells), Ok(Some(2.0 * terms as f64)));
    let nested = format!("{}a{}", "(".repeat(MAX_DEPTH - 1), ")".repeat(MAX_DEPTH - 1));
    assert_eq!(cell(&nested, "a", &cells), Ok(Some(2.0)));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~äµ°\n]{0,60}") {
        if let Err(error) = parse(&text) {
            let _ = error.to_string();
        }
    }

    #[test]
    fn any_words_are_read_or_refused(words in proptest::collection::vec(
        proptest::sample::select(vec![
            "a", "b", "1", "0x1", "(", ")", "[", "]", ",", "=", "==", "<", "-", "+", "**", "not", "and", "or",
            "where(", "flag(", "bit(", "round(", "\"c\"", "missing", "isin(", "min(", "ndvi = ",
        ]),
        0..24,
    )) {
        if let Err(error) = crate::expr::trial::compile(&[&words.join(" ")], &scope_of("a b")) {
            let _ = error.to_string();
        }
    }
}

#[test]
fn names_are_what_is_no_function_literal_or_output() {
    let found = |formulas: &[&str]| {
        let parsed: Vec<Formula> = formulas.iter().map(|text| parse(text).unwrap()).collect();
        let outputs: Vec<&str> = parsed.iter().filter_map(Formula::name).collect();
        let mut names: Vec<String> =
            parsed.iter().flat_map(Formula::names).filter(|n| !outputs.contains(n)).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(found(&["ndvi = (nir - red) / (nir + red)"]), ["nir", "red"]);
    assert_eq!(found(&["a = exp(v) + 1e5 * 2", "b = a == v and not missing"]), ["v"]);
    assert!(parse("1e5 * 2x").is_err(), "no name begins with a digit");
    assert_eq!(found(&["reflectance[band=4] - \"B 8A\""]), ["B 8A", "band", "reflectance"]);
    // The name of a flag is no name of the cube.
    assert_eq!(found(&["\"my out\" = flag (qa, 'cloud')", "\"my out\" * größe"]), ["größe", "qa"]);
    assert_eq!(found(&["time == 3"]), ["time"]);
}
