//! From files to a stack: which scene is of which time, which layer is which band, and whether they go together.

use super::align::Values;
use super::error::Difference;
use super::grid::{Grid, GridRequest, Mapping, Way, control_points};
use super::names::natural;
use super::source::{Linear, Source, SourceVariable};
use super::{ImportError, ImportOptions, Nodata, Target};
use chunkwise_core::crs::Crs;
use chunkwise_core::cube::Labels;
use chunkwise_core::dtype::{DType, Scalar};
use indexmap::IndexMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A layer of a source: a plane of cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// Number of the source.
    pub(super) source: usize,
    /// Number of its variable.
    pub(super) variable: usize,
    /// Index along its dimensions but y and x.
    pub(super) lead: Vec<u64>,
}

/// What was seen at one time from one place: a layer for each band.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// For messages.
    pub(super) name: String,
    pub(super) layers: Vec<Layer>,
    /// The layer that says for all bands which cells count.
    pub(super) by: Option<Layer>,
}

/// All scenes, and what the cube is made of them.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    /// Nanoseconds since 1970, ascending; `None`: there is no time.
    pub(super) times: Option<Vec<i128>>,
    /// Names of the bands.
    pub(super) bands: Labels,
    /// By time: its scenes in order.
    pub(super) slots: Vec<Vec<Scene>>,
    pub(super) grid: Grid,
    /// By source.
    pub(super) mappings: Vec<Mapping>,
    /// Type of the cube, and how stored values become its values.
    pub(super) dtype: DType,
    pub(super) mark: Option<Scalar>,
    pub(super) packing: Linear,
    /// Mark of stored values, by source.
    pub(super) values: Vec<Values>,
    /// Whether values are decoded for want of a mark.
    pub(super) widened: bool,
}

/// What the names say.
struct Named {
    time: i128,
    scene: String,
    bands: Vec<(String, Layer)>,
}

/// A band's label as text.
fn texts(labels: &Labels, count: u64) -> Vec<String> {
    match labels {
        Labels::Text(names) => names.clone(),
        Labels::Integer(numbers) => numbers.iter().map(i64::to_string).collect(),
        _ => (1..=count).map(|i| i.to_string()).collect(),
    }
}

