//! Charts: lines along an axis, bars by name, histograms.

use crate::axis::{AxisKind, ticks_of};
use crate::drawing::{Anchor, Drawing, FAINT, Frame, INK, Item, PALE, clipped};
use crate::map::{LABEL, PAD, SMALL, Size, TITLE, level_fits};
use crate::palette::category;
use crate::scale::Scale;
use crate::text;
use crate::ticks::{self, Tick};

/// What stands along the bottom of a chart.
#[derive(Clone, Debug, PartialEq)]
pub enum Along {
    /// Values on an axis.
    Values {
        /// What stands below.
        label: String,
        /// What the values are.
        kind: AxisKind,
        /// Where each value of a series stands.
        at: Vec<f64>,
    },
    /// Names, side by side.
    Names {
        /// What stands below.
        label: String,
        /// The name of each value of a series.
        names: Vec<String>,
    },
    /// Bins, each from one edge to the next.
    Bins {
        /// What stands below.
        label: String,
        /// One more than there are values.
        edges: Vec<f64>,
    },
}

impl Along {
    /// What stands below the axis.
    pub fn label(&self) -> &str {
        match self {
            Along::Values { label, .. } | Along::Names { label, .. } | Along::Bins { label, .. } => label,
        }
    }

    /// The values at both ends: of names, their numbers from 0, each in the middle of its place.
    fn bounds(&self) -> (f64, f64) {
        let wide = |low: f64, high: f64| match high > low {
            true => (low, high),
            false => (low - 0.5, high + 0.5),
        };
        match self {
            Along::Values { at, .. } => {
                let finite = || at.iter().copied().filter(|v| v.is_finite());
                match (finite().reduce(f64::min), finite().reduce(f64::max)) {
                    (Some(low), Some(high)) => wide(low, high),
                    _ => (0.0, 1.0),
                }
            }
            Along::Names { names, .. } => (-0.5, names.len().max(1) as f64 - 0.5),
            Along::Bins { edges, .. } => {
                wide(edges.first().copied().unwrap_or(0.0), edges.last().copied().unwrap_or(1.0))
            }
        }
    }

    /// Where value `i` stands.
    fn at(&self, i: usize) -> f64 {
        match self {
            Along::Values { at, .. } => at.get(i).copied().unwrap_or(f64::NAN),
            Along::Names { .. } => i as f64,
            Along::Bins { edges, .. } => match edges.get(i..i + 2) {
                Some(pair) => f64::midpoint(pair[0], pair[1]),
                None => f64::NAN,
            },
        }
    }
}

/// Values with a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// Its values; NaN is missing.
    pub values: Vec<f64>,
}

/// How values are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Lines, which missing values break.
    #[default]
    Lines,
    /// Bars from 0.
    Bars,
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What stands above.
    pub title: String,
    /// What stands below, a line each.
    pub notes: Vec<String>,
    /// What stands along the bottom.
    pub along: Along,
    /// What the values are, their unit.
    pub label: String,
    /// Values at the bottom and at the top; `None`: what the values want.
    pub range: Option<(f64, f64)>,
    /// The values.
    pub series: Vec<Series>,
    /// How they are drawn.
    pub mark: Mark,
    /// How large it is.
    pub size: Size,
}

/// Size of a chart that has none.
const USUAL: (u32, u32) = (860, 440);
/// Lines of at most so many values have a dot at each.
const DOTTED: usize = 60;
/// Most names of a legend.
const NAMES: usize = 24;
/// Most room for names that stand askew, as part of the height.
const ASKEW: f64 = 0.35;

