//! Programs over columns: a block at a time, in the first-level cache.

use super::error::EvalError;
use super::kernel;
use super::program::{Binary, Checked, Input, Program, Unary, Value};

/// Cells that are evaluated at a time: 4 KiB for each intermediate result.
pub const BLOCK: usize = 512;

/// Cells of one input, as `f64` and broadcast. NaN is missing.
#[derive(Clone, Copy, Debug)]
pub enum InputColumn<'a> {
    /// Values at hand; at least as many as cells are evaluated.
    Values(&'a [f64]),
    /// Values that are decoded as they are needed, so that they are never in memory at once.
    Decoded(&'a dyn BlockSource),
}

/// Gives the values of a column a block at a time.
pub trait BlockSource: std::fmt::Debug {
    /// How many values there are.
    fn cells(&self) -> usize;

    /// Writes the values from `first` on, as many as there is room for; NaN where they are missing.
    fn block(&self, first: usize, to: &mut [f64]);
}

impl InputColumn<'_> {
    fn cells(&self) -> usize {
        match self {
            InputColumn::Values(values) => values.len(),
            InputColumn::Decoded(source) => source.cells(),
        }
    }
}

/// Where a value is while a block is evaluated.
#[derive(Clone, Copy, Debug)]
enum Place {
    Input(usize),
    Register(usize),
}

/// One operation on blocks.
#[derive(Clone, Copy, Debug)]
enum Step {
    Unary(Unary, Place, usize),
    Binary(Binary, Place, Place, usize),
    Where([Place; 3], usize),
    Output(Place, usize),
}

/// Evaluates checked formulas. Each thread has its own; it keeps its scratch memory between calls.
#[derive(Debug)]
pub struct Evaluator {
    steps: Vec<Step>,
    /// Intermediate results; constants stand in registers that are filled once.
    registers: Vec<Vec<f64>>,
    /// Blocks of inputs that are decoded.
    decoded: Vec<Vec<f64>>,
    inputs: Vec<Input>,
    outputs: usize,
    arch: pulp::Arch,
}

impl Evaluator {
    /// An evaluator of these formulas.
    pub fn new(checked: &Checked) -> Evaluator {
        let program = &checked.program;
        let (steps, constants, count) = schedule(program);
        let mut registers = vec![vec![0.0; BLOCK]; count];
        for (register, value) in constants {
            registers[register].fill(value);
        }
        Evaluator {
            steps,
            registers,
            decoded: vec![vec![0.0; BLOCK]; program.inputs as usize],
            inputs: checked.inputs.clone(),
            outputs: program.outputs.len(),
            arch: pulp::Arch::new(),
        }
    }

    /// Scratch memory that it holds, in bytes.
    pub fn scratch_bytes(&self) -> usize {
        (self.registers.len() + self.decoded.len()) * BLOCK * size_of::<f64>()
    }

