//! Vega-Lite: specifications with their data, and pages that draw them without a network.

use crate::axis::{Axis, AxisKind};
use crate::chart::{Along, Chart, Mark};
use crate::map::{Field, Layer, Map};
use crate::palette::category;
use crate::png::data_url;
use crate::svg::escaped;
use crate::ticks::SECOND;
use chunkwise_core::cf::time::{Calendar, format_time};
use serde_json::{Map as Object, Value, json};

const SCHEMA: &str = "https://vega.github.io/schema/vega-lite/v6.json";
/// Cells of a map that are drawn one by one, each with what it says under the pointer; a larger map is one image.
const SINGLE: usize = 12_000;

const VEGA: &str = include_str!("../assets/vega/vega.min.js");
const VEGA_LITE: &str = include_str!("../assets/vega/vega-lite.min.js");
const VEGA_EMBED: &str = include_str!("../assets/vega/vega-embed.min.js");

/// A page that draws a Vega-Lite specification and loads nothing.
pub fn html(title: &str, spec: &Value) -> String {
    // Within a script, `</script>` or `<!--` in a text would end or change it.
    let data = spec.to_string().replace('<', "\\u003c");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>body {{ margin: 16px; font-family: sans-serif; }}</style>\n\
         <script>{VEGA}</script>\n<script>{VEGA_LITE}</script>\n<script>{VEGA_EMBED}</script>\n</head>\n<body>\n\
         <div id=\"picture\"></div>\n<script id=\"spec\" type=\"application/json\">{data}</script>\n<script>\n\
         vegaEmbed('#picture', JSON.parse(document.getElementById('spec').textContent), {{actions: {{editor: false}}}})\n  \
         .catch(error => {{ document.getElementById('picture').textContent = String(error); }});\n</script>\n</body>\n</html>\n",
        escaped(title)
    )
}

/// A number, or null where it is missing.
fn number(value: f64) -> Value {
    if value.is_finite() { value.into() } else { Value::Null }
}

fn title(text: &str, notes: &[String]) -> Value {
    match notes {
        [] => json!(text),
        notes => json!({"text": text, "subtitle": notes}),
    }
}

/// What axes of degrees write.
fn axis_of(axis: &Axis) -> Value {
    let signs = |sides: [&str; 2], value: &str| {
        format!("format(abs({value}), '~g') + '°' + ({value} < 0 ? '{}' : {value} > 0 ? '{}' : '')", sides[0], sides[1])
    };
    match axis.kind {
        AxisKind::Longitude => {
            json!({"title": axis.label, "labelExpr": signs(["W", "E"], "((datum.value + 180) % 360 - 180)"), "grid": false})
        }
        AxisKind::Latitude => {
            json!({"title": axis.label, "labelExpr": signs(["S", "N"], "datum.value"), "grid": false})
        }
        _ => json!({"title": axis.label, "format": "~f", "grid": false}),
    }
}

