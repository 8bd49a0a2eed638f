//! The operations on numbers: once as functions of cells, applied to constants and to blocks.
//!
//! Missing is NaN throughout, so there are no masks: IEEE arithmetic carries it, and only comparisons, logic,
//! `min`, `max` and powers look for it. All loops are `#[inline(always)]`, so that they are compiled again with
//! the instructions of whoever calls them (see `eval`).

use super::flags::{FlagTest, signed};
use super::program::{Binary, Unary};

/// Powers of ten up to this are exact in `f64`.
pub(super) const MAX_DIGITS: u8 = 22;

/// Something to do with a function of one number.
trait UnaryWork {
    type Output;
    fn run(self, f: impl Fn(f64) -> f64) -> Self::Output;
}

/// Something to do with a function of two numbers.
trait BinaryWork {
    type Output;
    fn run(self, f: impl Fn(f64, f64) -> f64) -> Self::Output;
}

/// One number.
struct One(f64);

impl UnaryWork for One {
    type Output = f64;
    #[inline(always)]
    fn run(self, f: impl Fn(f64) -> f64) -> f64 {
        f(self.0)
    }
}

/// Two numbers.
struct Two(f64, f64);

impl BinaryWork for Two {
    type Output = f64;
    #[inline(always)]
    fn run(self, f: impl Fn(f64, f64) -> f64) -> f64 {
        f(self.0, self.1)
    }
}

/// A block of numbers, and where the results go.
struct Block<'a>(&'a mut [f64], &'a [f64]);

impl UnaryWork for Block<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, f: impl Fn(f64) -> f64) {
        for (to, &a) in self.0.iter_mut().zip(self.1) {
            *to = f(a);
        }
    }
}

/// Two blocks of numbers, and where the results go.
struct Blocks<'a>(&'a mut [f64], &'a [f64], &'a [f64]);

impl BinaryWork for Blocks<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self, f: impl Fn(f64, f64) -> f64) {
        for ((to, &a), &b) in self.0.iter_mut().zip(self.1).zip(self.2) {
            *to = f(a, b);
        }
    }
}

/// The result for a constant; `None` for `bit` and `flag`, which can fail.
pub(super) fn unary_constant(operation: Unary, a: f64) -> Option<f64> {
    match operation {
        Unary::Bit(_) | Unary::Flag(_) => None,
        _ => Some(unary_with(operation, One(a))),
    }
}

/// The result for constants.
pub(super) fn binary_constant(operation: Binary, a: f64, b: f64) -> f64 {
    binary_with(operation, Two(a, b))
}

/// Applies an operation to a block.
///
/// # Errors
/// Position of a value that `bit` or `flag` cannot take.
#[inline(always)]
pub(super) fn unary(operation: Unary, to: &mut [f64], a: &[f64]) -> Result<(), usize> {
    match operation {
        Unary::Bit(n) => integers(to, a, |v| f64::from((v as u64 >> n) & 1 == 1)),
        Unary::Flag(test) => flag(to, a, test),
        _ => {
            unary_with(operation, Block(to, a));
            Ok(())
        }
    }
}

/// Applies an operation to two blocks.
#[inline(always)]
pub(super) fn binary(operation: Binary, to: &mut [f64], a: &[f64], b: &[f64]) {
    binary_with(operation, Blocks(to, a, b));
}

/// `a` where the condition holds, else `b`; missing where the condition is.
#[inline(always)]
pub(super) fn choose(to: &mut [f64], condition: &[f64], a: &[f64], b: &[f64]) {
    for (((to, &condition), &a), &b) in to.iter_mut().zip(condition).zip(a).zip(b) {
        let chosen = if condition != 0.0 { a } else { b };
        *to = if condition.is_nan() { f64::NAN } else { chosen };
    }
}

/// Writes results; missing cells hold one NaN, the same on every machine.
#[inline(always)]
pub(super) fn output(to: &mut [f64], from: &[f64]) {
    for (to, &value) in to.iter_mut().zip(from) {
        *to = if value.is_nan() { f64::NAN } else { value };
    }
}

#[inline(always)]
fn unary_with<W: UnaryWork>(operation: Unary, work: W) -> W::Output {
    match operation {
        Unary::Negate => work.run(|a| -a),
        Unary::Not => work.run(|a| truth(a == 0.0, a.is_nan())),
        Unary::Abs => work.run(f64::abs),
        Unary::Sqrt => work.run(f64::sqrt),
        Unary::Exp => work.run(libm::exp),
        Unary::Log => work.run(libm::log),
        Unary::Log10 => work.run(libm::log10),
        Unary::Sin => work.run(libm::sin),
        Unary::Cos => work.run(libm::cos),
        Unary::Tan => work.run(libm::tan),
        Unary::Floor => work.run(f64::floor),
        Unary::Ceil => work.run(f64::ceil),
        Unary::Round => work.run(f64::round_ties_even),
        Unary::RoundTo(digits) => {
            let scale = power_of_ten(digits.unsigned_abs());
            // As numpy: scaled, rounded, scaled back; numbers too large to be scaled have no such digits.
            if digits >= 0 {
                work.run(move |a| {
                    let scaled = a * scale;
                    if scaled.is_infinite() { a } else { scaled.round_ties_even() / scale }
                })
            } else {
                work.run(move |a| (a / scale).round_ties_even() * scale)
            }
        }
        // `bit` and `flag` are done by `unary` and never come here.
        Unary::IsMissing | Unary::Bit(_) | Unary::Flag(_) => work.run(|a| f64::from(a.is_nan())),
    }
}

