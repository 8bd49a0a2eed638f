//! A checked formula as a value: a list of operations in which equal parts are shared.

use super::flags::FlagTest;
use super::kernel;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// One column that the engine feeds: a variable, at fixed indices along some of its dimensions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// Name of the variable.
    pub variable: String,
    /// Dimension and index of the cells picked, in the order of the variable's dimensions.
    pub picks: Vec<(String, u64)>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The name it was assigned to; of an expression alone, its text.
    pub name: String,
    /// The expression as written, without the name.
    pub formula: String,
    /// Dimensions of the result: those of the operands that are not picked, in order of first appearance
    /// (as xarray broadcasts). None for a constant.
    pub dims: Vec<String>,
}

impl Output {
    /// What goes into the attribute `long_name`: the formula.
    pub fn long_name(&self) -> &str {
        &self.formula
    }
}

/// Formulas whose names are resolved, ready to be evaluated (see [`super::Evaluator`]) or sent elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The columns to feed, each once, in order of first use.
    pub inputs: Vec<Input>,
    /// The results, in the order of the formulas.
    pub outputs: Vec<Output>,
    pub(super) program: Program,
}

impl Checked {
    /// The operations.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The same formulas with only the outputs of these positions, and only the inputs that they need; positions
    /// that do not exist are passed over. For outputs that are walked apart because their dimensions differ.
    pub fn only(&self, outputs: &[usize]) -> Checked {
        let keep: Vec<usize> = outputs.iter().copied().filter(|&i| i < self.outputs.len()).collect();
        let roots: Vec<u32> = keep.iter().filter_map(|&i| self.program.outputs.get(i).copied()).collect();
        let (program, used) = self.program.pruned(&roots);
        Checked {
            inputs: used.iter().filter_map(|&i| self.inputs.get(i as usize).cloned()).collect(),
            outputs: keep.iter().map(|&i| self.outputs[i].clone()).collect(),
            program,
        }
    }
}

/// An operation on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Unary {
    Negate,
    Not,
    Abs,
    Sqrt,
    Exp,
    Log,
    Log10,
    Sin,
    Cos,
    Tan,
    Floor,
    Ceil,
    Round,
    /// To so many decimal digits.
    RoundTo(i8),
    IsMissing,
    /// Bit of this number.
    Bit(u8),
    Flag(FlagTest),
}

/// An operation on two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
    Power,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    NotEqual,
    And,
    Or,
    Min,
    Max,
}

impl Binary {
    /// Whether the operands can be exchanged without changing a bit of the result.
    fn commutes(self) -> bool {
        use Binary::{Add, And, Equal, Multiply, NotEqual, Or};
        matches!(self, Add | Multiply | Equal | NotEqual | And | Or)
    }
}

/// Position of a value in a program.
pub(super) type ValueId = u32;

/// A value of a program; operands stand before what uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Value {
    Input(u32),
    /// The bits of an `f64`: NaN has no place in JSON.
    Constant(u64),
    Unary(Unary, ValueId),
    Binary(Binary, ValueId, ValueId),
    /// Condition, then, else.
    Where(ValueId, ValueId, ValueId),
}

impl Value {
    pub(super) fn operands(self) -> impl Iterator<Item = ValueId> {
        let (operands, count) = match self {
            Value::Input(_) | Value::Constant(_) => ([0; 3], 0),
            Value::Unary(_, a) => ([a, 0, 0], 1),
            Value::Binary(_, a, b) => ([a, b, 0], 2),
            Value::Where(condition, a, b) => ([condition, a, b], 3),
        };
        operands.into_iter().take(count)
    }
}

/// The operations of some formulas.
///
/// A deserialised program is validated: it can be evaluated whatever its bytes were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawProgram")]
pub struct Program {
    pub(super) values: Vec<Value>,
    pub(super) outputs: Vec<ValueId>,
    pub(super) inputs: u32,
}

impl Program {
    /// How many operations are evaluated for each cell.
    pub fn operations(&self) -> usize {
        self.values.iter().filter(|v| !matches!(v, Value::Input(_) | Value::Constant(_))).count()
    }

    /// Only what `roots` need, and the inputs that are left.
    fn pruned(&self, roots: &[ValueId]) -> (Program, Vec<u32>) {
        let mut needed = vec![false; self.values.len()];
        for &root in roots {
            needed[root as usize] = true;
        }
        let mut used = Vec::new();
        for id in (0..self.values.len()).rev() {
            if needed[id] {
                self.values[id].operands().for_each(|operand| needed[operand as usize] = true);
                if let Value::Input(input) = self.values[id] {
                    used.push(input);
                }
            }
        }
        used.sort_unstable();
        used.dedup();
        let mut place = vec![0; self.values.len()];
        let mut values = Vec::new();
        for (id, &value) in self.values.iter().enumerate().filter(|(id, _)| needed[*id]) {
            let at = |id: ValueId| place[id as usize];
            let moved = match value {
                Value::Input(i) => Value::Input(used.partition_point(|&u| u < i) as u32),
                Value::Constant(bits) => Value::Constant(bits),
                Value::Unary(op, a) => Value::Unary(op, at(a)),
                Value::Binary(op, a, b) => Value::Binary(op, at(a), at(b)),
                Value::Where(c, a, b) => Value::Where(at(c), at(a), at(b)),
            };
            place[id] = values.len() as u32;
            values.push(moved);
        }
        let outputs = roots.iter().map(|&root| place[root as usize]).collect();
        (Program { values, outputs, inputs: used.len() as u32 }, used)
    }
}

