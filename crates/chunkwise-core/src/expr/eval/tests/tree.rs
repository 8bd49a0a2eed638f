//! The evaluator against the plainest one: a walk over the tree, a cell at a time, with `Option` for missing.

use crate::expr::trial::{Cell, run};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Tree {
    Number(f64),
    Name(usize),
    Unary(&'static str, Box<Tree>),
    Binary(&'static str, Box<Tree>, Box<Tree>),
    Where(Box<Tree>, Box<Tree>, Box<Tree>),
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Tree {
    fn write(&self) -> String {
        match self {
            Tree::Number(n) => format!("{n}"),
            Tree::Name(i) => NAMES[*i].to_owned(),
            Tree::Unary(op @ ("-" | "not "), a) => format!("({op}{})", a.write()),
            Tree::Unary(function, a) => format!("{function}({})", a.write()),
            Tree::Binary(function @ ("min" | "max" | "isin" | "pow"), a, b) => {
                format!("{function}({}, {})", a.write(), b.write())
            }
            Tree::Binary(op, a, b) => format!("({} {op} {})", a.write(), b.write()),
            Tree::Where(c, a, b) => format!("where({}, {}, {})", c.write(), a.write(), b.write()),
        }
    }

    fn value(&self, cells: &[Cell; 3]) -> Cell {
        let there = |v: f64| if v.is_nan() { None } else { Some(v) };
        let truth = |yes: bool| Some(f64::from(yes));
        match self {
            Tree::Number(n) => Some(*n),
            Tree::Name(i) => cells[*i],
            Tree::Unary("ismissing", a) => truth(a.value(cells).is_none()),
            Tree::Unary(op, a) => {
                let a = a.value(cells)?;
                match *op {
                    "-" => Some(-a),
                    "not " => truth(a == 0.0),
                    "abs" => Some(a.abs()),
                    "sqrt" if a < 0.0 => None,
                    "sqrt" => Some(a.sqrt()),
                    "floor" => Some(a.floor()),
                    "ceil" => Some(a.ceil()),
                    "exp" => Some(libm::exp(a)),
                    "round" => Some(libm::rint(a)),
                    other => panic!("no operation {other}"),
                }
            }
            Tree::Binary("and", a, b) => match (a.value(cells), b.value(cells)) {
                (Some(0.0), _) | (_, Some(0.0)) => truth(false),
                (Some(_), Some(_)) => truth(true),
                _ => None,
            },
            Tree::Binary("or", a, b) => match (a.value(cells), b.value(cells)) {
                (Some(a), Some(b)) => truth(a != 0.0 || b != 0.0),
                (None, Some(v)) | (Some(v), None) if v != 0.0 => truth(true),
                _ => None,
            },
            Tree::Binary(op, a, b) => {
                let (a, b) = (a.value(cells)?, b.value(cells)?);
                match *op {
                    "+" => there(a + b),
                    "-" => there(a - b),
                    "*" => there(a * b),
                    "/" => there(a / b),
                    "pow" if b == 2.0 => Some(a * a),
                    "pow" => there(libm::pow(a, b)),
                    "<" => truth(a < b),
                    ">=" => truth(a >= b),
                    "==" | "isin" => truth(a == b),
                    "!=" => truth(a != b),
                    // `f64::min` leaves open which of -0 and 0 is the lesser; formulas take the second.
                    "min" => Some(if a < b { a } else { b }),
                    "max" => Some(if a > b { a } else { b }),
                    other => panic!("no operation {other}"),
                }
            }
            Tree::Where(c, a, b) => {
                if c.value(cells)? != 0.0 {
                    a.value(cells)
                } else {
                    b.value(cells)
                }
            }
        }
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let numbers = prop::sample::select(vec![0.0, 1.0, 2.5, 3.0, 7.0, 1000.0]);
    let leaf = prop_oneof![numbers.prop_map(Tree::Number), (0..3usize).prop_map(Tree::Name)];
    let unary = ["-", "not ", "abs", "sqrt", "floor", "ceil", "exp", "round", "ismissing"];
    let binary = ["+", "-", "*", "/", "<", ">=", "==", "!=", "and", "or", "min", "max", "isin"];
    leaf.prop_recursive(8, 64, 3, move |inner| {
        let two = (prop::sample::select(binary.to_vec()), inner.clone(), inner.clone());
        let power = (inner.clone(), prop::sample::select(vec![2.0, 3.0, -2.0, 0.0, 1.5]));
        prop_oneof![
            1 => (prop::sample::select(unary.to_vec()), inner.clone()).prop_map(|(op, a)| Tree::Unary(op, a.into())),
            3 => two.prop_map(|(op, a, b)| Tree::Binary(op, a.into(), b.into())),
            1 => power.prop_map(|(a, b)| Tree::Binary("pow", a.into(), Tree::Number(b).into())),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(c, a, b)| Tree::Where(c.into(), a.into(), b.into())),
        ]
    })
}

fn cells() -> impl Strategy<Value = [Cell; 3]> {
    let cell = prop_oneof![
        1 => Just(None),
        2 => prop::sample::select(vec![Some(0.0), Some(1.0), Some(-1.0), Some(f64::INFINITY), Some(-0.0)]),
        3 => (-1e4..1e4f64).prop_map(Some),
    ];
    [cell.clone(), cell.clone(), cell]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn blocks_give_what_a_walk_over_the_tree_gives(tree in tree(), rows in prop::collection::vec(cells(), 1..40)) {
        let formula = tree.write();
        let columns: Vec<Vec<Cell>> = (0..3).map(|i| rows.iter().map(|row| row[i]).collect()).collect();
        let columns: Vec<&[Cell]> = columns.iter().map(Vec::as_slice).collect();
        let got = run(&[&formula], "a b c", &columns).unwrap();
        for (row, got) in rows.iter().zip(got) {
            prop_assert_eq!(got, tree.value(row), "{} of {:?}", &formula, row);
        }
    }
}