impl Chart {
    /// Lays it out.
    pub fn draw(&self) -> Drawing {
        let (width, height) = (self.size.width.unwrap_or(USUAL.0), self.size.height.unwrap_or(USUAL.1));
        let (w, h) = (f64::from(width), f64::from(height));
        let title = text::lines(&self.title, TITLE, w - 2.0 * PAD, 3);
        let notes: Vec<String> = self.notes.iter().flat_map(|n| text::lines(n, SMALL, w - 2.0 * PAD, 2)).collect();
        let top = PAD + title.len() as f64 * (TITLE + 4.0) + 6.0;
        let legend = self.legend();
        let right = match &legend {
            Some(names) => names.iter().map(|n| text::width(n, LABEL)).fold(0.0, f64::max).min(w / 4.0) + 40.0,
            None => PAD + 10.0,
        };
        let range = self.value_range();
        let ticks_y = |height: f64| -> Vec<Tick> {
            let most = (height / 42.0).clamp(2.0, 10.0) as usize;
            ticks::numbers(range, &ticks::number, &|t| t.len() <= most)
        };
        // Whatever ticks the height will have.
        let any = [0.5, 0.6, 0.7, 0.8, 0.9].into_iter().flat_map(|part| ticks_y(h * part));
        let widest = any.map(|t| text::width(&t.label, LABEL)).fold(20.0, f64::max);
        let left = PAD + LABEL + 8.0 + widest + 8.0;
        let inner = (w - left - right).max(40.0);
        let bottom_ticks = self.ticks(inner);
        let askew = self.askew(&bottom_ticks, inner);
        let names = match askew {
            true => {
                let longest = bottom_ticks.iter().map(|t| text::width(&t.label, LABEL)).fold(0.0, f64::max);
                (longest * 0.71 + LABEL).min(h * ASKEW)
            }
            false => LABEL,
        };
        let notes_height = notes.len() as f64 * (SMALL + 4.0);
        let bottom = 8.0 + names + 6.0 + LABEL + notes_height + PAD;
        let frame = Frame {
            x: left.round() as u32,
            y: top.round() as u32,
            width: inner.round() as u32,
            height: (h - top - bottom).max(40.0).round() as u32,
        };
        let mut drawing = Drawing { width, height, title: self.title.clone(), frame, items: Vec::new() };
        let over = title.iter().any(|line| text::width(line, TITLE) > w - left - PAD);
        for (i, line) in title.iter().enumerate() {
            let y = PAD + TITLE + i as f64 * (TITLE + 4.0) - 2.0;
            let x = if over { PAD } else { f64::from(frame.x) };
            drawing.text((x, y), line, TITLE, Anchor::Start, INK);
        }
        let across = Scale::new(self.along.bounds(), self.ends(frame));
        let down = Scale::new((range.1, range.0), (f64::from(frame.y), f64::from(frame.bottom())));
        self.draw_grid(&mut drawing, &ticks_y(f64::from(frame.height)), &bottom_ticks, (across, down), askew);
        match self.mark {
            Mark::Lines => self.draw_lines(&mut drawing, across, down, range),
            Mark::Bars => self.draw_bars(&mut drawing, across, down, range),
        }
        let middle = f64::from(frame.x) + f64::from(frame.width) / 2.0;
        let axis = f64::from(frame.bottom()) + 8.0 + names + 5.0 + LABEL;
        drawing.text((middle, axis), self.along.label(), LABEL, Anchor::Middle, INK);
        drawing.items.push(Item::Text {
            at: (left - 8.0 - widest - 8.0, f64::from(frame.y) + f64::from(frame.height) / 2.0),
            text: text::cut(&self.label, LABEL, f64::from(frame.height)),
            size: LABEL,
            anchor: Anchor::Middle,
            turned: -90.0,
            colour: INK,
        });
        if let Some(names) = legend {
            draw_legend(&mut drawing, &names, self.mark, right - 40.0);
        }
        for (i, line) in notes.iter().enumerate() {
            let y = h - PAD - notes_height + (i + 1) as f64 * (SMALL + 4.0);
            drawing.text((PAD, y), line, SMALL, Anchor::Start, PALE);
        }
        drawing
    }

    /// Where the axis begins and ends: lines keep a little off the frame.
    fn ends(&self, frame: Frame) -> (f64, f64) {
        let off = if matches!(self.along, Along::Values { .. }) { 10.0 } else { 0.0 };
        (f64::from(frame.x) + off, f64::from(frame.right()) - off)
    }

    fn legend(&self) -> Option<Vec<String>> {
        (self.series.len() > 1).then(|| self.series.iter().map(|s| s.name.clone()).collect())
    }