    /// Evaluates `len` cells: input columns in the order of [`Checked::inputs`], outputs in that of
    /// [`Checked::outputs`], `NaN` where they are missing. The same bits with any instruction set, and however cells are dealt out to calls.
    ///
    /// # Errors
    /// Columns that are too few, too many or too short, and a value that `bit` or `flag` cannot take (the outputs
    /// are then unfinished).
    pub fn eval(
        &mut self,
        inputs: &[InputColumn<'_>],
        len: usize,
        outputs: &mut [&mut [f64]],
    ) -> Result<(), EvalError> {
        let fits = inputs.len() == self.decoded.len()
            && outputs.len() == self.outputs
            && inputs.iter().all(|column| column.cells() >= len)
            && outputs.iter().all(|column| column.len() >= len);
        if !fits {
            return Err(EvalError::Columns { inputs: self.decoded.len(), outputs: self.outputs, len });
        }
        let run = Run {
            steps: &self.steps,
            registers: &mut self.registers,
            decoded: &mut self.decoded,
            inputs,
            len,
            outputs,
        };
        let done = self.arch.dispatch(run);
        done.map_err(|failed| self.not_integer(failed))
    }

    fn not_integer(&self, failed: Failed) -> EvalError {
        let input = match failed.place {
            Place::Input(input) => self.inputs.get(input),
            Place::Register(_) => None,
        };
        EvalError::NotInteger {
            function: match failed.operation {
                Unary::Flag(_) => "flag",
                _ => "bit",
            },
            argument: input.map_or("its argument".to_owned(), |i| format!("`{}`", i.variable)),
            value: failed.value,
            cell: failed.cell,
        }
    }
}

/// A program as steps on registers, the registers that hold constants, and how many there are.
///
/// A register is free again after the last use of its value, so that the count is that of values alive at once
/// and not the length of the formula.
fn schedule(program: &Program) -> (Vec<Step>, Vec<(usize, f64)>, usize) {
    let mut last_use: Vec<usize> = (0..program.values.len()).collect();
    for (id, value) in program.values.iter().enumerate() {
        value.operands().for_each(|operand| last_use[operand as usize] = id);
    }
    let mut wanted: Vec<(usize, usize)> =
        program.outputs.iter().enumerate().map(|(output, &id)| (id as usize, output)).collect();
    wanted.sort_unstable();
    let mut wanted = wanted.into_iter().peekable();
    let (mut steps, mut constants, mut count) = (Vec::new(), Vec::new(), 0);
    let mut free: Vec<usize> = Vec::new();
    let mut places: Vec<Place> = Vec::with_capacity(program.values.len());
    for (id, &value) in program.values.iter().enumerate() {
        let mut fresh = |free: &mut Vec<usize>| {
            free.pop().unwrap_or_else(|| {
                count += 1;
                count - 1
            })
        };
        let at = |id: u32| places[id as usize];
        let place = match value {
            Value::Input(input) => Place::Input(input as usize),
            Value::Constant(bits) => {
                // Filled once, before the first block: never one that another value has used or will use.
                let register = fresh(&mut Vec::new());
                constants.push((register, f64::from_bits(bits)));
                Place::Register(register)
            }
            Value::Unary(operation, a) => {
                let to = fresh(&mut free);
                steps.push(Step::Unary(operation, at(a), to));
                Place::Register(to)
            }
            Value::Binary(operation, a, b) => {
                let to = fresh(&mut free);
                steps.push(Step::Binary(operation, at(a), at(b), to));
                Place::Register(to)
            }
            Value::Where(condition, a, b) => {
                let to = fresh(&mut free);
                steps.push(Step::Where([at(condition), at(a), at(b)], to));
                Place::Register(to)
            }
        };
        places.push(place);
        while let Some((_, output)) = wanted.next_if(|(wanted, _)| *wanted == id) {
            steps.push(Step::Output(place, output));
        }
        let mut done: Vec<usize> = value.operands().map(|operand| operand as usize).collect();
        done.push(id);
        done.sort_unstable();
        done.dedup();
        for operand in done.into_iter().filter(|&operand| last_use[operand] == id) {
            if let (Place::Register(register), false) =
                (places[operand], matches!(program.values[operand], Value::Constant(_)))
            {
                free.push(register);
            }
        }
    }
    (steps, constants, count)
}

/// Which operation met which value at which cell.
struct Failed {
    operation: Unary,
    place: Place,
    cell: usize,
    value: f64,
}

/// One evaluation, to be compiled for several instruction sets.
struct Run<'a, 'i, 'o> {
    steps: &'a [Step],
    registers: &'a mut [Vec<f64>],
    decoded: &'a mut [Vec<f64>],
    inputs: &'a [InputColumn<'i>],
    len: usize,
    outputs: &'a mut [&'o mut [f64]],
}

impl pulp::WithSimd for Run<'_, '_, '_> {
    type Output = Result<(), Failed>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Result<(), Failed> {
        let Run { steps, registers, decoded, inputs, len, outputs } = self;
        for start in (0..len).step_by(BLOCK) {
            let cells = start..(start + BLOCK).min(len);
            for (decoded, input) in decoded.iter_mut().zip(inputs) {
                if let InputColumn::Decoded(source) = input {
                    source.block(start, &mut decoded[..cells.len()]);
                }
            }
            for step in steps {
                // Taken out while it is written: a step never writes to what it reads.
                let mut to = match step {
                    Step::Unary(_, _, to) | Step::Binary(_, _, _, to) | Step::Where(_, to) => {
                        std::mem::take(&mut registers[*to])
                    }
                    Step::Output(..) => Vec::new(),
                };
                let block = |place: Place| match place {
                    Place::Register(register) => &registers[register][..cells.len()],
                    Place::Input(input) => match &inputs[input] {
                        InputColumn::Values(values) => &values[cells.clone()],
                        InputColumn::Decoded(_) => &decoded[input][..cells.len()],
                    },
                };
                let mut done = Ok(());
                match *step {
                    Step::Unary(operation, place, register) => {
                        let a = block(place);
                        done = kernel::unary(operation, &mut to[..cells.len()], a).map_err(|at| Failed {
                            operation,
                            place,
                            cell: start + at,
                            value: a[at],
                        });
                        registers[register] = to;
                    }
                    Step::Binary(operation, a, b, register) => {
                        kernel::binary(operation, &mut to[..cells.len()], block(a), block(b));
                        registers[register] = to;
                    }
                    Step::Where([condition, a, b], register) => {
                        kernel::choose(&mut to[..cells.len()], block(condition), block(a), block(b));
                        registers[register] = to;
                    }
                    Step::Output(from, output) => {
                        kernel::output(&mut outputs[output][cells.clone()], block(from));
                    }
                }
                done?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
