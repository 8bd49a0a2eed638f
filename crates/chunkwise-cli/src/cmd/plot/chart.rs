//! Charts: lines, and histograms.

use super::Asked;
use super::axes::{along, names, selected};
use super::map::{unit_of, variable};
use super::picture::{Picture, bytes};
use crate::failed::Failed;
use crate::job::{Destination, Ready};
use crate::output::Record;
use chunkwise::job::numbers::Coarse;
use chunkwise::job::{Over, Prepared, prepare};
use chunkwise::open::OpenCube;
use chunkwise::sink::blocks::Blocks;
use chunkwise::sink::histogram::Binning;
use chunkwise_core::plan::Stage;
use chunkwise_core::stat::Statistic;
use chunkwise_view::{Along, Chart, Mark, Series, Size};
use indexmap::IndexMap;
use serde_json::json;
use std::process::ExitCode;

/// Values of a chart, at most.
const MOST_VALUES: u64 = 200_000;

/// `mean of ndvi over time`.
pub(super) fn of_statistic(what: &str, statistic: Statistic, asked: &Asked<'_>) -> String {
    let request = &asked.request;
    let over = match &request.over {
        Over::Dims(dims) => format!(" over {}", dims.join(", ")),
        Over::All => " over all dimensions".to_owned(),
        _ => String::new(),
    };
    let by = match (&request.cycle, &asked.args.every) {
        (Some(cycle), _) => format!(" by {}", cycle.name()),
        (None, Some(every)) => format!(" every {every}"),
        _ => String::new(),
    };
    match asked.args.anomaly {
        true => format!("{what} less its {}{over}{by}", statistic.name()),
        false => format!("{} of {what}{over}{by}", statistic.name()),
    }
}

/// What the `f`-th thing that a stage folds is called above a picture, and beside its values with their unit.
pub(super) fn named(asked: &Asked<'_>, stage: &Stage, f: usize, statistic: Statistic) -> (String, String) {
    let Some(folded) = stage.folded.get(f) else { return Default::default() };
    let own = variable(stage).filter(|v| v.name == folded.name);
    let long = own.and_then(|v| v.attrs.get("long_name")).and_then(|n| n.as_str()).map(|n| n.replace('_', " "));
    let name = long.filter(|n| !n.trim().is_empty()).unwrap_or_else(|| folded.name.replace('_', " "));
    let unit = unit_of(own, statistic);
    let short = match statistic {
        Statistic::Value => name.clone(),
        Statistic::Mean if !asked.args.anomaly => name.clone(),
        s if asked.args.anomaly => format!("{name} less its {}", s.name()),
        s => format!("{} of {name}", s.name()),
    };
    let label = if unit.is_empty() { short } else { format!("{short} ({unit})") };
    let title = if statistic == Statistic::Value { name } else { of_statistic(&name, statistic, asked) };
    (title, label)
}

/// Lines along a dimension, one for each cell of the others, each variable and each statistic.
pub(super) fn lines(asked: &Asked<'_>, cube: OpenCube, prepared: Prepared, bottom: &str) -> Result<ExitCode, Failed> {
    let values: u64 = prepared.rows();
    let statistics: u64 =
        prepared.results().flat_map(|s| &s.folded).map(|f| f.statistics.len() as u64).max().unwrap_or(1);
    let values = values.saturating_mul(statistics);
    if values > MOST_VALUES {
        return Err(Failed::says(format!("the chart would have {values} values; at most {MOST_VALUES} are drawn"))
            .with_hint("select a part, or pass a window such as `--every 1month --with mean`"));
    }
    let coarse = Coarse { sizes: IndexMap::new(), how: Blocks::Mean };
    // Of a value: its row in Vega-Lite.
    let own = bytes(asked, values, None) + values * 600;
    let plan = |p: &Prepared, c: &OpenCube, limits| p.plan_numbers(c, &coarse, own, limits);
    let ready = Ready::planned(cube.into(), prepared, Destination::Nothing, &asked.args.job, 0, None, plan)?;
    if asked.args.job.explain {
        return ready.explain(asked.common.json());
    }
    ready.deliver_by(asked.common, |cube, prepared, plan, counters, options| {
        let numbers = prepared.numbers(cube, plan, counters, options, &coarse)?;
        let mut series = Vec::new();
        let many = numbers.len() > 1;
        let stages: Vec<&Stage> = prepared.results().collect();
        let mut labels: Vec<String> = Vec::new();
        let mut titles: Vec<String> = Vec::new();
        for n in &numbers {
            let stage = stages.iter().find(|s| s.folded.iter().any(|f| f.name == n.name));
            let Some(stage) = stage else { continue };
            let f = stage.folded.iter().position(|f| f.name == n.name).unwrap_or(0);
            let (title, label) = named(asked, stage, f, n.statistic);
            titles.push(title);
            labels.push(label);
            let own = match (many, n.statistic) {
                (false, _) => String::new(),
                (true, Statistic::Value) => n.name.clone(),
                (true, s) => format!("{} {}", n.name, s.name()),
            };
            let others: Vec<(&str, u64)> =
                n.dims.iter().filter(|d| d.0 != bottom && d.1 > 1).map(|d| (d.0.as_str(), d.1)).collect();
            let texts: Vec<Vec<String>> = others.iter().map(|d| names(prepared, d.0)).collect();
            let count: u64 = others.iter().map(|d| d.1).product();
            for line in 0..count {
                let (mut rest, mut at) = (line, vec![0u64; others.len()]);
                for (d, other) in others.iter().enumerate().rev() {
                    at[d] = rest % other.1;
                    rest /= other.1;
                }
                let own_labels = at.iter().zip(&texts).map(|(&i, t)| t.get(i as usize).cloned().unwrap_or_default());
                let name: Vec<String> =
                    std::iter::once(own.clone()).chain(own_labels).filter(|n| !n.is_empty()).collect();
                let index = |i: u64| {
                    n.dims.iter().fold(0u64, |cell, (dim, length)| {
                        let place = others.iter().position(|o| o.0 == dim).map(|d| at[d]);
                        cell * length + if dim == bottom { i } else { place.unwrap_or(0) }
                    }) as usize
                };
                let length = n.dims.iter().find(|d| d.0 == bottom).map_or(1, |d| d.1);
                let values = (0..length).map(|i| n.values[index(i)]).collect();
                series.push(Series { name: name.join(", "), values });
            }
        }
        let mut all: Vec<String> = Vec::new();
        for label in labels {
            if !all.contains(&label) {
                all.push(label);
            }
        }
        titles.dedup();
        let title = match &asked.args.title {
            Some(title) => title.clone(),
            None => {
                let mut parts = vec![titles.join(", ")];
                parts.extend(selected(cube, prepared)?);
                parts.join(", ")
            }
        };
        let along = along(cube, prepared, bottom);
        let chart = Chart {
            title,
            notes: Vec::new(),
            along,
            label: all.join(", "),
            range: asked.args.range,
            series,
            mark: Mark::Lines,
            size: Size { width: asked.args.width, height: asked.args.height },
        };
        let told = Record::from_iter([("lines".to_owned(), chart.series.len().into())]);
        Picture::Chart(&chart).save(asked, told)
    })
}

