use crate::cube::Labels;
use crate::expr::trial::{compile, constant, error, satellite, scope_of, variable};
use crate::expr::{Checked, Input, Scope};

/// The inputs of a formula, as `variable[dim=index]`.
fn inputs(formula: &str) -> String {
    shown(&compile(&[formula], &satellite()).unwrap())
}

fn shown(checked: &Checked) -> String {
    let one = |input: &Input| {
        let picks: Vec<String> = input.picks.iter().map(|(dim, i)| format!("{dim}={i}")).collect();
        if picks.is_empty() { input.variable.clone() } else { format!("{}[{}]", input.variable, picks.join(",")) }
    };
    checked.inputs.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[test]
fn names_are_variables_or_band_labels() {
    for (formula, expected) in [
        ("t2m", "t2m"),
        ("(nir - red) / (nir + red)", "reflectance[band=3] reflectance[band=0]"),
        ("NIR + swir", "reflectance[band=3] reflectance[band=5]"),
        ("\"B 8A\" * 'B 8A'", "reflectance[band=4]"),
        ("\"2m wind\" + T2M", "2m wind t2m"),
        ("reflectance[band=nir] - nir", "reflectance[band=3]"),
        ("reflectance[\"band\"=\"B 8A\"]", "reflectance[band=4]"),
        ("reflectance[band=nir, time=11]", "reflectance[time=11,band=3]"),
        ("reflectance[time=11, band=nir] - nir[time=11]", "reflectance[time=11,band=3]"),
        ("level_t[level=850] + level_t[level=-1]", "level_t[level=1] level_t[level=3]"),
        ("level_t[level=8.5e2] + level_t[level=+850]", "level_t[level=1]"),
        ("profile[lat=45.25] - profile[lat=-45]", "profile[lat=1] profile[lat=2]"),
        ("where(false, nir, red)", "reflectance[band=3] reflectance[band=0]"),
        ("1 + 2", ""),
    ] {
        assert_eq!(inputs(formula), expected, "{formula}");
    }
}

#[test]
fn a_variable_comes_before_a_band_label_of_the_same_name() {
    let mut scope = satellite();
    scope.variables.push(variable("red", "y x"));
    assert_eq!(shown(&compile(&["red"], &scope).unwrap()), "red");
    let both = error("RED", &scope).to_string();
    assert!(
        both.starts_with("`RED` is ambiguous: it could be `red`, `reflectance[band=\"red\"]` (column 1)"),
        "{both}"
    );
}

#[test]
fn a_label_of_two_variables_is_ambiguous() {
    let mut scope = satellite();
    scope.variables.push(variable("clear sky", "band y x"));
    let shown = error("1 + nir", &scope).to_string();
    let expected =
        "`nir` is ambiguous: it could be `reflectance[band=\"nir\"]`, `\"clear sky\"[band=\"nir\"]` (column 5)";
    assert_eq!(shown.lines().next(), Some(expected));
    assert!(compile(&["reflectance[band=nir] + \"clear sky\"[band=\"nir\"]"], &scope).is_ok());
}

#[test]
fn a_label_of_two_cells_is_ambiguous() {
    let shown = error("twin", &satellite()).to_string();
    assert!(shown.starts_with("`twin` is ambiguous"), "{shown}");
    let shown = error("reflectance[band=twin]", &satellite()).to_string();
    assert!(shown.starts_with("2 cells of `band` have the label `twin` (column 18)"), "{shown}");
}

#[test]
fn number_labels_match_text_labels_as_they_are_written() {
    let labels = Labels::Text(["1", "2", "04"].map(str::to_owned).to_vec());
    let scope =
        Scope { variables: vec![variable("v", "band x")], labels: [("band".to_owned(), labels)].into_iter().collect() };
    assert_eq!(shown(&compile(&["v[band=2] + v[band=04] + \"1\""], &scope).unwrap()), "v[band=1] v[band=2] v[band=0]");
    assert_eq!(error("v[band=4]", &scope).column(), 8);
}

#[test]
fn what_does_not_exist_is_named_with_what_does() {
    for (formula, column, message, hint) in [
        (
            "nri - red",
            1,
            "no variable, band or earlier formula is called `nri`; there are `reflectance`, `t2m`, `level_t`, `profile`, \
             `2m wind`, `red`, `green`, `blue`, `nir`, `B 8A`, `SWIR`, `twin`, `twin`",
            Some("did you mean `nir`?"),
        ),
        ("1 + sqr(nir)", 5, "there is no function `sqr`; there are `where`", Some("did you mean `sqrt`?")),
        ("nir(2)", 1, "there is no function `nir`", Some("`nir` is a variable or band: write `*` to multiply")),
        (
            "mean(nir)",
            1,
            "there is no function `mean`",
            Some("`mean` over a dimension is a statistic, formulas are cell by cell"),
        ),
        ("None", 1, "no variable, band or earlier formula is called `None`", Some("write `missing`")),
        (
            "lat * 2",
            1,
            "no variable, band or earlier formula is called `lat`",
            Some("`lat` is a dimension: `variable[lat=label]`"),
        ),
        ("t2m[band=nir]", 5, "`t2m` has no dimension `band`; it has `time`, `y`, `x`", None),
        ("nir[band=red]", 5, "`band` is picked twice", None),
        ("t2m[time=3,time=3]", 12, "`time` is picked twice", None),
        ("t2m[time=12]", 10, "`time` has no label `12`; it has `0 … 11`", None),
        ("t2m[time=-1]", 10, "`time` has no label `-1`; it has `0 … 11`", None),
        ("t2m[time=1.5]", 10, "`time` has no label `1.5`; it has `0 … 11`", None),
        ("t2m[y=0]", 7, "`y` has no label `0`; it has none", None),
        ("reflectance[band=nri]", 18, "`band` has no label `nri`; it has `red`, `green`", Some("did you mean `nir`?")),
        ("reflectance[band=NIR]", 18, "`band` has no label `NIR`", Some("did you mean `nir`?")),
        (
            "level_t[level=851]",
            15,
            "`level` has no label `851`; it has `1000`, `850`, `500`, `-1`",
            Some("labels are compared exactly; the nearest is `850`"),
        ),
        (
            "level_t[level=\"850\"]",
            15,
            "`level` has no label `850`",
            Some("its labels are numbers: write them without quotes"),
        ),
        (
            "profile[lat=0.1]",
            13,
            "`lat` has no label `0.1`",
            Some("labels are compared exactly; the nearest is `0.10000000149011612`"),
        ),
    ] {
        let error = error(formula, &satellite());
        let shown = error.to_string();
        assert!(shown.starts_with(message), "{shown}");
        assert_eq!((error.column(), error.hint().as_deref()), (column, hint), "{shown}");
    }
}

#[test]
fn the_place_of_an_error_is_underlined() {
    let shown = error("ndvi = (nir - reed) / (nir + red)", &scope_of("nir red")).to_string();
    assert_eq!(
        shown,
        "no variable, band or earlier formula is called `reed`; there are `nir`, `red` (column 15)\n  \
         ndvi = (nir - reed) / (nir + red)\n                \
         ^^^^"
    );
}

#[test]
fn hostile_names_neither_fill_the_screen_nor_command_the_terminal() {
    let mut scope = scope_of("a");
    scope.variables.push(variable("b\u{1b}[2Jc", "x"));
    scope.variables.push(variable(&"long".repeat(10_000), "x"));
    scope.variables.extend((0..1000).map(|i| variable(&format!("v{i}"), "x")));
    let shown = error("missing_name", &scope).to_string();
    assert!(shown.len() < 500 && !shown.contains('\u{1b}'), "{shown}");
    assert!(shown.contains(" and 987 more"), "{shown}");
}

#[test]
fn arguments_are_counted_and_constants_asked_for() {
    let scope = scope_of("a b");
    for (formula, message) in [
        ("abs()", "`abs(x)` was given 0 arguments (column 1)"),
        ("abs(a, b)", "`abs(x)` was given 2 arguments (column 1)"),
        ("1 + min(a)", "`min(a, b, …)` was given 1 argument (column 5)"),
        ("where(a, b)", "`where(condition, a, b)` was given 2 arguments (column 1)"),
        ("isin(a)", "`isin(x, a, b, …)` was given 1 argument (column 1)"),
        ("bit(a, b)", "`bit(x, n)` needs a constant integer from 0 to 63 there (column 8)"),
        ("bit(a, 64)", "`bit(x, n)` needs a constant integer from 0 to 63 there (column 8)"),
        ("bit(a, -1)", "`bit(x, n)` needs a constant integer from 0 to 63 there (column 8)"),
        ("bit(a, 1.5)", "`bit(x, n)` needs a constant integer from 0 to 63 there (column 8)"),
        ("bit(a, missing)", "`bit(x, n)` needs a constant integer from 0 to 63 there (column 8)"),
        ("round(a, b)", "`round(x[, digits])` needs a constant integer from -22 to 22 there (column 10)"),
    ] {
        let shown = error(formula, &scope).to_string();
        assert_eq!(shown.lines().next(), Some(message), "{formula}");
    }
    assert!(error("max(a)", &scope).hint().unwrap().contains("statistics"));
    assert!(compile(&["bit(a, 2 + 1) + round(a, -1)"], &scope).is_ok());
}

#[test]
fn dimensions_are_those_of_the_operands_in_order_of_appearance() {
    for (formula, expected) in [
        ("t2m - 273.15", "time y x"),
        ("nir / red", "time y x"),
        ("reflectance * t2m", "time band y x"),
        ("\"2m wind\" + t2m", "x time y"),
        ("where(t2m > 0, level_t, 0)", "time y x level"),
        ("profile[lat=45.5]", "x"),
        ("reflectance[time=0, band=nir] + isin(\"2m wind\", 3)", "y x"),
        ("42", ""),
    ] {
        let checked = compile(&[formula], &satellite()).unwrap();
        assert_eq!(checked.outputs[0].dims.join(" "), expected, "{formula}");
    }
    let later = compile(&["p = level_t", "q = \"2m wind\" * p"], &satellite()).unwrap();
    assert_eq!(later.outputs[1].dims.join(" "), "x level y");
}

#[test]
fn outputs_have_the_name_and_the_text_of_their_formula() {
    let checked = compile(&["ndvi =  (nir - red)/(nir + red) ", "nir * 2"], &satellite()).unwrap();
    let names: Vec<(&str, &str)> = checked.outputs.iter().map(|o| (o.name.as_str(), o.long_name())).collect();
    assert_eq!(names, [("ndvi", "(nir - red)/(nir + red)"), ("nir * 2", "nir * 2")]);
    for formulas in [["a = 1", "a = 2"], ["1", "1"]] {
        let error = compile(&formulas, &Scope::default()).unwrap_err();
        assert!(error.to_string().starts_with("two formulas are called"), "{error}");
    }
}

#[test]
fn earlier_formulas_come_before_variables_and_cannot_be_picked_from() {
    let checked = compile(&["red = nir", "x = red * 2"], &satellite()).unwrap();
    assert_eq!(shown(&checked), "reflectance[band=3]");
    let picked = compile(&["red = nir", "x = red[time=3]"], &satellite()).unwrap_err();
    assert!(
        picked.to_string().starts_with("`red` is a formula; cells are picked from variables (column 5)"),
        "{picked}"
    );
    let either = compile(&["red = nir", "x = RED"], &satellite()).unwrap_err();
    assert!(
        either.to_string().starts_with("`RED` is ambiguous: it could be `red`, `reflectance[band=\"red\"]`"),
        "{either}"
    );
}

#[test]
fn equal_parts_are_computed_once() {
    let scope = scope_of("a b");
    let operations = |formulas: &[&str]| compile(formulas, &scope).unwrap().program().operations();
    assert_eq!(operations(&["(a - b) / (a + b)"]), 3);
    assert_eq!(operations(&["(a + b) * (b + a)"]), 2);
    assert_eq!(operations(&["p = (a - b) / (a + b)", "q = (a - b) / (a + b + 0.5) * 1.5"]), 6);
    assert_eq!(operations(&["a * (2 * 3 + 1) ** 2"]), 1);
    assert_eq!(operations(&["a ** 2"]), 1);
    assert_eq!(operations(&["0 < a < 1"]), 3);
    assert_eq!(operations(&["1 + 2"]), 0);
}

#[test]
fn formulas_can_be_taken_apart_with_what_they_need() {
    let formulas = ["p = t2m * 2", "q = nir - red", "r = q / nir"];
    let checked = compile(&formulas, &satellite()).unwrap();
    assert_eq!(shown(&checked), "t2m reflectance[band=3] reflectance[band=0]");
    let apart = checked.only(&[0]);
    assert_eq!(
        (shown(&apart), apart.outputs[0].name.as_str(), apart.program().operations()),
        ("t2m".to_owned(), "p", 1)
    );
    let apart = checked.only(&[2, 9]);
    assert_eq!((shown(&apart), apart.outputs.len()), ("reflectance[band=3] reflectance[band=0]".to_owned(), 1));
    assert_eq!(checked.only(&[0, 1, 2]), checked);
}

#[test]
fn checked_formulas_survive_json_and_postcard() {
    let formulas = ["p = where(nir > 0, bit(red, 3), missing) * 0.1", "round(p, 2) + inf"];
    let checked = compile(&formulas, &satellite()).unwrap();
    let json = serde_json::to_string(&checked).unwrap();
    assert_eq!(serde_json::from_str::<Checked>(&json).unwrap(), checked);
    let bytes = postcard::to_stdvec(&checked).unwrap();
    assert_eq!(postcard::from_bytes::<Checked>(&bytes).unwrap(), checked);
}

#[test]
fn programs_that_could_not_be_evaluated_are_refused() {
    let program = |values: &str, outputs: &str, inputs: u32| {
        let json = format!(
            r#"{{"inputs":[],"outputs":[],"program":{{"values":[{values}],"outputs":{outputs},"inputs":{inputs}}}}}"#
        );
        serde_json::from_str::<Checked>(&json).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(program(r#"{"Input":0},{"Unary":["Abs",0]}"#, "[1]", 1), Ok(()));
    for (values, outputs, inputs) in [
        (r#"{"Input":1}"#, "[0]", 1),
        (r#"{"Unary":["Abs",0]}"#, "[0]", 0),
        (r#"{"Binary":["Add",1,2]},{"Constant":0}"#, "[0]", 0),
        (r#"{"Constant":0},{"Unary":[{"Bit":64},0]}"#, "[0]", 0),
        (r#"{"Constant":0},{"Unary":[{"RoundTo":-128},0]}"#, "[0]", 0),
        (r#"{"Constant":0},{"Unary":[{"Flag":{"mask":1,"equals":null,"width":3}},0]}"#, "[0]", 0),
        (r#"{"Constant":0}"#, "[1]", 0),
        (r#"{"Constant":0}"#, "[0]", 4000000000),
    ] {
        let error = program(values, outputs, inputs).unwrap_err();
        assert!(error.contains("a program of formulas"), "{values}: {error}");
    }
}

#[test]
fn constants_are_computed_when_the_formula_is_checked() {
    assert_eq!(constant("min(3, 1, 2) + max(1, 5) + clip(9, 0, 4)"), Some(10.0));
    assert_eq!(constant("where(2 > 1, 5, 6) + isin(3, 1, 2, 3)"), Some(6.0));
    assert_eq!(constant("bit(5, 2)"), Some(1.0));
}
