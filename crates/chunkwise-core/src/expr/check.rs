//! Names to inputs, functions to operations.

use super::error::{ExprError, Fault, Listing, Problem, nearest};
use super::flags;
use super::functions::{self, FUNCTIONS, Function, Kind};
use super::kernel::MAX_DIGITS;
use super::parse::{Formula, Node, NodeId, NodeKind, Pick};
use super::program::{Binary, Builder, Checked, Output, Unary, ValueId};
use super::scope::{Meaning, Scope};
use indexmap::IndexSet;
use std::collections::HashMap;
use std::ops::Range;

/// Checks formulas against the names that exist and compiles them together, sharing what is equal.
///
/// A formula may use the names of those before it; there they come before variables of the same name, so that
/// `red = red / 10000` works. A formula without a name gives an output that is called by its text.
///
/// # Errors
/// The first name, pick, function or flag that does not exist or is ambiguous, wrong arguments, and two formulas
/// of one name.
pub fn check(formulas: &[Formula], scope: &Scope) -> Result<Checked, ExprError> {
    let mut checker = Checker {
        scope,
        builder: Builder::default(),
        dims: IndexSet::new(),
        names: Vec::new(),
        results: Vec::new(),
        resolved: HashMap::new(),
    };
    for formula in formulas {
        let result = checker.formula(formula).map_err(|fault| fault.within(&formula.text))?;
        let (name, span) = formula.name.clone().unwrap_or_else(|| (formula.long_name().to_owned(), 0..0));
        if checker.names.contains(&name) {
            return Err(Fault::new(Problem::SameName { name }, &span).within(&formula.text));
        }
        checker.resolved.clear();
        checker.names.push(name);
        checker.results.push(result);
    }
    let dims: Vec<String> = checker.dims.into_iter().collect();
    let outputs = checker.names.into_iter().zip(formulas).zip(&checker.results).map(|((name, formula), result)| {
        let dims = result.dims.iter().map(|&d| dims[d].clone()).collect();
        Output { name, formula: formula.long_name().to_owned(), dims }
    });
    let outputs = outputs.collect();
    let roots: Vec<ValueId> = checker.results.iter().map(|result| result.id).collect();
    let (inputs, program) = checker.builder.finish(&roots);
    Ok(Checked { inputs, outputs, program })
}

/// A value and its dimensions, as positions in the list of those that occur.
#[derive(Clone, Debug)]
struct Typed {
    id: ValueId,
    dims: Vec<usize>,
}

struct Checker<'a> {
    scope: &'a Scope,
    builder: Builder,
    dims: IndexSet<String>,
    names: Vec<String>,
    results: Vec<Typed>,
    /// Names of this formula that are resolved: cubes have many labels, formulas repeat few names.
    resolved: HashMap<String, Meaning>,
}

