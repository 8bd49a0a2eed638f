//! What can be wrong with a formula, and where.

use super::{MAX_DEPTH, MAX_LENGTH};
use std::fmt::{self, Write as _};
use std::ops::Range;
use thiserror::Error;

/// What is wrong with a formula; [`ExprError`] adds where.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Problem {
    /// Longer than [`MAX_LENGTH`].
    #[error("the formula is too long: {length} bytes; at most {MAX_LENGTH} are read")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the formula is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// Something else should stand here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What would work.
        expected: String,
        /// What stands there.
        found: String,
        /// How what was probably meant is written.
        hint: Option<String>,
    },
    /// A sign that formulas do not have.
    #[error("`{symbol}` is not part of a formula")]
    Symbol {
        /// The sign.
        symbol: String,
        /// What to write in its place.
        hint: Option<String>,
    },
    /// A number that cannot be read or held.
    #[error("`{text}` {why}")]
    Number {
        /// The number as written.
        text: String,
        /// Why it does not work.
        why: &'static str,
        /// What would work.
        hint: Option<String>,
    },
    /// A quoted name that does not end.
    #[error("the name in quotes has no closing `{quote}`")]
    Unclosed {
        /// The quote it began with.
        quote: char,
    },
    /// A name that no output may have.
    #[error("an output cannot be called `{name}`: {why}")]
    OutputName {
        /// The name.
        name: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// Two formulas of one list have the same name.
    #[error("two formulas are called `{name}`")]
    SameName {
        /// The name.
        name: String,
    },
    /// No such variable, band label or earlier formula.
    #[error("no variable, band or earlier formula is called `{name}`; there are {has}")]
    UnknownName {
        /// The name.
        name: String,
        /// The nearest that exists, or what the name means elsewhere.
        hint: Option<String>,
        /// What exists.
        has: Listing,
    },
    /// A name that could mean several things.
    #[error("`{name}` is ambiguous: it could be {means}")]
    Ambiguous {
        /// The name.
        name: String,
        /// Each meaning, written so that it is not ambiguous.
        means: Listing,
    },
    /// No such function.
    #[error("there is no function `{name}`; there are {has}")]
    UnknownFunction {
        /// The name.
        name: String,
        /// What was probably meant.
        hint: Option<String>,
        /// All functions.
        has: Listing,
    },
    /// A function with the wrong number of arguments.
    #[error("`{usage}` was given {given} {}", if *.given == 1 { "argument" } else { "arguments" })]
    Arguments {
        /// How it is called.
        usage: &'static str,
        /// Number of arguments given.
        given: usize,
    },
    /// An argument that must be a constant integer.
    #[error("`{usage}` needs a constant integer from {low} to {high} there")]
    Constant {
        /// How the function is called.
        usage: &'static str,
        /// Smallest that works.
        low: i32,
        /// Largest that works.
        high: i32,
    },
    /// `flag` of something that is not a variable.
    #[error("`flag(variable, \"name\")` needs a variable of the cube: names of flags are in its attributes")]
    FlagOf,
    /// A variable without (readable) CF flags.
    #[error("`{variable}` {why}")]
    Flags {
        /// The variable.
        variable: String,
        /// What is missing or wrong in its attributes.
        why: String,
    },
    /// No such flag.
    #[error("`{variable}` has no flag `{asked}`; it has {has}")]
    UnknownFlag {
        /// The variable.
        variable: String,
        /// The flag asked for.
        asked: String,
        /// What was probably meant.
        hint: Option<String>,
        /// The flags that it has.
        has: Listing,
    },
    /// Cells picked from an earlier formula.
    #[error("`{name}` is a formula; cells are picked from variables")]
    PickOfFormula {
        /// The formula.
        name: String,
    },
    /// A dimension that the variable does not have.
    #[error("`{variable}` has no dimension `{asked}`; it has {has}")]
    NoDim {
        /// The variable.
        variable: String,
        /// The dimension asked for.
        asked: String,
        /// Its dimensions.
        has: Listing,
    },
    /// A dimension picked along twice.
    #[error("`{dim}` is picked twice")]
    PickedTwice {
        /// The dimension.
        dim: String,
    },
    /// A label that the dimension does not have.
    #[error("`{dim}` has no label `{asked}`; it has {has}")]
    NoLabel {
        /// The dimension.
        dim: String,
        /// The label asked for.
        asked: String,
        /// What was probably meant.
        hint: Option<String>,
        /// Its labels.
        has: Listing,
    },
    /// A label that several cells have.
    #[error("{count} cells of `{dim}` have the label `{asked}`")]
    RepeatedLabel {
        /// The dimension.
        dim: String,
        /// The label.
        asked: String,
        /// How many cells have it.
        count: usize,
    },
    /// Times cannot be picked inside a formula.
    #[error("cells of the time axis `{dim}` cannot be picked in a formula")]
    TimeLabel {
        /// The dimension.
        dim: String,
    },
}

impl Problem {
    /// What to do about it, where something can be said.
    fn hint(&self) -> Option<String> {
        match self {
            Problem::Unexpected { hint, .. }
            | Problem::Symbol { hint, .. }
            | Problem::Number { hint, .. }
            | Problem::UnknownName { hint, .. }
            | Problem::UnknownFunction { hint, .. }
            | Problem::UnknownFlag { hint, .. }
            | Problem::NoLabel { hint, .. } => hint.clone(),
            Problem::Arguments { usage, .. } if usage.starts_with("min") || usage.starts_with("max") => {
                Some("`min` and `max` compare values cell by cell; over a dimension they are statistics".to_owned())
            }
            Problem::FlagOf => Some("`bit(x, n)` tests a bit of any integer".to_owned()),
            Problem::Flags { .. } => Some("`bit(x, n)` tests bit `n`, counted from 0".to_owned()),
            Problem::TimeLabel { .. } => Some("select the time before the formula".to_owned()),
            _ => None,
        }
    }
}

