//! Formulas: element-wise expressions over variables and band labels, such as `ndvi = (nir - red) / (nir + red)`.
//!
//! A formula is read ([`parse`]), checked against the names that exist ([`check`]) and evaluated over columns
//! of `f64` ([`Evaluator`]). Nothing here knows chunks or storage: the engine decodes, broadcasts and feeds
//! each [`Input`] as one column.
//!
//! # Language
//! - `name = expression`, or an expression alone. Later formulas of one list may use the names of earlier ones.
//! - Operators, in Python's order from loose to tight: `or`, `and`, `not`, `< <= > >= == !=` (chains such as
//!   `0 < a < 1` as in Python), `+ -`, `* / // %`, unary `- +`, `**` (also written `^`, right-associative:
//!   `-x**2` is `-(x**2)`).
//! - Values: numbers (`1`, `1.5`, `1e-4`, `0x1F`, `0b101`, `0o17`, `1_000`), `true`, `false`, `inf`, `missing`
//!   (also `nan`).
//! - Names: variables and band labels; in quotes (`"B 8A"` or `'B 8A'`) when they are not plain words.
//!   `reflectance[band=4]`, `reflectance["band"="B 8A", level=2]` pick cells by their exact label.
//! - Functions: see [`FUNCTIONS`].
//!
//! # Missing values and arithmetic
//! All arithmetic is IEEE 754 `f64`, never contracted, so that machines agree bit for bit; `exp log log10 sin
//! cos tan` and powers come from the `libm` crate. Powers with the constant exponents 2, 1, 0.5 and −1 are
//! `x*x`, `x`, `sqrt(x)` and `1/x` (correctly rounded, as numpy does it); all others are `libm::pow`.
//!
//! NaN is missing everywhere, so a cell is missing after `0/0`, `inf - inf`, `log(-1)`, `sqrt(-1)` or `x % 0`;
//! `x/0` and `log(0)` are infinite and not missing. Any arithmetic, comparison or function of a missing value
//! is missing, also `missing ** 0`, `1 ** missing`, `min`, `max` and `clip` (as numpy's `minimum`); only
//! `ismissing`, `isnan` (the same), `missing or true` (true), `missing and false` (false) and the branch that
//! `where` does not take look past it. `where(missing, a, b)` is missing.
//!
//! Truth is a number: comparisons give 1, 0 or missing; every number but 0 counts as true.
//! `%` and `//` round down as in Python (`-7 // 2` is −4, `-7 % 2` is 1).
//!
//! `f64` holds integers exactly up to 2^53 in magnitude: 64-bit data beyond that must not be fed to a formula
//! (the engine refuses it), and integer literals that `f64` cannot hold are refused here.
//! `bit` and `flag` take integers, stored as integers or as integral floats; any other value is a run-time error.

mod check;
mod error;
mod eval;
mod flags;
mod functions;
mod kernel;
mod lex;
mod parse;
mod program;
mod scope;

pub use check::check;
pub use error::{EvalError, ExprError, Listing, Problem};
pub use eval::{BLOCK, BlockSource, Evaluator, InputColumn};
pub use functions::{FUNCTIONS, Function};
pub use parse::{Formula, parse, parse_condition};
pub use program::{Checked, Input, Output, Program};
pub use scope::{Scope, ScopeVariable};

/// Longest formula that is read, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Deepest nesting (of parentheses, signs and powers) that is read.
pub const MAX_DEPTH: usize = 200;

#[cfg(test)]
mod trial;