impl Checker<'_> {
    fn formula(&mut self, formula: &Formula) -> Result<Typed, Fault> {
        let mut done: Vec<Typed> = Vec::with_capacity(formula.nodes.len());
        for node in &formula.nodes {
            let typed = self.node(node, &formula.nodes, &done)?;
            done.push(typed);
        }
        Ok(done.swap_remove(formula.root))
    }

    fn node(&mut self, node: &Node, nodes: &[Node], done: &[Typed]) -> Result<Typed, Fault> {
        let id = match &node.kind {
            NodeKind::Constant(value) => self.builder.constant(*value),
            NodeKind::Name(name) => return self.name(name, &[], &node.span),
            NodeKind::Pick { name, picks } => return self.name(name, picks, &node.span),
            NodeKind::Negate(a) => self.builder.unary(Unary::Negate, done[*a].id),
            NodeKind::Not(a) => self.builder.unary(Unary::Not, done[*a].id),
            NodeKind::Binary(operation, a, b) => self.builder.binary(*operation, done[*a].id, done[*b].id),
            NodeKind::Call { function, args } => self.call(function, args, done, nodes, &node.span)?,
            NodeKind::Flag { of, flag, flag_span } => {
                let variable = self.flagged(&nodes[*of])?;
                let test = flags::test(&self.scope.variables[variable], flag, flag_span)?;
                self.builder.unary(Unary::Flag(test), done[*of].id)
            }
        };
        Ok(Typed { id, dims: union(&node.kind, done) })
    }

    fn meaning(&mut self, name: &str, span: &Range<usize>) -> Result<Meaning, Fault> {
        if let Some(meaning) = self.resolved.get(name) {
            return Ok(meaning.clone());
        }
        let meaning = self.scope.resolve(name, &self.names, span)?;
        self.resolved.insert(name.to_owned(), meaning.clone());
        Ok(meaning)
    }

    fn name(&mut self, name: &str, picks: &[Pick], span: &Range<usize>) -> Result<Typed, Fault> {
        let (variable, band) = match self.meaning(name, span)? {
            Meaning::Formula(at) if picks.is_empty() => return Ok(self.results[at].clone()),
            Meaning::Formula(_) => {
                return Err(Fault::new(Problem::PickOfFormula { name: name.to_owned() }, span));
            }
            Meaning::Variable(variable, band) => (variable, band),
        };
        let input = self.scope.input(variable, band, picks)?;
        let left = self.scope.variables[variable].dims.iter();
        let left = left.filter(|dim| input.picks.iter().all(|(picked, _)| picked != *dim));
        let dims = left.map(|dim| self.dims.insert_full(dim.clone()).0).collect();
        Ok(Typed { id: self.builder.input(input), dims })
    }

    /// The variable whose flags are meant.
    fn flagged(&mut self, of: &Node) -> Result<usize, Fault> {
        if let NodeKind::Name(name) | NodeKind::Pick { name, .. } = &of.kind
            && let Meaning::Variable(variable, _) = self.meaning(name, &of.span)?
        {
            return Ok(variable);
        }
        Err(Fault::new(Problem::FlagOf, &of.span))
    }

    fn call(
        &mut self,
        name: &str,
        args: &[NodeId],
        done: &[Typed],
        nodes: &[Node],
        span: &Range<usize>,
    ) -> Result<ValueId, Fault> {
        let function = functions::find(name).ok_or_else(|| self.unknown_function(name, span))?;
        let Function { usage, least, most, kind, .. } = *function;
        if args.len() < least || args.len() > most {
            return Err(Fault::new(Problem::Arguments { usage, given: args.len() }, span));
        }
        let arg = |i: usize| done[args[i]].id;
        let builder = &mut self.builder;
        let constant = |builder: &Builder, i: usize, low: i32, high: i32| {
            let value = builder.known(arg(i)).filter(|v| v.fract() == 0.0);
            let value = value.filter(|v| (f64::from(low)..=f64::from(high)).contains(v));
            let problem = Problem::Constant { usage, low, high };
            value.map(|v| v as i8).ok_or_else(|| Fault::new(problem, &nodes[args[i]].span))
        };
        Ok(match kind {
            Kind::Where => builder.choose(arg(0), arg(1), arg(2)),
            Kind::Unary(operation) => builder.unary(operation, arg(0)),
            Kind::Binary(operation) => builder.binary(operation, arg(0), arg(1)),
            Kind::Chain(operation) => (1..args.len()).fold(arg(0), |all, i| builder.binary(operation, all, arg(i))),
            Kind::Clip => {
                let raised = builder.binary(Binary::Max, arg(0), arg(1));
                builder.binary(Binary::Min, raised, arg(2))
            }
            Kind::IsIn => {
                let mut all = builder.binary(Binary::Equal, arg(0), arg(1));
                for i in 2..args.len() {
                    let one = builder.binary(Binary::Equal, arg(0), arg(i));
                    all = builder.binary(Binary::Or, all, one);
                }
                all
            }
            Kind::Round if args.len() == 1 => builder.unary(Unary::Round, arg(0)),
            Kind::Round => {
                let most = i32::from(MAX_DIGITS);
                match constant(builder, 1, -most, most)? {
                    0 => builder.unary(Unary::Round, arg(0)),
                    digits => builder.unary(Unary::RoundTo(digits), arg(0)),
                }
            }
            Kind::Bit => {
                let bit = constant(builder, 1, 0, 63)?;
                builder.unary(Unary::Bit(bit as u8), arg(0))
            }
            // The reader has put whole calls of `flag` apart.
            Kind::Flag => {
                return Err(Fault::new(Problem::Arguments { usage, given: args.len() }, span));
            }
        })
    }

    fn unknown_function(&self, name: &str, span: &Range<usize>) -> Fault {
        let lower = name.to_lowercase();
        let names = || FUNCTIONS.iter().map(|f| f.name);
        let is_variable = self.scope.resolve(name, &self.names, span).is_ok();
        let hint = match lower.as_str() {
            "mean" | "sum" | "std" | "var" | "median" | "count" => {
                Some(format!("`{lower}` over a dimension is a statistic, formulas are cell by cell"))
            }
            "ln" => Some("the natural logarithm is `log`".to_owned()),
            "minimum" | "fmin" => Some("did you mean `min`?".to_owned()),
            "maximum" | "fmax" => Some("did you mean `max`?".to_owned()),
            "isnull" | "isna" => Some("did you mean `ismissing`?".to_owned()),
            "notnull" | "notna" => Some("write `not ismissing(x)`".to_owned()),
            "if" | "ifelse" | "iff" => Some("did you mean `where`?".to_owned()),
            _ if is_variable => Some(format!("`{name}` is a variable or band: write `*` to multiply")),
            _ => nearest(name, names()).map(|near| format!("did you mean `{near}`?")),
        };
        let problem = Problem::UnknownFunction { name: name.to_owned(), hint, has: Listing::new(names()) };
        Fault::new(problem, span)
    }
}

/// Dimensions of a result: those of its operands, in order of first appearance.
fn union(kind: &NodeKind, done: &[Typed]) -> Vec<usize> {
    let mut dims: Vec<usize> = Vec::new();
    let mut add = |operand: &NodeId| {
        for dim in &done[*operand].dims {
            if !dims.contains(dim) {
                dims.push(*dim);
            }
        }
    };
    match kind {
        NodeKind::Constant(_) | NodeKind::Name(_) | NodeKind::Pick { .. } => {}
        NodeKind::Negate(a) | NodeKind::Not(a) | NodeKind::Flag { of: a, .. } => add(a),
        NodeKind::Binary(_, a, b) => [a, b].into_iter().for_each(add),
        NodeKind::Call { args, .. } => args.iter().for_each(add),
    }
    dims
}

#[cfg(test)]
mod tests;