impl Stack {
    /// Sorts the files.
    ///
    /// # Errors
    /// A file without a time or band in its name, files that differ where they may not, scenes that lack a band.
    pub(super) fn new(sources: &[Arc<dyn Source>], options: &ImportOptions) -> Result<Stack, ImportError> {
        let Some(first) = sources.first() else { return Err(ImportError::asked("there are no files", "")) };
        let (named, all) = named(sources, options)?;
        let bands = chosen(&all, &options.bands)?;
        let by = match &options.mosaic_by {
            None => None,
            Some(band) => Some(chosen(&all, std::slice::from_ref(band))?[0].clone()),
        };
        let mut slots: BTreeMap<i128, IndexMap<String, IndexMap<String, Layer>>> = BTreeMap::new();
        for file in named {
            let scene = slots.entry(file.time).or_default().entry(file.scene).or_default();
            for (band, layer) in file.bands {
                if let Some(other) = scene.get(&band) {
                    return Err(ImportError::Differ(Box::new(Difference {
                        what: "nothing that is in their names",
                        one: sources[other.source].location().to_owned(),
                        one_has: format!("band `{band}`"),
                        other: sources[layer.source].location().to_owned(),
                        other_has: format!("band `{band}`"),
                        hint: "give one of them only".to_owned(),
                    })));
                }
                scene.insert(band, layer);
            }
        }
        let times = options.time.is_some().then(|| slots.keys().copied().collect());
        let slots =
            slots.into_values().map(|scenes| scenes_of(scenes, &bands, by.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if let (None, None, [scenes]) = (&times, options.mosaic, slots.as_slice())
            && scenes.len() > 1
            && matches!(options.target, Target::Files)
        {
            return Err(ImportError::asked(
                format!("{} files, and nothing says which time or band each is", scenes.len()),
                "find times in their names with `--time-from '%Y%m%d'`, bands with `--band-from`, or lay them on each other \
                 with `--mosaic first`",
            ));
        }
        let used: Vec<(usize, &SourceVariable, &Layer)> = slots
            .iter()
            .flatten()
            .flat_map(|s| s.layers.iter().chain(&s.by))
            .map(|l| (l.source, &sources[l.source].variables()[l.variable], l))
            .collect();
        let grid = grid(sources, options)?;
        let mappings = sources
            .iter()
            .map(|s| match options.target {
                Target::Files => Ok(Mapping::same(&grid)),
                _ => Mapping::new(s.location(), s.placement(), size(&**s), &grid),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let gaps = slots.iter().any(|scenes| {
            let whole = |s: &Scene| s.layers.iter().all(|l| covers_all(&mappings[l.source], &grid));
            !scenes.iter().any(whole)
        }) || used.iter().any(|(_, v, _)| v.masked);
        let typed = typed(sources, &used, options, gaps)?;
        let labels = match (first.variables().first().and_then(|v| v.labels.first()), &options.band) {
            (Some((_, Labels::Integer(_))), None) => {
                Labels::Integer(bands.iter().map(|b| b.parse().unwrap_or_default()).collect())
            }
            _ => Labels::Text(bands),
        };
        let Typed { dtype, mark, packing, values, widened } = typed;
        Ok(Stack { times, bands: labels, slots, grid, mappings, dtype, mark, packing, values, widened })
    }

    /// Most scenes of one time.
    pub(super) fn deepest(&self) -> u64 {
        self.slots.iter().map(Vec::len).max().unwrap_or(0) as u64
    }
}

/// Columns and rows of a source.
pub(super) fn size(source: &dyn Source) -> (u64, u64) {
    match source.variables().first().map(|v| v.shape.as_slice()) {
        Some([.., rows, columns]) => (*columns, *rows),
        _ => (0, 0),
    }
}

fn covers_all(mapping: &Mapping, grid: &Grid) -> bool {
    let all = mapping.covers.x == (0, grid.columns) && mapping.covers.y == (0, grid.rows);
    all && matches!(mapping.way, Way::Copy { .. })
}

/// Times, scenes and bands of the files, sorted by time and name; and the bands that there are.
fn named(sources: &[Arc<dyn Source>], options: &ImportOptions) -> Result<(Vec<Named>, Vec<String>), ImportError> {
    let mut named = Vec::with_capacity(sources.len());
    let mut all: Vec<String> = Vec::new();
    for (number, source) in sources.iter().enumerate() {
        let location = source.location();
        let [variable, ..] = source.variables() else {
            return Err(ImportError::unfit(location, "holds nothing", ""));
        };
        let time = options.time.as_ref().map_or(Ok(0), |pattern| pattern.find(location))?;
        let layer = |band: u64| Layer { source: number, variable: 0, lead: vec![band] };
        let count = variable.shape.first().copied().unwrap_or(0);
        let own = texts(variable.labels.first().map_or(&Labels::Index(0), |(_, l)| l), count);
        let (scene, bands) = match &options.band {
            Some(pattern) => {
                let (band, scene) = pattern.find(location)?;
                if count != 1 {
                    return Err(ImportError::unfit(
                        location,
                        format!("has {count} bands, and its name is to tell one"),
                        "leave out `--band-from`",
                    ));
                }
                if !all.contains(&band) {
                    all.push(band.clone());
                }
                (scene, vec![(band, layer(0))])
            }
            None => {
                match named.first() {
                    None => all.clone_from(&own),
                    Some(_) if all == own => {}
                    Some(_) => {
                        return Err(ImportError::Differ(Box::new(Difference {
                            what: "their bands",
                            one: sources[0].location().to_owned(),
                            one_has: all.join(", "),
                            other: location.to_owned(),
                            other_has: own.join(", "),
                            hint: "where each file is one band, name them with `--band-from`".to_owned(),
                        })));
                    }
                }
                (location.to_owned(), own.into_iter().zip((0..count).map(layer)).collect())
            }
        };
        named.push(Named { time, scene, bands });
    }
    named.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| natural(&a.scene, &b.scene)));
    if options.band.is_some() {
        all.sort_by(|a, b| natural(a, b));
    }
    Ok((named, all))
}

/// The bands asked for, in their order; all where none are.
fn chosen(all: &[String], asked: &[String]) -> Result<Vec<String>, ImportError> {
    if asked.is_empty() {
        return Ok(all.to_vec());
    }
    let find = |name: &String| {
        let found = all.iter().find(|b| *b == name);
        found
            .cloned()
            .ok_or_else(|| ImportError::asked(format!("there is no band `{name}`; there are {}", all.join(", ")), ""))
    };
    let found = asked.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    match found.iter().enumerate().find(|(i, b)| found[..*i].contains(b)) {
        Some((_, twice)) => Err(ImportError::asked(format!("band `{twice}` is named twice"), "")),
        None => Ok(found),
    }
}

/// The scenes of one time, each with all bands.
fn scenes_of(
    scenes: IndexMap<String, IndexMap<String, Layer>>,
    bands: &[String],
    by: Option<&String>,
) -> Result<Vec<Scene>, ImportError> {
    let scene = |(name, found): (String, IndexMap<String, Layer>)| {
        let layer = |band: &String| {
            found.get(band).cloned().ok_or_else(|| {
                let problem = format!("has no band `{band}`, which other scenes have");
                ImportError::unfit(
                    &name,
                    problem,
                    "choose bands that all scenes have with `--bands`, or leave the scene out",
                )
            })
        };
        let layers = bands.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
        let by = by.map(layer).transpose()?;
        Ok(Scene { layers, by, name })
    };
    scenes.into_iter().map(scene).collect()
}

/// The grid of the cube.
fn grid(sources: &[Arc<dyn Source>], options: &ImportOptions) -> Result<Grid, ImportError> {
    let own = |s: &dyn Source| {
        let (columns, rows) = size(s);
        Grid { crs: s.placement().crs.clone(), transform: s.placement().transform, columns, rows }
    };
    if let Some(bad) = sources.iter().find(|s| s.placement().control_points > 1) {
        return Err(control_points(bad.location(), bad.placement().control_points));
    }
    let first = own(&*sources[0]);
    let differ = |what, other: &dyn Source, one_has: String, other_has: String| {
        let res = first.transform.map_or_else(
            || "30".to_owned(),
            |t| if t.a.abs() == t.e.abs() { t.a.abs().to_string() } else { format!("{},{}", t.a.abs(), t.e.abs()) },
        );
        let crs = first.crs.as_ref().map_or_else(|| "EPSG:4326".to_owned(), Crs::label);
        ImportError::Differ(Box::new(Difference {
            what,
            one: sources[0].location().to_owned(),
            one_has,
            other: other.location().to_owned(),
            other_has,
            hint: format!("align them to one grid, as with `--crs {crs} --res {res}` or `--like CUBE`"),
        }))
    };
    let label = |g: &Grid| g.crs.as_ref().map_or_else(|| "none".to_owned(), Crs::label);
    let one_crs = |other: &dyn Source| {
        let grid = own(other);
        let same = match (&first.crs, &grid.crs) {
            (Some(a), Some(b)) => a.same_as(b),
            (None, None) => true,
            _ => false,
        };
        if same { Ok(grid) } else { Err(differ("their CRS", other, label(&first), label(&grid))) }
    };
    match &options.target {
        Target::Like(grid) => Ok(grid.clone()),
        Target::Asked(request) => {
            if request.crs.is_none() {
                sources.iter().try_for_each(|s| one_crs(&**s).map(|_| ()))?;
            }
            asked(request, sources)
        }
        Target::Files => {
            if first.transform.is_some_and(|t| t.is_rotated()) {
                return Err(ImportError::unfit(
                    sources[0].location(),
                    "is rotated: its rows are not along x",
                    "align it to a grid that is not, with `--crs`, `--res` or `--like`",
                ));
            }
            for source in &sources[1..] {
                let grid = one_crs(&**source)?;
                if !first.same_cells(&grid) {
                    return Err(differ("their grid", &**source, first.told(), grid.told()));
                }
            }
            Ok(first)
        }
    }
}

fn asked(request: &GridRequest, sources: &[Arc<dyn Source>]) -> Result<Grid, ImportError> {
    Grid::asked(request, sources.iter().map(|s| (s.location(), s.placement(), size(&**s))))
}

struct Typed {
    dtype: DType,
    mark: Option<Scalar>,
    packing: Linear,
    values: Vec<Values>,
    widened: bool,
}

/// The type of the cube and what its values are.
fn typed(
    sources: &[Arc<dyn Source>],
    used: &[(usize, &SourceVariable, &Layer)],
    options: &ImportOptions,
    gaps: bool,
) -> Result<Typed, ImportError> {
    let mark_of = |v: &SourceVariable| -> Result<Option<Scalar>, ImportError> {
        match &options.nodata {
            None => Ok(v.missing),
            Some(Nodata::Nothing) => Ok(None),
            Some(Nodata::Value(text)) => stored(text, v.dtype).map(Some),
        }
    };
    let marks = sources
        .iter()
        .map(|s| s.variables().first().map_or(Ok(None), &mark_of))
        .collect::<Result<Vec<Option<Scalar>>, _>>()?;
    let decoded = |dtype, widened| Typed {
        dtype,
        mark: Some(Scalar::Float(f64::NAN)),
        packing: Linear::default(),
        values: marks.iter().map(|&m| Values::Decoded(m)).collect(),
        widened,
    };
    let Some(&(number, first, layer)) = used.first() else { return Ok(decoded(DType::Float64, false)) };
    if let Some(asked) = options.dtype.filter(|&d| d != first.dtype || used.iter().any(|(_, v, _)| v.dtype != d)) {
        return match asked {
            DType::Float32 | DType::Float64 => Ok(decoded(asked, false)),
            other => Err(ImportError::asked(
                format!("`--dtype {other}`: cells are stored as they are, or decoded to a float"),
                "write `--dtype float32` or `--dtype float64`, or leave it out",
            )),
        };
    }
    let packed = |v: &SourceVariable, l: &Layer| v.packing_of(l.lead.first().copied().unwrap_or(0));
    let packing = packed(first, layer);
    // Of a float that is asked for by name, as it is stored.
    let hint = "decode them with `--dtype float32` or `--dtype float64`";
    let differ = |what, other: usize, one_has: String, other_has: String, hint: &str| {
        ImportError::Differ(Box::new(Difference {
            what,
            one: sources[number].location().to_owned(),
            one_has,
            other: sources[other].location().to_owned(),
            other_has,
            hint: hint.to_owned(),
        }))
    };
    let told = |mark: &Option<Scalar>| match mark {
        None => "none".to_owned(),
        Some(Scalar::Int(v)) => v.to_string(),
        Some(Scalar::UInt(v)) => v.to_string(),
        Some(Scalar::Float(v)) => v.to_string(),
    };
    for &(other, variable, layer) in used {
        if variable.dtype != first.dtype {
            return Err(differ("their type", other, first.dtype.to_string(), variable.dtype.to_string(), hint));
        }
        let same = |a: Option<Scalar>, b: Option<Scalar>| match (a, b) {
            (Some(Scalar::Float(a)), Some(Scalar::Float(b))) => a == b || a.is_nan() && b.is_nan(),
            (a, b) => a == b,
        };
        if !same(marks[number], marks[other]) {
            let hint = format!("{hint}, or say what it is with `--nodata VALUE`");
            return Err(differ("their nodata value", other, told(&marks[number]), told(&marks[other]), &hint));
        }
        let own = packed(variable, layer);
        if own != packing && other == number {
            return Err(ImportError::unfit(
                sources[number].location(),
                format!("has bands of different packing: {packing}, {own}"),
                format!("{hint}, or choose bands that share it with `--bands`"),
            ));
        }
        if own != packing {
            return Err(differ("their packing", other, packing.to_string(), own.to_string(), hint));
        }
    }
    let mark = marks[number].or_else(|| first.dtype.is_float().then_some(Scalar::Float(f64::NAN)));
    if mark.is_none() && gaps {
        if first.dtype.size() == 8 {
            return Err(ImportError::asked(
                format!("cells may be missing, and nothing marks them; a float does not hold every {}", first.dtype),
                "name a value that no cell has with `--nodata VALUE`, or pass `--dtype float64`",
            ));
        }
        return Ok(decoded(first.dtype.result_float(), true));
    }
    let values = marks.iter().map(|&m| Values::Stored(m)).collect();
    Ok(Typed { dtype: first.dtype, mark, packing, values, widened: false })
}

/// A nodata value as the type stores it.
fn stored(text: &str, dtype: DType) -> Result<Scalar, ImportError> {
    super::scalar(text.trim(), dtype).ok_or_else(|| {
        ImportError::asked(format!("`--nodata {text}` is no {dtype}"), "write a value that cells may hold, or `none`")
    })
}