impl Map {
    /// The map as a Vega-Lite specification. Few cells are marks of their own, many are one image.
    pub fn vega_lite(&self) -> Value {
        let drawing = self.draw();
        let frame = drawing.frame;
        let (x, y) = (self.x.bounds(), self.y.bounds());
        let place = |axis: &Axis, field: &str, bounds: (f64, f64)| {
            let mut scale = json!({"domain": [bounds.0, bounds.1], "nice": false, "zero": false});
            if axis.kind == AxisKind::Index && field == "y" {
                scale["reverse"] = true.into();
            }
            json!({"field": field, "type": "quantitative", "scale": scale, "axis": axis_of(axis)})
        };
        let (along, up) = (place(&self.x, "x", x), place(&self.y, "y", y));
        let cells = self.x.cells() * self.y.cells();
        let mut layers = Vec::new();
        match (&self.layer, cells <= SINGLE) {
            (Layer::Field(_) | Layer::Classes { .. }, true) => layers.push(self.cell_marks(&along, &up)),
            _ => {
                let image = data_url(frame.width, frame.height, &self.pixels(frame.width, frame.height));
                layers.push(json!({
                    "data": {"values": [{"x": f64::midpoint(x.0, x.1), "y": f64::midpoint(y.0, y.1), "image": image}]},
                    "mark": {"type": "image", "width": frame.width, "height": frame.height, "aspect": false},
                    "encoding": {"x": along, "y": up, "url": {"field": "image", "type": "nominal"}}
                }));
                layers.extend(self.key_mark(&along, &up));
            }
        }
        if !self.outlines.is_empty() {
            let clipped = self.outlines.iter().flat_map(|line| crate::drawing::clipped(line, x, y));
            let points: Vec<Value> = clipped
                .enumerate()
                .flat_map(|(i, line)| {
                    line.into_iter()
                        .enumerate()
                        .map(move |(k, (x, y))| json!({"outline": i, "order": k, "x": x, "y": y}))
                })
                .collect();
            layers.push(json!({
                "data": {"values": points},
                "mark": {"type": "line", "color": "#141414", "strokeWidth": 1},
                "encoding": {
                    "x": along, "y": up,
                    "detail": {"field": "outline", "type": "nominal"},
                    "order": {"field": "order", "type": "quantitative"}
                }
            }));
        }
        json!({
            "$schema": SCHEMA,
            "title": title(&self.title, &self.notes),
            "width": frame.width,
            "height": frame.height,
            "background": "white",
            "layer": layers
        })
    }

    /// The colour of each of so many pixels.
    fn pixels(&self, width: u32, height: u32) -> Vec<[u8; 4]> {
        let columns = self.x.cells_of(width, self.x.across());
        let colour = self.layer.colours();
        let rows = self.y.cells_of(height, self.y.down());
        let at = |r: &usize| columns.iter().map(|c| r * self.x.cells() + c).collect::<Vec<_>>();
        rows.iter().flat_map(at).map(colour).collect()
    }

    /// How values get their colours, and what tells it.
    fn colour_scale(&self) -> Value {
        match &self.layer {
            Layer::Field(f) => {
                let steps = 32;
                let hex: Vec<String> =
                    (0..=steps).map(|i| hex(f.palette.at(f64::from(i) / f64::from(steps)))).collect();
                json!({
                    "field": "value", "type": "quantitative", "title": f.label,
                    "scale": {"domain": [f.range.0, f.range.1], "range": hex, "clamp": true, "nice": false, "zero": false},
                    "legend": {"gradientLength": 240}
                })
            }
            Layer::Classes { values, classes } => {
                let used: Vec<_> = classes.iter().filter(|c| values.contains(&c.value)).collect();
                json!({
                    "field": "class", "type": "nominal", "title": null,
                    "scale": {
                        "domain": used.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(),
                        "range": used.iter().map(|c| hex(c.colour)).collect::<Vec<_>>()
                    },
                    "legend": {"symbolType": "square", "symbolOpacity": 1}
                })
            }
            Layer::Pixels(_) => Value::Null,
        }
    }

    /// A mark for each cell.
    fn cell_marks(&self, along: &Value, up: &Value) -> Value {
        let values: Vec<Value> = match &self.layer {
            Layer::Field(Field { values, .. }) | Layer::Classes { values, .. } => {
                let there = values.iter().enumerate().filter(|(_, v)| !v.is_nan());
                there.filter_map(|(i, v)| self.cell(i, *v)).collect()
            }
            Layer::Pixels(_) => Vec::new(),
        };
        let shown = if matches!(self.layer, Layer::Field(_)) { "value" } else { "class" };
        json!({
            "data": {"values": values},
            "mark": {"type": "rect", "strokeWidth": 0, "clip": true},
            "encoding": {
                "x": along, "x2": {"field": "x2"}, "y": up, "y2": {"field": "y2"},
                "color": self.colour_scale(),
                "tooltip": [
                    {"field": "cx", "type": "quantitative", "title": self.x.label},
                    {"field": "cy", "type": "quantitative", "title": self.y.label},
                    {"field": shown, "title": shown, "type": if shown == "value" { "quantitative" } else { "nominal" }}
                ]
            }
        })
    }