    /// Values at the bottom and at the top.
    fn value_range(&self) -> (f64, f64) {
        if let Some(range) = self.range {
            return range;
        }
        let finite = || self.series.iter().flat_map(|s| s.values.iter().copied()).filter(|v| v.is_finite());
        let (mut low, mut high) = match (finite().reduce(f64::min), finite().reduce(f64::max)) {
            (Some(low), Some(high)) => (low, high),
            _ => return (0.0, 1.0),
        };
        if self.mark == Mark::Bars {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if low == high {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            return if self.mark == Mark::Bars { (0.0, 1.0) } else { (low - room, high + room) };
        }
        let room = (high - low) * 0.06;
        let keep = self.mark == Mark::Bars;
        (if keep && low == 0.0 { 0.0 } else { low - room }, if keep && high == 0.0 { 0.0 } else { high + room })
    }

    /// Ticks along the bottom of `inner` pixels.
    fn ticks(&self, inner: f64) -> Vec<Tick> {
        let bounds = self.along.bounds();
        let pixels = inner / (bounds.1 - bounds.0);
        let level = |ticks: &[Tick]| level_fits(ticks, pixels, 13);
        match &self.along {
            Along::Values { kind, at, .. } => match at.as_slice() {
                [] => Vec::new(),
                [one] => match kind {
                    AxisKind::Time(_) => ticks_of(*kind, (*one, *one), &level),
                    _ => vec![Tick { at: *one, label: ticks::number(*one, one.abs().max(1.0) / 1000.0) }],
                },
                _ => ticks_of(*kind, bounds, &level),
            },
            Along::Bins { .. } => ticks::numbers(bounds, &ticks::number, &level),
            Along::Names { names, .. } => {
                let place = inner / names.len().max(1) as f64;
                // Of many names each so-and-so-many-th is written.
                let every = (15.0 / place).ceil().max(1.0) as usize;
                let all = names.iter().enumerate().step_by(every);
                all.map(|(i, name)| Tick { at: i as f64, label: text::cut(name, LABEL, 150.0) }).collect()
            }
        }
    }

    /// Whether names do not fit beside each other.
    fn askew(&self, ticks: &[Tick], inner: f64) -> bool {
        let Along::Names { names, .. } = &self.along else { return false };
        let pixels = inner / names.len().max(1) as f64;
        ticks.windows(2).any(|w| {
            let halves = (text::width(&w[0].label, LABEL) + text::width(&w[1].label, LABEL)) / 2.0;
            (w[1].at - w[0].at) * pixels < halves + 6.0
        })
    }

    fn draw_grid(&self, drawing: &mut Drawing, y: &[Tick], x: &[Tick], (across, down): (Scale, Scale), askew: bool) {
        let frame = drawing.frame;
        let (left, right) = (f64::from(frame.x), f64::from(frame.right()));
        let (top, bottom) = (f64::from(frame.y), f64::from(frame.bottom()));
        for tick in y {
            let at = down.at(tick.at);
            drawing.line(vec![(left, at), (right, at)], FAINT, 1.0);
            drawing.text((left - 8.0, at + LABEL * 0.36), &tick.label, LABEL, Anchor::End, INK);
        }
        let names = matches!(self.along, Along::Names { .. });
        for tick in x {
            let at = across.at(tick.at);
            if !names && self.mark == Mark::Lines {
                drawing.line(vec![(at, top), (at, bottom)], FAINT, 1.0);
            }
            drawing.line(vec![(at, bottom), (at, bottom + 5.0)], INK, 1.0);
            match askew {
                true => drawing.items.push(Item::Text {
                    at: (at + 4.0, bottom + 14.0),
                    text: tick.label.clone(),
                    size: LABEL,
                    anchor: Anchor::End,
                    turned: -45.0,
                    colour: INK,
                }),
                false => drawing.text((at, bottom + 8.0 + LABEL), &tick.label, LABEL, Anchor::Middle, INK),
            }
        }
        drawing.line(vec![(left, top), (left, bottom), (right, bottom)], INK, 1.0);
        let zero = down.at(0.0);
        if zero > top && zero < bottom {
            drawing.line(vec![(left, zero), (right, zero)], PALE, 1.0);
        }
    }

    fn draw_lines(&self, drawing: &mut Drawing, across: Scale, down: Scale, range: (f64, f64)) {
        let bounds = self.along.bounds();
        for (i, series) in self.series.iter().enumerate() {
            let [r, g, b] = category(i);
            let colour = [r, g, b, 255];
            let points: Vec<(f64, f64)> =
                series.values.iter().enumerate().map(|(k, v)| (self.along.at(k), *v)).collect();
            let there = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
            let pixels = |line: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
                line.into_iter().map(|(x, y)| (across.at(x), down.at(y))).collect()
            };
            let runs = points.split(|p| !there(p)).filter(|run| !run.is_empty());
            let mut lines = Vec::new();
            let mut dots = Vec::new();
            for run in runs {
                lines.extend(clipped(run, bounds, range).into_iter().map(pixels));
                // A value between missing ones would not be seen as a line.
                if points.len() <= DOTTED || run.len() == 1 {
                    dots.extend(run.iter().filter(|p| p.1 >= range.0 && p.1 <= range.1).copied());
                }
            }
            if !lines.is_empty() {
                let stroke = Some(crate::drawing::Stroke { colour, width: 1.8 });
                drawing.items.push(Item::Path { lines, fill: None, stroke });
            }
            let dots: Vec<Vec<(f64, f64)>> = pixels(dots).into_iter().map(|centre| circle(centre, 2.6)).collect();
            if !dots.is_empty() {
                drawing.items.push(Item::Path { lines: dots, fill: Some(colour), stroke: None });
            }
        }
    }

