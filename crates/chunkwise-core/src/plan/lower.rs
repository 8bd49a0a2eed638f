//! From a request to stages.

use super::{Axis, FORMAT, Folded, From, InputView, Stage};
use crate::cube::{Cube, Packing, Role as VariableRole, Variable};
use crate::dtype::DType;
use crate::expr::{Checked, ExprError, Scope, check, parse, parse_condition};
use crate::grid::{Indices, Role, WalkDim};
use crate::select::{AxisSelection, Selection};
use crate::stat::Statistic;
use indexmap::{IndexMap, IndexSet};
use thiserror::Error;

/// What a job is to compute, with labels already turned into indices.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Variables by name; with no formulas, none means all data variables.
    pub variables: Vec<String>,
    /// Formulas; with some, only they and `variables` are worked on.
    pub formulas: Vec<String>,
    /// Condition that a cell must meet.
    pub mask: Option<String>,
    /// What part of each dimension.
    pub selection: Selection,
    /// What happens to dimensions by name.
    pub roles: IndexMap<String, Role>,
    /// What happens to the others.
    pub others: Others,
    /// What is computed for each group; empty: the cells themselves.
    pub statistics: Vec<Statistic>,
}

/// What happens to dimensions that have no role by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// They stay; every variable has the dimensions that have a role.
    #[default]
    Keep,
    /// Every variable is reduced over those that it has.
    Reduce,
}

/// A request that makes no sense for its cube.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LowerError {
    #[error("no variable `{asked}`; it has {}", .has.join(", "))]
    NoVariable { asked: String, has: Vec<String> },
    #[error("the cube has no data variables")]
    NoData,
    #[error("`{variable}` cannot be read: {problem}")]
    Unreadable { variable: String, problem: String },
    #[error("`{variable}` holds text; statistics need numbers")]
    Text { variable: String },
    #[error("`{variable}` holds times, of which there is no sum; there are mean, min, max, median, first, last")]
    TimeSum { variable: String },
    #[error("`{variable}` has no dimension `{asked}`; it has {}", .has.join(", "))]
    NoDim { variable: String, asked: String, has: Vec<String> },
    #[error("the condition has dimension `{dim}`, which `{variable}` does not have")]
    MaskDim { variable: String, dim: String },
    #[error("`{statistic}` needs exactly one reduced dimension; {} are reduced", .dims)]
    OneDim { statistic: &'static str, dims: usize },
    #[error("`{dim}` has length {a} in `{one}` and {b} in `{other}`")]
    Lengths { dim: String, one: String, a: u64, other: String, b: u64 },
    #[error("`{name} = …`: `{name}` is already the name of a {what} of the cube; give the result another name")]
    Taken { name: String, what: &'static str },
    #[error("`{name}` is asked for as a variable and as a formula; give the formula another name")]
    Twice { name: String },
    #[error(transparent)]
    Expr(#[from] ExprError),
}

/// The stages of a job, one for each variable, and one for all formulas of the same dimensions.
///
/// # Errors
/// Names that do not exist, dimensions that do not fit, values that cannot be computed with.
pub fn lower(cube: &Cube, job: &Job, scope: &Scope) -> Result<Vec<Stage>, LowerError> {
    let mut formulas = Vec::new();
    for text in &job.formulas {
        formulas.push(parse(text)?);
    }
    // What is named twice counts once.
    let mut names: Vec<String> = IndexSet::<String>::from_iter(job.variables.iter().cloned()).into_iter().collect();
    if names.is_empty() && formulas.is_empty() {
        names = cube.data_variables().map(|v| v.name.clone()).collect();
        if names.is_empty() {
            return Err(LowerError::NoData);
        }
        if names.len() > 1 {
            // Without being named, variables that lack a reduced dimension are left as they are: out.
            let reduced = |v: &Variable| job.others == Others::Reduce || job.roles.keys().all(|d| v.dims.contains(d));
            let fitting: Vec<String> =
                cube.data_variables().filter(|v| reduced(v) && v.view.is_some()).map(|v| v.name.clone()).collect();
            if !fitting.is_empty() {
                names = fitting;
            }
        }
    }
    for name in formulas.iter().filter_map(|f| f.name()) {
        if let Some(what) = describes(cube, name) {
            return Err(LowerError::Taken { name: name.to_owned(), what });
        }
        if names.iter().any(|n| n == name) {
            return Err(LowerError::Twice { name: name.to_owned() });
        }
    }
    let condition = job.mask.as_deref().map(|m| parse_condition(m).and_then(|f| f.with_name("where"))).transpose()?;
    let mut stages = Vec::new();
    for name in &names {
        let variable = variable(cube, name)?;
        let checked = match &condition {
            Some(c) => Some(check(std::slice::from_ref(c), scope)?),
            None => None,
        };
        stages.push(Builder::new(cube, job, &variable.dims).direct(variable, checked)?);
    }
    if !formulas.is_empty() {
        let count = formulas.len();
        if let Some(c) = condition {
            formulas.push(c);
        }
        let all = check(&formulas, scope)?;
        let mut groups: Vec<(Vec<String>, Vec<usize>)> = Vec::new();
        for (i, output) in all.outputs.iter().take(count).enumerate() {
            let dims = in_cube_order(cube, &output.dims);
            match groups.iter_mut().find(|g| g.0 == dims) {
                Some(g) => g.1.push(i),
                None => groups.push((dims, vec![i])),
            }
        }
        for (dims, mut outputs) in groups {
            let folded = outputs.len();
            if all.outputs.len() > count {
                outputs.push(count);
            }
            let part = all.only(&outputs);
            stages.push(Builder::new(cube, job, &dims).formulas(part, folded)?);
        }
    }
    Ok(stages)
}

/// What a name that no result can have is in the cube.
fn describes(cube: &Cube, name: &str) -> Option<&'static str> {
    match cube.variables.get(name).map(|v| v.role) {
        Some(VariableRole::Dimension | VariableRole::Auxiliary) => Some("coordinate"),
        Some(VariableRole::Bounds) => Some("bounds of a coordinate"),
        Some(VariableRole::GridMapping) => Some("grid mapping"),
        Some(VariableRole::Data) | None => cube.dims.contains_key(name).then_some("dimension"),
    }
}

fn variable<'a>(cube: &'a Cube, name: &str) -> Result<&'a Variable, LowerError> {
    cube.variables
        .get(name)
        .ok_or_else(|| LowerError::NoVariable { asked: name.to_owned(), has: cube.variables.keys().cloned().collect() })
}