    fn cell(&self, i: usize, value: f64) -> Option<Value> {
        let (row, column) = (i / self.x.cells().max(1), i % self.x.cells().max(1));
        let (x, y) = (self.x.edges.get(column..column + 2)?, self.y.edges.get(row..row + 2)?);
        let mut cell = json!({
            "x": x[0], "x2": x[1], "y": y[0], "y2": y[1], "cx": f64::midpoint(x[0], x[1]), "cy": f64::midpoint(y[0], y[1])
        });
        match &self.layer {
            // JSON has no infinity; its colour is that of the end.
            Layer::Field(f) => {
                cell["value"] = if value.is_finite() { value } else { value.clamp(f.range.0, f.range.1) }.into()
            }
            Layer::Classes { classes, .. } => {
                cell["class"] = classes.iter().find(|c| c.value == value)?.name.clone().into();
            }
            Layer::Pixels(_) => {}
        }
        Some(cell)
    }

    /// Marks that are not seen, for the sake of the legend of an image.
    fn key_mark(&self, along: &Value, up: &Value) -> Option<Value> {
        let (x, y) = (self.x.bounds().0, self.y.bounds().0);
        let values: Vec<Value> = match &self.layer {
            Layer::Field(f) => [f.range.0, f.range.1].iter().map(|v| json!({"x": x, "y": y, "value": v})).collect(),
            Layer::Classes { values, classes } => {
                let used = classes.iter().filter(|c| values.contains(&c.value));
                used.map(|c| json!({"x": x, "y": y, "class": c.name})).collect()
            }
            Layer::Pixels(_) => return None,
        };
        Some(json!({
            "data": {"values": values},
            "mark": {"type": "point", "filled": true, "size": 0, "opacity": 0},
            "encoding": {"x": along, "y": up, "color": self.colour_scale()}
        }))
    }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Whether Vega's own dates are those of a calendar.
fn is_common(calendar: Calendar) -> bool {
    matches!(calendar, Calendar::Standard | Calendar::ProlepticGregorian)
}

/// Years and parts of them, in a calendar that Vega does not know.
fn years(seconds: f64, calendar: Calendar) -> Option<f64> {
    let nanos = (seconds * SECOND) as i128;
    let civil = calendar.civil(nanos)?;
    let start = |year: i64| calendar.nanos(&chunkwise_core::cf::time::CivilTime::midnight(year, 1, 1)).ok();
    let (from, to) = (start(civil.year)?, start(civil.year + 1)?);
    Some(civil.year as f64 + (nanos - from) as f64 / (to - from) as f64)
}

impl Chart {
    /// The chart as a Vega-Lite specification.
    pub fn vega_lite(&self) -> Value {
        let frame = self.draw().frame;
        let mut rows = Vec::new();
        for series in &self.series {
            for (i, &value) in series.values.iter().enumerate() {
                let mut row = Object::new();
                row.insert("series".to_owned(), series.name.clone().into());
                row.insert("value".to_owned(), number(value));
                for (name, value) in self.place(i) {
                    row.insert(name.to_owned(), value);
                }
                rows.push(Value::Object(row));
            }
        }
        let label = self.along.label();
        let mut x = match &self.along {
            Along::Values { kind: AxisKind::Time(c), .. } if is_common(*c) => {
                json!({"field": "x", "type": "temporal", "scale": {"type": "utc"}, "title": label})
            }
            Along::Values { kind: AxisKind::Time(c), .. } => {
                json!({
                    "field": "x", "type": "quantitative", "scale": {"zero": false}, "axis": {"format": "d"},
                    "title": format!("{label} (years, {})", c.name())
                })
            }
            Along::Values { .. } | Along::Bins { .. } => {
                json!({"field": "x", "type": "quantitative", "scale": {"zero": false, "nice": false}, "title": label})
            }
            Along::Names { names, .. } => json!({"field": "x", "type": "ordinal", "sort": names, "title": label}),
        };
        let mut y = json!({"field": "value", "type": "quantitative", "title": self.label});
        y["scale"] = match self.range {
            Some((low, high)) => json!({"domain": [low, high], "nice": false, "clamp": true}),
            None => json!({"zero": self.mark == Mark::Bars}),
        };
        let shown = if matches!(self.along, Along::Values { kind: AxisKind::Time(_), .. }) { "time" } else { "x" };
        let mut tooltip = vec![
            json!({"field": shown, "type": "nominal", "title": label}),
            json!({"field": "value", "type": "quantitative"}),
        ];
        let mut encoding = json!({});
        if self.series.len() > 1 {
            let names: Vec<&str> = self.series.iter().map(|s| s.name.as_str()).collect();
            let range: Vec<String> = (0..names.len()).map(|i| hex(category(i))).collect();
            encoding["color"] = json!({"field": "series", "type": "nominal", "title": null, "scale": {"domain": names, "range": range}});
            tooltip.insert(0, json!({"field": "series", "type": "nominal"}));
            if self.mark == Mark::Bars && matches!(self.along, Along::Names { .. }) {
                encoding["xOffset"] = json!({"field": "series", "sort": names});
            }
        }
        let colour = hex(category(0));
        let mark = match self.mark {
            Mark::Lines => {
                json!({"type": "line", "point": {"size": 18}, "invalid": "break-paths-filter-domains", "color": colour})
            }
            Mark::Bars => json!({"type": "bar", "color": colour}),
        };
        if matches!(self.along, Along::Bins { .. }) {
            x["bin"] = json!("binned");
            encoding["x2"] = json!({"field": "x2"});
        }
        encoding["x"] = x;
        encoding["y"] = y;
        encoding["tooltip"] = tooltip.into();
        json!({
            "$schema": SCHEMA,
            "title": title(&self.title, &self.notes),
            "width": frame.width,
            "height": frame.height,
            "background": "white",
            "data": {"values": rows},
            "mark": mark,
            "encoding": encoding
        })
    }

