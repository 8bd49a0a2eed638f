//! What tells the colours of a map: a colour bar, or a legend of classes.

use super::{Class, Field, LABEL, Layer, PAD, SMALL};
use crate::drawing::{Anchor, Drawing, Frame, INK, Image, Item, PALE};
use crate::scale::Scale;
use crate::text;
use crate::ticks::{self, Tick};

/// Space between the map and its key, and width of the bar.
const GAP: f64 = 18.0;
const BAR: u32 = 16;
/// Height of the tips that stand for what lies beyond the bar.
const TIP: u32 = 10;
/// Height of a line of a legend, width of its names, and most of its lines.
const LINE: f64 = 20.0;
const NAMES: f64 = 190.0;
const MOST: usize = 40;

/// The key of a layer.
pub(super) enum Key<'a> {
    Bar { field: &'a Field, below: bool, above: bool },
    Legend { classes: Vec<&'a Class>, more: usize },
    None,
}

impl Key<'_> {
    pub(super) fn of(layer: &Layer) -> Key<'_> {
        match layer {
            Layer::Field(field) => {
                let (low, high) = field.range;
                let any = |beyond: &dyn Fn(f64) -> bool| field.values.iter().any(|v| beyond(*v));
                Key::Bar { field, below: any(&|v| v < low), above: any(&|v| v > high) }
            }
            Layer::Classes { values, classes } => {
                let mut used: Vec<&Class> = classes.iter().filter(|c| values.contains(&c.value)).collect();
                let more = used.len().saturating_sub(MOST);
                used.truncate(MOST);
                Key::Legend { classes: used, more }
            }
            Layer::Pixels(_) => Key::None,
        }
    }

    fn ticks(field: &Field, height: f64) -> Vec<Tick> {
        let most = (height / 40.0).clamp(2.0, 9.0) as usize;
        let mut found = ticks::numbers(field.range, &ticks::number, &|t| t.len() <= most);
        found.dedup_by(|a, b| a.label == b.label);
        found
    }

    /// Its width, with the space before it.
    pub(super) fn width(&self) -> f64 {
        match self {
            Key::None => 10.0,
            Key::Bar { field, .. } => {
                // Room for what ticks of any height would take.
                let of =
                    |height| Key::ticks(field, height).iter().map(|t| text::width(&t.label, LABEL)).fold(0.0, f64::max);
                let label = if field.label.is_empty() { 0.0 } else { LABEL + 10.0 };
                GAP + f64::from(BAR) + 8.0 + f64::max(of(100.0), of(500.0)) + label
            }
            Key::Legend { classes, .. } => {
                let names = classes.iter().map(|c| text::width(&c.name, LABEL)).fold(60.0, f64::max);
                GAP + 22.0 + names.min(NAMES)
            }
        }
    }

    /// Its height, beside a map of a height.
    pub(super) fn height(&self, map: f64) -> f64 {
        match self {
            Key::Legend { classes, more } => (classes.len() + usize::from(*more > 0)) as f64 * LINE,
            _ => map,
        }
    }

    pub(super) fn draw(&self, drawing: &mut Drawing) {
        let frame = drawing.frame;
        let x = f64::from(frame.right()) + GAP;
        match self {
            Key::None => {}
            Key::Bar { field, below, above } => draw_bar(drawing, field, *below, *above, x.round() as u32),
            Key::Legend { classes, more } => {
                for (i, class) in classes.iter().enumerate() {
                    let y = f64::from(frame.y) + i as f64 * LINE;
                    let [r, g, b] = class.colour;
                    drawing.area(x, y + 2.0, 14.0, 14.0, [r, g, b, 255]);
                    let edge =
                        vec![(x, y + 2.0), (x + 14.0, y + 2.0), (x + 14.0, y + 16.0), (x, y + 16.0), (x, y + 2.0)];
                    drawing.line(edge, PALE, 0.75);
                    drawing.text((x + 22.0, y + 13.0), text::cut(&class.name, LABEL, NAMES), LABEL, Anchor::Start, INK);
                }
                if *more > 0 {
                    let y = f64::from(frame.y) + classes.len() as f64 * LINE + 13.0;
                    drawing.text((x, y), format!("and {more} more"), SMALL, Anchor::Start, PALE);
                }
            }
        }
    }
}

fn draw_bar(drawing: &mut Drawing, field: &Field, below: bool, above: bool, x: u32) {
    let whole = drawing.frame;
    let tip = |there: bool| if there && whole.height > 4 * TIP { TIP } else { 0 };
    let (top, bottom) = (whole.y + tip(above), whole.bottom() - tip(below));
    let bar = Frame { x, y: top, width: BAR, height: bottom - top };
    let solid = |[r, g, b]: [u8; 3]| [r, g, b, 255];
    let at = |row: u32| field.palette.at(1.0 - (f64::from(row) + 0.5) / f64::from(bar.height));
    let cells = (0..bar.height).map(|row| solid(at(row))).collect();
    drawing.items.push(Item::Image { frame: bar, image: Image { width: 1, height: bar.height, cells } });
    let (left, right, middle) = (f64::from(x), f64::from(x + BAR), f64::from(x) + f64::from(BAR) / 2.0);
    let (t, b) = (f64::from(top), f64::from(bottom));
    let mut edge = vec![(left, b), (left, t)];
    if tip(above) > 0 {
        let y = f64::from(whole.y);
        drawing.items.push(Item::Path {
            lines: vec![vec![(left, t), (middle, y), (right, t)]],
            fill: Some(solid(field.palette.at(1.0))),
            stroke: None,
        });
        edge.push((middle, y));
    }
    edge.extend([(right, t), (right, b)]);
    if tip(below) > 0 {
        let y = f64::from(whole.bottom());
        drawing.items.push(Item::Path {
            lines: vec![vec![(left, b), (middle, y), (right, b)]],
            fill: Some(solid(field.palette.at(0.0))),
            stroke: None,
        });
        edge.push((middle, y));
    }
    edge.push((left, b));
    drawing.line(edge, INK, 1.0);
    let scale = Scale::new(field.range, (b, t));
    let mut widest: f64 = 0.0;
    for tick in Key::ticks(field, f64::from(bar.height)) {
        let y = scale.at(tick.at);
        widest = widest.max(text::width(&tick.label, LABEL));
        drawing.line(vec![(right, y), (right + 4.0, y)], INK, 1.0);
        drawing.text((right + 8.0, y + LABEL * 0.36), tick.label, LABEL, Anchor::Start, INK);
    }
    if !field.label.is_empty() {
        drawing.items.push(Item::Text {
            at: (
                (right + 8.0 + widest + 10.0 + LABEL * 0.75).min(f64::from(drawing.width) - PAD / 2.0),
                f64::midpoint(t, b),
            ),
            text: text::cut(&field.label, LABEL, f64::from(whole.height).max(80.0)),
            size: LABEL,
            anchor: Anchor::Middle,
            turned: -90.0,
            colour: INK,
        });
    }
}