#[inline(always)]
fn binary_with<W: BinaryWork>(operation: Binary, work: W) -> W::Output {
    match operation {
        Binary::Add => work.run(|a, b| a + b),
        Binary::Subtract => work.run(|a, b| a - b),
        Binary::Multiply => work.run(|a, b| a * b),
        Binary::Divide => work.run(|a, b| a / b),
        Binary::FloorDivide => work.run(floor_divide),
        Binary::Modulo => work.run(modulo),
        // IEEE has 1 for both NaN ** 0 and 1 ** NaN; what is missing stays missing here.
        Binary::Power => work.run(|a, b| if either_nan(a, b) { f64::NAN } else { libm::pow(a, b) }),
        Binary::Less => work.run(|a, b| truth(a < b, either_nan(a, b))),
        Binary::LessEqual => work.run(|a, b| truth(a <= b, either_nan(a, b))),
        Binary::Greater => work.run(|a, b| truth(a > b, either_nan(a, b))),
        Binary::GreaterEqual => work.run(|a, b| truth(a >= b, either_nan(a, b))),
        Binary::Equal => work.run(|a, b| truth(a == b, either_nan(a, b))),
        Binary::NotEqual => work.run(|a, b| truth(a != b, either_nan(a, b))),
        Binary::And => work.run(|a, b| {
            let no = (a == 0.0) | (b == 0.0);
            truth(!no, either_nan(a, b) & !no)
        }),
        Binary::Or => work.run(|a, b| {
            let yes = ((a != 0.0) & !a.is_nan()) | ((b != 0.0) & !b.is_nan());
            truth(yes, either_nan(a, b) & !yes)
        }),
        // Of zeros of either sign, the second: a rule that is the same on every machine.
        Binary::Min => work.run(|a, b| if (a < b) | a.is_nan() { a } else { b }),
        Binary::Max => work.run(|a, b| if (a > b) | a.is_nan() { a } else { b }),
    }
}

#[inline(always)]
fn either_nan(a: f64, b: f64) -> bool {
    a.is_nan() | b.is_nan()
}

/// A truth value as a number.
#[inline(always)]
fn truth(yes: bool, missing: bool) -> f64 {
    let known = if yes { 1.0 } else { 0.0 };
    if missing { f64::NAN } else { known }
}

/// `a % b` with the sign of `b`, as Python; NaN for `b == 0`.
#[inline(always)]
fn modulo(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest == 0.0 {
        0f64.copysign(b)
    } else if (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest
    }
}

/// `a // b` rounded down; `a / 0` is infinite, as numpy has it.
///
/// Source: `npy_floor_divide` of numpy: dividing what is left after the remainder, since `floor(a / b)` is off by
/// one where `a / b` rounds up to an integer.
#[inline(always)]
fn floor_divide(a: f64, b: f64) -> f64 {
    if b == 0.0 {
        return a / b;
    }
    let rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0f64.copysign(a / b);
    }
    let down = quotient.floor();
    if quotient - down > 0.5 { down + 1.0 } else { down }
}

/// Exact for up to [`MAX_DIGITS`].
fn power_of_ten(digits: u8) -> f64 {
    (0..digits).fold(1.0, |power, _| power * 10.0)
}

#[inline(always)]
fn flag(to: &mut [f64], a: &[f64], test: FlagTest) -> Result<(), usize> {
    let FlagTest { mask, equals, width } = test;
    match equals {
        Some(equals) => integers(to, a, |v| f64::from(signed(v, width) & mask == equals)),
        None => integers(to, a, |v| f64::from(signed(v, width) & mask != 0)),
    }
}

/// Applies a function of integers; NaN stays NaN.
///
/// Numbers from 2^63 to 2^64 are passed as the bits of the unsigned integer.
///
/// # Errors
/// Position of the first value that is not an integer of 64 bits.
#[inline(always)]
fn integers(to: &mut [f64], a: &[f64], f: impl Fn(i64) -> f64) -> Result<(), usize> {
    // Adding 1.5 · 2^52 leaves an integer of up to 51 bits in the low bits of the sum, in two's complement: a
    // conversion that vectorises, which `as` does not before AVX-512.
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const SMALL: f64 = 2_251_799_813_685_248.0;
    let mut odd = 0u64;
    for (to, &v) in to.iter_mut().zip(a) {
        let sum = v + MAGIC;
        let whole = (sum - MAGIC == v) & (v.abs() < SMALL);
        odd |= u64::from(!(whole | v.is_nan()));
        let integer = (sum.to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64);
        *to = if v.is_nan() { f64::NAN } else { f(integer) };
    }
    if odd == 0 { Ok(()) } else { large_integers(to, a, f) }
}

/// As [`integers`], for blocks that hold larger ones, or something else.
#[inline(never)]
fn large_integers(to: &mut [f64], a: &[f64], f: impl Fn(i64) -> f64) -> Result<(), usize> {
    const MOST: f64 = 18_446_744_073_709_551_616.0;
    const LEAST: f64 = -9_223_372_036_854_775_808.0;
    for (at, (to, &v)) in to.iter_mut().zip(a).enumerate() {
        *to = if v.is_nan() {
            f64::NAN
        } else if v.trunc() != v || !(LEAST..MOST).contains(&v) {
            return Err(at);
        } else if v < 0.0 {
            f(v as i64)
        } else {
            f(v as u64 as i64)
        };
    }
    Ok(())
}