    fn draw_bars(&self, drawing: &mut Drawing, across: Scale, down: Scale, (low, high): (f64, f64)) {
        let count = self.series.len().max(1) as f64;
        for (i, series) in self.series.iter().enumerate() {
            let [r, g, b] = category(i);
            for (k, value) in series.values.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                let (from, to) = match &self.along {
                    Along::Bins { edges, .. } => match edges.get(k..k + 2) {
                        Some(pair) => (across.at(pair[0]), across.at(pair[1])),
                        None => continue,
                    },
                    _ => {
                        let place = across.length(1.0) * 0.8;
                        let start = across.at(self.along.at(k)) - place / 2.0 + place / count * i as f64;
                        (start, start + place / count)
                    }
                };
                // A hair between bars, where there is room for one.
                let hair = if to - from > 4.0 { 1.0 } else { 0.0 };
                let (foot, head) = (down.at(0f64.clamp(low, high)), down.at(value.clamp(low, high)));
                drawing.area(from, foot.min(head), to - from - hair, (foot - head).abs(), [r, g, b, 255]);
            }
        }
    }
}

/// A circle as a polygon.
fn circle((x, y): (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    const CORNERS: usize = 16;
    let angle = |i: usize| i as f64 / CORNERS as f64 * std::f64::consts::TAU;
    (0..CORNERS).map(|i| (x + radius * angle(i).cos(), y + radius * angle(i).sin())).collect()
}

fn draw_legend(drawing: &mut Drawing, names: &[String], mark: Mark, room: f64) {
    let frame = drawing.frame;
    let x = f64::from(frame.right()) + 12.0;
    let most = NAMES.min((f64::from(frame.height) / 18.0).max(2.0) as usize);
    let shown = if names.len() > most { most - 1 } else { names.len() };
    for (i, name) in names.iter().take(shown).enumerate() {
        let y = f64::from(frame.y) + 6.0 + i as f64 * 18.0;
        let [r, g, b] = category(i);
        match mark {
            Mark::Lines => drawing.line(vec![(x, y), (x + 16.0, y)], [r, g, b, 255], 2.2),
            Mark::Bars => drawing.area(x + 2.0, y - 6.0, 12.0, 12.0, [r, g, b, 255]),
        }
        drawing.text((x + 22.0, y + LABEL * 0.36), text::cut(name, LABEL, room), LABEL, Anchor::Start, INK);
    }
    if shown < names.len() {
        let y = f64::from(frame.y) + 6.0 + shown as f64 * 18.0;
        drawing.text((x, y + 4.0), format!("and {} more", names.len() - shown), SMALL, Anchor::Start, PALE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: Vec<f64>) -> Chart {
        Chart {
            title: "title".to_owned(),
            notes: Vec::new(),
            along: Along::Values {
                label: "x".to_owned(),
                kind: AxisKind::Number,
                at: (0..values.len()).map(|i| i as f64).collect(),
            },
            label: "value".to_owned(),
            range: Some((0.0, 10.0)),
            series: vec![Series { name: "a".to_owned(), values }],
            mark: Mark::Lines,
            size: Size::default(),
        }
    }

    fn lines(drawing: &Drawing) -> Vec<usize> {
        let [r, g, b] = category(0);
        let of = |item: &Item| match item {
            Item::Path { lines, stroke: Some(s), .. } if s.colour == [r, g, b, 255] => Some(lines.clone()),
            _ => None,
        };
        drawing.items.iter().filter_map(of).flatten().map(|line| line.len()).collect()
    }

    #[test]
    fn missing_values_break_the_line() {
        assert_eq!(lines(&chart(vec![1.0, 2.0, 3.0, 4.0]).draw()), [4]);
        assert_eq!(lines(&chart(vec![1.0, 2.0, f64::NAN, 4.0, 5.0, f64::NAN, 1.0]).draw()), [2, 2]);
    }

    #[test]
    fn a_line_leaves_the_range_at_the_frame() {
        let drawing = chart(vec![5.0, 15.0]).draw();
        let top = f64::from(drawing.frame.y);
        let [r, g, b] = category(0);
        let ends: Vec<f64> = drawing
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Path { lines, stroke: Some(s), .. } if s.colour == [r, g, b, 255] => Some(lines[0][1].1),
                _ => None,
            })
            .collect();
        assert_eq!(ends, [top]);
    }

    #[test]
    fn charts_of_nothing_and_of_hostile_numbers_are_drawn() {
        for values in [vec![], vec![f64::NAN], vec![f64::INFINITY, 1.0], vec![1e308, -1e308], vec![0.0, 0.0]] {
            let mut c = chart(values);
            c.range = None;
            for mark in [Mark::Lines, Mark::Bars] {
                c.mark = mark;
                assert!(c.draw().png().len() > 100);
            }
        }
    }
}
