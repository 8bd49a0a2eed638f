//! The functions that formulas know.

use super::program::{Binary, Unary};

/// A function of formulas, for help texts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How it is called.
    pub usage: &'static str,
    /// What it gives.
    pub about: &'static str,
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) kind: Kind,
}

/// How a call becomes operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Where,
    Unary(Unary),
    Binary(Binary),
    /// Applied to the first two arguments, then to the result and the next.
    Chain(Binary),
    Clip,
    IsIn,
    Round,
    Bit,
    Flag,
}

const MANY: usize = usize::MAX;

/// All functions, in the order of the documentation. Each is missing where an argument is missing, but for
/// `where` (see there) and `ismissing`.
pub const FUNCTIONS: [Function; 21] = [
    of(
        "where",
        "where(condition, a, b)",
        "`a` where the condition holds, else `b`; missing where the condition is",
        3,
        3,
        Kind::Where,
    ),
    of("abs", "abs(x)", "absolute value", 1, 1, Kind::Unary(Unary::Abs)),
    of("sqrt", "sqrt(x)", "square root; missing below 0", 1, 1, Kind::Unary(Unary::Sqrt)),
    of("exp", "exp(x)", "e to the power x", 1, 1, Kind::Unary(Unary::Exp)),
    of("log", "log(x)", "natural logarithm; missing below 0, −inf at 0", 1, 1, Kind::Unary(Unary::Log)),
    of("log10", "log10(x)", "decimal logarithm; missing below 0, −inf at 0", 1, 1, Kind::Unary(Unary::Log10)),
    of("sin", "sin(x)", "sine of x in radians", 1, 1, Kind::Unary(Unary::Sin)),
    of("cos", "cos(x)", "cosine of x in radians", 1, 1, Kind::Unary(Unary::Cos)),
    of("tan", "tan(x)", "tangent of x in radians", 1, 1, Kind::Unary(Unary::Tan)),
    of(
        "min",
        "min(a, b, …)",
        "the least, cell by cell; missing where one is missing",
        2,
        MANY,
        Kind::Chain(Binary::Min),
    ),
    of(
        "max",
        "max(a, b, …)",
        "the greatest, cell by cell; missing where one is missing",
        2,
        MANY,
        Kind::Chain(Binary::Max),
    ),
    of("clip", "clip(x, low, high)", "`min(max(x, low), high)`", 3, 3, Kind::Clip),
    of("isnan", "isnan(x)", "the same as `ismissing`: NaN is missing", 1, 1, Kind::Unary(Unary::IsMissing)),
    of("ismissing", "ismissing(x)", "1 where x is missing, else 0", 1, 1, Kind::Unary(Unary::IsMissing)),
    of("isin", "isin(x, a, b, …)", "1 where x equals one of the others, else 0", 2, MANY, Kind::IsIn),
    of(
        "round",
        "round(x[, digits])",
        "nearest integer, or nearest with so many decimal digits; halves to even",
        1,
        2,
        Kind::Round,
    ),
    of("floor", "floor(x)", "greatest integer not above x", 1, 1, Kind::Unary(Unary::Floor)),
    of("ceil", "ceil(x)", "least integer not below x", 1, 1, Kind::Unary(Unary::Ceil)),
    of("bit", "bit(x, n)", "bit n of an integer, counted from 0 (negative: two's complement)", 2, 2, Kind::Bit),
    of("flag", "flag(variable, \"name\")", "whether the CF flag of that name is set", 2, 2, Kind::Flag),
    of("pow", "pow(x, y)", "the same as `x ** y`", 2, 2, Kind::Binary(Binary::Power)),
];

const fn of(
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    least: usize,
    most: usize,
    kind: Kind,
) -> Function {
    Function { name, usage, about, least, most, kind }
}

pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}