    /// Where value `i` stands, as fields of its row.
    fn place(&self, i: usize) -> Vec<(&'static str, Value)> {
        match &self.along {
            Along::Names { names, .. } => vec![("x", names.get(i).cloned().into())],
            Along::Bins { edges, .. } => {
                let edge = |i: usize| edges.get(i).map_or(Value::Null, |e| number(*e));
                vec![("x", edge(i)), ("x2", edge(i + 1))]
            }
            Along::Values { kind: AxisKind::Time(calendar), at, .. } => {
                let Some(&seconds) = at.get(i).filter(|s| s.is_finite()) else { return vec![("x", Value::Null)] };
                let text = format_time((seconds * SECOND) as i128, *calendar, true);
                let x = match is_common(*calendar) {
                    true => number((seconds * 1000.0).round()),
                    false => years(seconds, *calendar).map_or(Value::Null, number),
                };
                vec![("x", x), ("time", text.into())]
            }
            Along::Values { at, .. } => vec![("x", at.get(i).map_or(Value::Null, |v| number(*v)))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_no_other_and_its_texts_stay_texts() {
        let spec = json!({"title": "</script><script>alert(1)</script>"});
        let page = html("a <b>", &spec);
        assert!(!page.contains("<script>alert"));
        assert!(page.contains("<title>a &lt;b&gt;</title>"));
        let own = page.replace(VEGA, "").replace(VEGA_LITE, "").replace(VEGA_EMBED, "");
        assert!(own.len() < 2000 && !own.contains("src=") && !own.contains("http"), "nothing is loaded: {own}");
    }

    #[test]
    fn dates_of_other_calendars_are_parts_of_years() {
        let at = |month, day| {
            let date = chunkwise_core::cf::time::CivilTime::midnight(2001, month, day);
            years(Calendar::Day360.nanos(&date).unwrap() as f64 / SECOND, Calendar::Day360).unwrap()
        };
        assert_eq!((at(1, 1), at(7, 1)), (2001.0, 2001.5));
    }
}
