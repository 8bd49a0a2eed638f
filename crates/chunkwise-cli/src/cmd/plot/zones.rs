//! Statistics of zones: bars, or lines along the dimension that is left.

use super::axes::{along, names, selected};
use super::map::unit_of;
use super::picture::{Picture, bytes};
use super::{Asked, MOST_LINES, dims_left};
use crate::cmd::zonal::{ZonesFrom, zones};
use crate::failed::Failed;
use crate::job::{Destination, Ready};
use crate::output::{self, Record};
use chunkwise::job::zonal::{PlacedZones, ZonalRequest};
use chunkwise::open::OpenCube;
use chunkwise_core::stat::Statistic;
use chunkwise_core::zonal::{Touch, ZonalStatistic};
use chunkwise_view::{Along, Chart, Mark, Series, Size};
use serde_json::Value;
use std::process::ExitCode;
use std::sync::Arc;

/// Bars, at most.
const MOST_BARS: u64 = 400;

pub(super) fn run(asked: &Asked<'_>, cube: OpenCube) -> Result<ExitCode, Failed> {
    let args = asked.args;
    let names_of = if args.stats.is_empty() { vec!["mean".to_owned()] } else { args.stats.clone() };
    let mut statistics: Vec<(String, ZonalStatistic)> = Vec::new();
    for name in names_of.iter().map(|name| name.trim()) {
        statistics.push((name.to_owned(), ZonalStatistic::parse(name).map_err(Failed::of)?));
    }
    let from = ZonesFrom {
        text: args.zones.as_deref().unwrap_or_default(),
        id: args.zone_id.as_deref(),
        crs: args.zones_crs.as_deref(),
        of: &asked.request,
        decode: &args.decode,
        job: &args.job,
    };
    let found = zones(&from, &cube, asked.common)?;
    let columns: Vec<String> = statistics.iter().map(|s| s.0.clone()).collect();
    let of = ZonalRequest { of: asked.request.clone(), statistics, touch: Touch::default() };
    let (placed, prepared) = PlacedZones::new(&cube, &of, &found)?;
    let rows = placed.rows(&prepared);
    let Some(stage) = prepared.results().next() else { return Err(Failed::says("the cube has no variable to draw")) };
    let left = dims_left(stage);
    if prepared.results().any(|s| dims_left(s) != left) {
        return Err(Failed::says("the variables have other dimensions, so one chart does not show them all")
            .with_hint("name one of them with `--var`"));
    }
    let bottom = left.iter().max_by_key(|d| {
        let time = matches!(prepared.labels.get(&d.0), Some(chunkwise_core::cube::Labels::Time(_)));
        (time, d.1)
    });
    let bottom = bottom.map(|d| d.0.clone());
    let things = prepared.results().map(|s| s.folded.len() as u64).sum::<u64>();
    let others: u64 = left.iter().filter(|d| Some(&d.0) != bottom.as_ref()).map(|d| d.1).product();
    let cells: u64 = left.iter().map(|d| d.1).product();
    let zone_count = rows / cells.max(1) / things.max(1);
    let lines = zone_count * others * things * columns.len() as u64;
    if bottom.is_some() && lines > MOST_LINES {
        let dims: Vec<&str> = left.iter().map(|d| d.0.as_str()).collect();
        return Err(Failed::says(format!(
            "a line for each zone would be {lines} lines; at most {MOST_LINES} are drawn"
        ))
        .with_hint(format!(
            "select one cell of `{}` for bars: `--isel {}=0`",
            dims.join("`, `"),
            dims.join("=0,")
        )));
    }
    if bottom.is_none() && zone_count > MOST_BARS {
        return Err(Failed::says(format!("{zone_count} zones are too many for bars; at most {MOST_BARS} are drawn"))
            .with_hint("`chunkwise zonal` writes tables of any length"));
    }
    let own = bytes(asked, rows.saturating_mul(columns.len() as u64), None) + rows.saturating_mul(900);
    let plan = |prepared: &_, cube: &_, limits: chunkwise::job::plan::Limits| {
        let rest = chunkwise::job::plan::Limits { memory: limits.memory.saturating_sub(own), ..limits };
        placed.plan(prepared, cube, rest).map(|mut plan| {
            plan.memory = plan.memory.saturating_add(own);
            plan
        })
    };
    let ready = Ready::planned(Arc::new(cube), prepared, Destination::Nothing, &args.job, 0, None, plan)?;
    if args.job.explain {
        return ready.explain(asked.common.json());
    }
    ready.deliver_by(asked.common, |cube, prepared, plan, counters, options| {
        let mut records: Vec<Record> = Vec::new();
        placed.run(prepared, cube, plan, counters, options, |record| {
            records.push(record);
            Ok::<(), Failed>(())
        })?;
        let text = |v: Option<&Value>| v.map(output::shown).unwrap_or_default();
        let mut zone_names: Vec<String> = Vec::new();
        for record in &records {
            let name = text(record.get("zone"));
            if zone_names.len() < zone_count as usize {
                let wanted = zone_names.len() * cells as usize;
                if records.get(wanted).is_some_and(|r| std::ptr::eq(r, record)) {
                    zone_names.push(name);
                }
            }
        }
        let mut series = Vec::new();
        let value = |record: &Record, column: &str| record.get(column).and_then(Value::as_f64).unwrap_or(f64::NAN);
        for of in records.chunks(((zone_count * cells) as usize).max(1)) {
            let variable = text(of.first().and_then(|r| r.get("variable")));
            for column in &columns {
                let own = match (things > 1, columns.len() > 1) {
                    (true, true) => format!("{variable} {column}"),
                    (true, false) => variable.clone(),
                    (false, true) => column.clone(),
                    (false, false) => String::new(),
                };
                let Some(bottom) = &bottom else {
                    series.push(Series { name: own, values: of.iter().map(|r| value(r, column)).collect() });
                    continue;
                };
                let other_dims: Vec<&(String, u64)> = left.iter().filter(|d| d.0 != *bottom).collect();
                let labels: Vec<Vec<String>> = other_dims.iter().map(|d| names(prepared, &d.0)).collect();
                for (zone, part) in of.chunks((cells as usize).max(1)).enumerate() {
                    for other in 0..others {
                        let (mut rest, mut at) = (other, vec![0u64; other_dims.len()]);
                        for (d, dim) in other_dims.iter().enumerate().rev() {
                            at[d] = rest % dim.1;
                            rest /= dim.1;
                        }
                        let index = |i: u64| {
                            left.iter().fold(0u64, |cell, (dim, length)| {
                                let place = other_dims.iter().position(|o| o.0 == *dim).map(|d| at[d]);
                                cell * length + place.unwrap_or(i)
                            }) as usize
                        };
                        let length = left.iter().find(|d| d.0 == *bottom).map_or(1, |d| d.1);
                        let zone_name = zone_names.get(zone).cloned().unwrap_or_default();
                        let of_others = at.iter().zip(&labels).filter_map(|(&i, l)| l.get(i as usize).cloned());
                        let name: Vec<String> =
                            [own.clone(), zone_name].into_iter().chain(of_others).filter(|n| !n.is_empty()).collect();
                        let values = (0..length).map(|i| value(&part[index(i)], column)).collect();
                        series.push(Series { name: name.join(", "), values });
                    }
                }
            }
        }
        let stage = prepared.results().next();
        let variable_of = stage.and_then(super::map::variable).filter(|_| things == 1);
        let statistic = columns.first().and_then(|c| Statistic::from_name(c)).unwrap_or(Statistic::Value);
        let (what, _) = match stage {
            Some(stage) => super::chart::named(asked, stage, 0, Statistic::Value),
            None => Default::default(),
        };
        let unit =
            if columns.iter().any(|c| c == "coverage") { "cells".to_owned() } else { unit_of(variable_of, statistic) };
        let heading = if things == 1 { format!("{} of {what}", columns.join(", ")) } else { columns.join(", ") };
        let label = if unit.is_empty() { heading.clone() } else { format!("{heading} ({unit})") };
        let title = match &args.title {
            Some(title) => title.clone(),
            None => {
                let mut parts = vec![format!("{heading} by zone")];
                parts.extend(selected(cube, prepared)?);
                parts.join(", ")
            }
        };
        let told = Record::from_iter([("zones".to_owned(), zone_count.into())]);
        let (along, mark) = match &bottom {
            Some(dim) => (along(cube, prepared, dim), Mark::Lines),
            None => (Along::Names { label: "zone".to_owned(), names: zone_names }, Mark::Bars),
        };
        let size = Size { width: args.width, height: args.height };
        let chart = Chart { title, notes: Vec::new(), along, label, range: args.range, series, mark, size };
        Picture::Chart(&chart).save(asked, told)
    })
}