/// Dimensions in the order in which the cube's variables have them.
fn in_cube_order(cube: &Cube, dims: &[String]) -> Vec<String> {
    let whole = cube.variables.values().find(|v| dims.iter().all(|d| v.dims.contains(d)));
    match whole {
        Some(v) => v.dims.iter().filter(|d| dims.contains(d)).cloned().collect(),
        None => dims.to_vec(),
    }
}

struct Builder<'a> {
    cube: &'a Cube,
    job: &'a Job,
    /// Names of the dimensions that are walked.
    dims: Vec<String>,
    arrays: Vec<Variable>,
    inputs: Vec<InputView>,
}

impl<'a> Builder<'a> {
    fn new(cube: &'a Cube, job: &'a Job, dims: &[String]) -> Builder<'a> {
        let walked = dims.iter().filter(|d| !job.selection.drops(d)).cloned().collect();
        Builder { cube, job, dims: walked, arrays: Vec::new(), inputs: Vec::new() }
    }

    fn input(&mut self, variable: &Variable, picks: &[(String, u64)], target: &str) -> Result<usize, LowerError> {
        if let Some(problem) = &variable.problem {
            return Err(LowerError::Unreadable { variable: variable.name.clone(), problem: problem.clone() });
        }
        if variable.view.is_none() {
            return Err(LowerError::Text { variable: variable.name.clone() });
        }
        let mut axes = Vec::new();
        for dim in &variable.dims {
            let pick = picks.iter().find(|(d, _)| d == dim).map(|&(_, i)| i);
            let dropped = match self.job.selection.axes.get(dim) {
                Some(AxisSelection::Index(i)) => Some(*i),
                _ => None,
            };
            let axis = match (pick.or(dropped), self.dims.iter().position(|d| d == dim)) {
                (Some(i), _) => Axis::Pick(i),
                (None, Some(d)) => Axis::Walk(d),
                (None, None) => {
                    return Err(LowerError::MaskDim { variable: target.to_owned(), dim: dim.clone() });
                }
            };
            axes.push(axis);
        }
        let array = match self.arrays.iter().position(|a| a.path == variable.path) {
            Some(i) => i,
            None => {
                self.arrays.push(variable.clone());
                self.arrays.len() - 1
            }
        };
        let view = InputView { array, axes };
        Ok(match self.inputs.iter().position(|i| *i == view) {
            Some(i) => i,
            None => {
                self.inputs.push(view);
                self.inputs.len() - 1
            }
        })
    }

    fn formula_inputs(&mut self, checked: &Checked, target: &str) -> Result<Vec<usize>, LowerError> {
        let mut feeds = Vec::new();
        for input in &checked.inputs {
            let variable = variable(self.cube, &input.variable)?;
            feeds.push(self.input(variable, &input.picks, target)?);
        }
        Ok(feeds)
    }

    fn direct(mut self, variable: &Variable, mask: Option<Checked>) -> Result<Stage, LowerError> {
        let own = self.input(variable, &[], &variable.name)?;
        if variable.is_time() && self.job.statistics.contains(&Statistic::Sum) {
            return Err(LowerError::TimeSum { variable: variable.name.clone() });
        }
        let formula_inputs = match &mask {
            Some(m) => self.formula_inputs(m, &variable.name)?,
            None => Vec::new(),
        };
        let folded = vec![Folded {
            name: variable.name.clone(),
            from: From::Input(own),
            element: variable.view.unwrap_or(DType::Float64),
            packing: variable.packing,
            statistics: self.statistics(),
        }];
        let has_mask = mask.is_some();
        self.stage(&variable.name, mask, formula_inputs, has_mask.then_some(0), folded)
    }

    fn formulas(mut self, checked: Checked, count: usize) -> Result<Stage, LowerError> {
        let name = checked.outputs[0].name.clone();
        let formula_inputs = self.formula_inputs(&checked, &name)?;
        let mask = (checked.outputs.len() > count).then_some(count);
        let folded = checked.outputs[..count]
            .iter()
            .enumerate()
            .map(|(i, o)| Folded {
                name: o.name.clone(),
                from: From::Formula(i),
                element: DType::Float64,
                packing: Packing::NONE,
                statistics: self.statistics(),
            })
            .collect();
        self.stage(&name, Some(checked), formula_inputs, mask, folded)
    }

    fn statistics(&self) -> Vec<Statistic> {
        match self.job.statistics.is_empty() {
            true => vec![Statistic::Value],
            false => IndexSet::<Statistic>::from_iter(self.job.statistics.iter().copied()).into_iter().collect(),
        }
    }

    fn stage(
        self,
        target: &str,
        formulas: Option<Checked>,
        formula_inputs: Vec<usize>,
        mask: Option<usize>,
        folded: Vec<Folded>,
    ) -> Result<Stage, LowerError> {
        for asked in self.job.roles.keys() {
            if self.job.others == Others::Keep && !self.dims.contains(asked) {
                return Err(LowerError::NoDim {
                    variable: target.to_owned(),
                    asked: asked.clone(),
                    has: self.dims.clone(),
                });
            }
        }
        let role = |name: &str| match (self.job.roles.get(name), self.job.others) {
            (Some(role), _) => role.clone(),
            (None, Others::Keep) => Role::Keep,
            (None, Others::Reduce) => Role::Reduce,
        };
        let reduced = self.dims.iter().filter(|d| role(d) != Role::Keep).count();
        if let Some(s) = self.job.statistics.iter().find(|s| matches!(s, Statistic::ArgMin | Statistic::ArgMax))
            && reduced != 1
        {
            return Err(LowerError::OneDim { statistic: s.name(), dims: reduced });
        }
        let mut dims = Vec::new();
        for (d, name) in self.dims.iter().enumerate() {
            let mut grids = Vec::new();
            let mut length: Option<(u64, &str)> = None;
            for input in &self.inputs {
                let array = &self.arrays[input.array];
                for (axis, a) in input.axes.iter().enumerate() {
                    if *a == Axis::Walk(d) {
                        if !grids.contains(&&array.chunks[axis]) {
                            grids.push(&array.chunks[axis]);
                        }
                        match length {
                            Some((n, one)) if n != array.shape[axis] => {
                                return Err(LowerError::Lengths {
                                    dim: name.clone(),
                                    one: one.to_owned(),
                                    a: n,
                                    other: array.name.clone(),
                                    b: array.shape[axis],
                                });
                            }
                            _ => length = Some((array.shape[axis], &array.name)),
                        }
                    }
                }
            }
            let n = length.map_or_else(|| self.cube.dims.get(name).copied().unwrap_or(0), |l| l.0);
            let indices: Indices = self.job.selection.indices(name, n);
            dims.push(WalkDim::new(name, indices, role(name), &grids));
        }
        Ok(Stage {
            format: FORMAT,
            segments: None,
            dims,
            arrays: self.arrays,
            inputs: self.inputs,
            formulas,
            formula_inputs,
            mask,
            folded,
        })
    }
}