/// A histogram of all cells: in a first walk their least and greatest value, where `--range` does not say it.
pub(super) fn histogram(asked: &Asked<'_>, cube: OpenCube) -> Result<ExitCode, Failed> {
    let prepared = prepare(&cube, &asked.request)?;
    let fields: usize = prepared.results().flat_map(|s| &s.folded).map(|f| f.statistics.len()).sum();
    if fields != 1 {
        return Err(Failed::says(format!("a histogram shows one variable; there are {fields}"))
            .with_hint("name one with `--var`, and one statistic"));
    }
    let own = bytes(asked, u64::from(asked.args.bins), None);
    let plan = |p: &Prepared, c: &OpenCube, limits| p.plan_beside(c, own, limits);
    let ready = Ready::planned(cube.into(), prepared, Destination::Nothing, &asked.args.job, 0, None, plan)?;
    if asked.args.job.explain {
        return ready.explain(asked.common.json());
    }
    ready.deliver_by(asked.common, |cube, prepared, plan, counters, options| {
        let Some(stage) = prepared.results().next() else { return Ok(()) };
        let extent = match asked.args.range {
            Some(range) => range,
            None => prepared.extent(cube, plan, counters, options)?.unwrap_or((0.0, 1.0)),
        };
        let whole = variable(stage).is_some_and(|v| v.packing.is_none() && v.view.is_some_and(|t| !t.is_float()));
        let kept = chunkwise::job::keeps_stored(asked.statistic(stage)) && !asked.args.anomaly;
        let binning = Binning::new(extent, asked.args.bins as usize, whole && kept && asked.args.range.is_none());
        let found = prepared.histogram(cube, plan, counters, options, &binning)?;
        let (title, label) = named(asked, stage, 0, asked.statistic(stage));
        let title = match &asked.args.title {
            Some(title) => title.clone(),
            None => {
                let mut parts = vec![title];
                parts.extend(selected(cube, prepared)?);
                parts.join(", ")
            }
        };
        let mut notes = vec![format!("{} cells, {} missing", found.inside + found.outside, found.missing)];
        if found.outside > 0 {
            notes[0] += &format!(", {} outside of the range", found.outside);
        }
        let counts: Vec<f64> = found.counts.iter().map(|&c| c as f64).collect();
        let mut told = Record::new();
        told.insert("edges".to_owned(), json!(binning.edges()));
        told.insert("counts".to_owned(), json!(found.counts));
        told.insert("missing".to_owned(), found.missing.into());
        told.insert("outside".to_owned(), found.outside.into());
        let chart = Chart {
            title,
            notes,
            along: Along::Bins { label, edges: binning.edges() },
            label: "cells".to_owned(),
            range: None,
            series: vec![Series { name: "cells".to_owned(), values: counts }],
            mark: Mark::Bars,
            size: Size { width: asked.args.width, height: asked.args.height },
        };
        Picture::Chart(&chart).save(asked, told)
    })
}