#[derive(Deserialize)]
struct RawProgram {
    values: Vec<Value>,
    outputs: Vec<ValueId>,
    inputs: u32,
}

impl TryFrom<RawProgram> for Program {
    type Error = &'static str;

    fn try_from(raw: RawProgram) -> Result<Program, Self::Error> {
        if raw.values.len() > u32::MAX as usize {
            return Err("a program of formulas has too many values");
        }
        for (id, value) in raw.values.iter().enumerate() {
            if value.operands().any(|operand| operand as usize >= id) {
                return Err("a program of formulas uses a value before it is made");
            }
            let valid = match value {
                Value::Input(input) => *input < raw.inputs,
                Value::Unary(Unary::Bit(n), _) => *n < 64,
                Value::Unary(Unary::RoundTo(digits), _) => digits.unsigned_abs() <= kernel::MAX_DIGITS,
                Value::Unary(Unary::Flag(test), _) => test.is_valid(),
                _ => true,
            };
            if !valid {
                return Err("a program of formulas has an operation that does not exist");
            }
        }
        // Every input costs a column of scratch, so none may be only claimed.
        if raw.inputs as usize > raw.values.len() {
            return Err("a program of formulas claims more inputs than it uses");
        }
        if raw.outputs.iter().any(|&output| output as usize >= raw.values.len()) {
            return Err("a program of formulas has an output that is never made");
        }
        Ok(Program { values: raw.values, outputs: raw.outputs, inputs: raw.inputs })
    }
}

/// Builds a program; equal operations on equal values are made once.
#[derive(Debug, Default)]
pub(super) struct Builder {
    values: Vec<Value>,
    known: HashMap<Value, ValueId>,
    inputs: IndexMap<Input, ()>,
}

impl Builder {
    fn value(&mut self, value: Value) -> ValueId {
        *self.known.entry(value).or_insert_with(|| {
            self.values.push(value);
            (self.values.len() - 1) as ValueId
        })
    }

    pub(super) fn input(&mut self, input: Input) -> ValueId {
        let (place, _) = self.inputs.insert_full(input, ());
        self.value(Value::Input(place as u32))
    }

    pub(super) fn constant(&mut self, value: f64) -> ValueId {
        // One NaN, so that every `missing` is the same value.
        let value = if value.is_nan() { f64::NAN } else { value };
        self.value(Value::Constant(value.to_bits()))
    }

    /// The constant that a value is, if it is one.
    pub(super) fn known(&self, id: ValueId) -> Option<f64> {
        match self.values[id as usize] {
            Value::Constant(bits) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    pub(super) fn unary(&mut self, operation: Unary, a: ValueId) -> ValueId {
        if let Some(result) = self.known(a).and_then(|a| kernel::unary_constant(operation, a)) {
            return self.constant(result);
        }
        self.value(Value::Unary(operation, a))
    }

    pub(super) fn binary(&mut self, operation: Binary, a: ValueId, b: ValueId) -> ValueId {
        if let (Some(a), Some(b)) = (self.known(a), self.known(b)) {
            return self.constant(kernel::binary_constant(operation, a, b));
        }
        if operation == Binary::Power
            && let Some(exponent) = self.known(b)
        {
            match exponent {
                2.0 => return self.binary(Binary::Multiply, a, a),
                1.0 => return a,
                0.5 => return self.unary(Unary::Sqrt, a),
                -1.0 => {
                    let one = self.constant(1.0);
                    return self.binary(Binary::Divide, one, a);
                }
                _ => {}
            }
        }
        let (a, b) = if operation.commutes() && b < a { (b, a) } else { (a, b) };
        self.value(Value::Binary(operation, a, b))
    }

    pub(super) fn choose(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> ValueId {
        self.value(Value::Where(condition, a, b))
    }

    /// The program that gives these values.
    pub(super) fn finish(self, roots: &[ValueId]) -> (Vec<Input>, Program) {
        let all = Program { values: self.values, outputs: Vec::new(), inputs: self.inputs.len() as u32 };
        let (program, used) = all.pruned(roots);
        // Names that only stood in a part that was not needed are not fed.
        let inputs: Vec<Input> = self.inputs.into_keys().collect();
        (used.iter().map(|&i| inputs[i as usize].clone()).collect(), program)
    }
}