/// An error in a formula: what, where, and what would work.
///
/// Displayed as the problem and its column, then the formula with a line of carets below the place.
#[derive(Clone, PartialEq, Error)]
pub struct ExprError(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    problem: Problem,
    formula: String,
    span: Range<usize>,
}

impl ExprError {
    /// The column of the place, in characters from 1.
    pub fn column(&self) -> usize {
        let before = self.0.formula.get(..self.0.span.start);
        before.map_or(1, |text| text.chars().count() + 1)
    }

    /// The formula as written.
    pub fn formula(&self) -> &str {
        &self.0.formula
    }

    /// What is wrong.
    pub fn problem(&self) -> &Problem {
        &self.0.problem
    }

    /// What to do about it, where something can be said.
    pub fn hint(&self) -> Option<String> {
        self.0.problem.hint()
    }
}

/// Characters of the formula that are shown on each side of the place.
const SHOWN: usize = 40;

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { problem, formula, span } = &*self.0;
        write!(f, "{problem} (column {})", self.column())?;
        if let Problem::TooLong { .. } = problem {
            return Ok(());
        }
        // A window of the formula, on one line: control characters would move the carets.
        let column = self.column() - 1;
        let wide = formula.get(span.clone()).map_or(1, |text| text.chars().count()).max(1);
        let first = column.saturating_sub(SHOWN);
        let last = column + wide.min(SHOWN) + SHOWN;
        let mut line = String::new();
        let mut more = false;
        for (at, c) in formula.chars().enumerate().skip(first) {
            if at >= last {
                more = true;
                break;
            }
            line.push(if c.is_control() { ' ' } else { c });
        }
        let (left, right) = (if first > 0 { "… " } else { "" }, if more { " …" } else { "" });
        let pad = " ".repeat(left.chars().count() + column - first);
        let line = line.trim_end();
        write!(f, "\n  {left}{line}{right}\n  {pad}{}", "^".repeat(wide.min(SHOWN)))
    }
}

impl fmt::Debug for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExprError({self})")
    }
}

/// A problem at a place; becomes an [`ExprError`] once the formula is at hand.
#[derive(Debug)]
pub(super) struct Fault(Box<(Problem, Range<usize>)>);

impl Fault {
    pub(super) fn new(problem: Problem, span: &Range<usize>) -> Fault {
        Fault(Box::new((problem, span.clone())))
    }

    pub(super) fn within(self, formula: &str) -> ExprError {
        let (problem, span) = *self.0;
        ExprError(Box::new(Inner { problem, formula: formula.to_owned(), span }))
    }
}

/// The first few of many names, and how many there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    shown: Vec<String>,
    total: usize,
}

impl Listing {
    const SHOWN: usize = 16;

    pub(super) fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Listing {
        let mut shown = Vec::new();
        let mut total = 0;
        for name in names {
            if total < Listing::SHOWN {
                shown.push(name.into());
            }
            total += 1;
        }
        Listing { shown, total }
    }

    /// The first few.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }

    /// How many there are in all.
    pub fn total(&self) -> usize {
        self.total
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total == 0 {
            return f.write_str("none");
        }
        for (i, name) in self.shown.iter().enumerate() {
            write!(f, "{}`{}`", if i == 0 { "" } else { ", " }, Shortened(name))?;
        }
        match self.total - self.shown.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A name from a file, so that a hostile one neither fills the screen nor commands the terminal.
struct Shortened<'a>(&'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 80;
        for (at, c) in self.0.chars().enumerate() {
            match at {
                LONGEST => return f.write_char('…'),
                _ => f.write_char(if c.is_control() { '\u{fffd}' } else { c })?,
            }
        }
        Ok(())
    }
}

/// The name nearest to `asked` that exists, if one is near enough to be a slip of the keys.
pub(super) fn nearest<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Names compared and their greatest length: the search stays short on hostile metadata.
    const COMPARED: usize = 2000;
    const LONGEST: usize = 64;
    if asked.len() > LONGEST {
        return None;
    }
    let asked = asked.to_lowercase();
    let allowed = (asked.chars().count() / 3).max(1);
    names
        .into_iter()
        .take(COMPARED)
        .filter(|name| name.len() <= LONGEST)
        .map(|name| (strsim::damerau_levenshtein(&asked, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The hint that names the nearest name, if there is one.
pub(super) fn did_you_mean<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(asked, names).map(|name| format!("did you mean `{name}`?"))
}

/// Why an evaluation stopped.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EvalError {
    /// `bit` or `flag` met a value that is not an integer (of at most 64 bits).
    #[error("`{function}` needs integers, but {argument} holds {value}")]
    NotInteger {
        /// `bit` or `flag`.
        function: &'static str,
        /// What it was applied to.
        argument: String,
        /// The value.
        value: f64,
        /// Which cell of the columns held it.
        cell: usize,
    },
    /// The engine passed other columns than the formulas need.
    #[error("formulas of {inputs} inputs and {outputs} outputs need as many columns of at least {len} cells")]
    Columns {
        /// Columns in.
        inputs: usize,
        /// Columns out.
        outputs: usize,
        /// Cells.
        len: usize,
    },
}
