//! Maps: cells by colour, axes in coordinates, a colour bar or a legend, outlines.

mod key;

use crate::axis::Axis;
use crate::drawing::{Anchor, Colour, Drawing, Frame, INK, Image, Item, PALE, Stroke, clipped};
use crate::palette::Palette;
use crate::scale::Scale;
use crate::text;
use crate::ticks::Tick;
use key::Key;

/// Small cells are drawn larger until the longer side has this many pixels.
const WANTED: u32 = 640;
/// A map that has no size has no more pixels along a side.
const MOST: u32 = 1040;
/// Size of what is written.
pub(crate) const TITLE: f64 = 16.0;
pub(crate) const LABEL: f64 = 12.0;
pub(crate) const SMALL: f64 = 10.5;
/// Space about the picture.
pub(crate) const PAD: f64 = 14.0;

/// Values by colour.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    /// Values, row by row as the edges run; NaN is missing.
    pub values: Vec<f64>,
    /// Values at both ends of the palette.
    pub range: (f64, f64),
    /// The colours between.
    pub palette: Palette,
    /// What stands beside the colour bar: what the values are, their unit.
    pub label: String,
}

/// A class of cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// The value that its cells have.
    pub value: f64,
    /// What it is called.
    pub name: String,
    /// Its colour.
    pub colour: [u8; 3],
}

/// What a map shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Values by colour.
    Field(Field),
    /// Classes by colour.
    Classes {
        /// Values, row by row as the edges run; NaN is missing, and so is what has no class.
        values: Vec<f64>,
        /// The classes.
        classes: Vec<Class>,
    },
    /// Colours, row by row as the edges run; of an opacity of 0 where missing.
    Pixels(Vec<Colour>),
}

impl Default for Layer {
    fn default() -> Layer {
        Layer::Field(Field::default())
    }
}

/// How large a picture is, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Width; `None`: as wide as what it shows wants.
    pub width: Option<u32>,
    /// Height; `None`: as high as what it shows wants.
    pub height: Option<u32>,
}

impl Size {
    /// The most cells along x and y that a map of this size shows one by one.
    pub fn most_cells(&self) -> (u64, u64) {
        let room = |size: Option<u32>, beside: u32| size.map_or(MOST, |s| s.saturating_sub(beside).max(64)).into();
        (room(self.width, 190), room(self.height, 110))
    }
}

/// A map. Greater y is at the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// What stands above.
    pub title: String,
    /// What stands below, a line each.
    pub notes: Vec<String>,
    /// Columns.
    pub x: Axis,
    /// Rows.
    pub y: Axis,
    /// What is shown.
    pub layer: Layer,
    /// Lines over it, in the values of the axes.
    pub outlines: Vec<Vec<(f64, f64)>>,
    /// How long a unit of y is drawn, in units of x; `None`: cells are square.
    pub aspect: Option<f64>,
    /// How large it is.
    pub size: Size,
}

impl Default for Map {
    /// A map of nothing, a unit of y as long as one of x.
    fn default() -> Map {
        Map {
            title: String::new(),
            notes: Vec::new(),
            x: Axis::default(),
            y: Axis::default(),
            layer: Layer::default(),
            outlines: Vec::new(),
            aspect: Some(1.0),
            size: Size::default(),
        }
    }
}

impl Map {
    /// Lays it out.
    pub fn draw(&self) -> Drawing {
        let key = Key::of(&self.layer);
        // What stands left and right does not depend on the size but for the number of digits.
        let (mut width, mut height) = self.inner(MOST, MOST);
        let mut left = self.left(height);
        let right = key.width() + PAD;
        let top = |lines: usize| PAD + lines as f64 * (TITLE + 4.0) + if lines > 0 { 6.0 } else { 0.0 };
        let below = |notes: usize| 8.0 + LABEL + 6.0 + LABEL + notes as f64 * (SMALL + 4.0) + PAD;
        if self.size != Size::default() {
            let room = |size: Option<u32>, beside: f64| size.map_or(MOST, |s| (f64::from(s) - beside).max(40.0) as u32);
            let beside = below(self.notes.len()) + top(usize::from(!self.title.is_empty()));
            (width, height) = self.inner(room(self.size.width, left + right), room(self.size.height, beside));
            left = self.left(height);
        }
        let least = if self.title.is_empty() { 0.0 } else { 260.0 };
        let total = f64::from(self.size.width.unwrap_or((left + f64::from(width) + right).max(least).ceil() as u32));
        let title = text::lines(&self.title, TITLE, total - 2.0 * PAD, 3);
        let notes: Vec<String> = self.notes.iter().flat_map(|n| text::lines(n, SMALL, total - 2.0 * PAD, 3)).collect();
        let slack = (total - left - f64::from(width) - right).max(0.0);
        let frame = Frame { x: (left + slack / 2.0).round() as u32, y: top(title.len()).round() as u32, width, height };
        let key_bottom = f64::from(frame.y) + key.height(f64::from(height));
        let axis_bottom = f64::from(frame.bottom()) + 8.0 + LABEL + 6.0 + LABEL;
        let content = key_bottom.max(axis_bottom);
        let own = content + notes.len() as f64 * (SMALL + 4.0) + PAD;
        let mut drawing = Drawing {
            width: total.ceil() as u32,
            height: self.size.height.unwrap_or(own.ceil() as u32),
            title: self.title.clone(),
            frame,
            items: Vec::new(),
        };
        // A title that is wider than the map begins at the left.
        let over = title.iter().any(|line| text::width(line, TITLE) > total - f64::from(frame.x) - PAD);
        for (i, line) in title.iter().enumerate() {
            let y = PAD + TITLE + i as f64 * (TITLE + 4.0) - 2.0;
            let x = if over { PAD } else { f64::from(frame.x) };
            drawing.text((x, y), line, TITLE, Anchor::Start, INK);
        }
        self.draw_cells(&mut drawing);
        self.draw_outlines(&mut drawing);
        self.draw_axes(&mut drawing);
        key.draw(&mut drawing);
        for (i, line) in notes.iter().enumerate() {
            let y = content + (i + 1) as f64 * (SMALL + 4.0);
            drawing.text((PAD, y), line, SMALL, Anchor::Start, PALE);
        }
        drawing
    }

    /// Width and height of the map in at most so many pixels.
    fn inner(&self, most_x: u32, most_y: u32) -> (u32, u32) {
        let (columns, rows) = (self.x.cells().max(1) as f64, self.y.cells().max(1) as f64);
        let span = |axis: &Axis| axis.bounds().1 - axis.bounds().0;
        // Height of a cell, in widths of one.
        let cell = match self.aspect {
            None => 1.0,
            Some(aspect) => aspect * (span(&self.y) / rows) / (span(&self.x) / columns),
        };
        let cell = if cell.is_finite() && cell > 0.0 { cell } else { 1.0 };
        // A map much longer than wide is not drawn as a line.
        let cell = cell.clamp(0.05 * columns / rows, 20.0 * columns / rows);
        let (most_x, most_y) = (f64::from(most_x), f64::from(most_y));
        let fits = (most_x / columns).min(most_y / (rows * cell));
        let asked = self.size.width.is_some() || self.size.height.is_some();
        let wanted = f64::from(WANTED) / columns.max(rows * cell);
        let wide = if asked { fits } else { fits.min(wanted.max(1.0)) };
        // Cells are whole pixels wide where they can be.
        let wide = if wide >= 1.0 { wide.floor() } else { wide };
        let size = |pixels: f64, most: f64| pixels.round().clamp(1.0, most.max(1.0)) as u32;
        (size(columns * wide, most_x), size(rows * wide * cell, most_y))
    }

    /// Room for what stands at the left.
    fn left(&self, height: u32) -> f64 {
        let ticks = self.y_ticks(height);
        let widest = ticks.iter().map(|t| text::width(&t.label, LABEL)).fold(0.0, f64::max);
        PAD + LABEL + 8.0 + widest + 8.0
    }

    fn y_ticks(&self, height: u32) -> Vec<Tick> {
        let most = (f64::from(height) / 45.0).clamp(2.0, 10.0) as usize;
        self.y.ticks(&|ticks| ticks.len() <= most)
    }

    fn x_ticks(&self, width: u32) -> Vec<Tick> {
        let (low, high) = self.x.bounds();
        let pixels = f64::from(width) / (high - low);
        self.x.ticks(&|ticks| level_fits(ticks, pixels, 9))
    }

    fn draw_cells(&self, drawing: &mut Drawing) {
        let frame = drawing.frame;
        let (across, down) = (self.x.across(), self.y.down());
        // Where cells are larger than pixels, one pixel each is enough, which SVG and PNG make larger.
        let grid = |axis: &Axis, pixels: u32| match axis.is_even() && pixels as usize >= axis.cells() {
            true => axis.cells() as u32,
            false => pixels,
        };
        let (width, height) = (grid(&self.x, frame.width), grid(&self.y, frame.height));
        let (columns, rows) = (self.x.cells_of(width, across), self.y.cells_of(height, down));
        let stride = self.x.cells();
        let colour = self.layer.colours();
        let at = |r: &usize| columns.iter().map(|c| r * stride + c).collect::<Vec<_>>();
        let cells = rows.iter().flat_map(at).map(colour).collect();
        drawing.items.push(Item::Image { frame, image: Image { width, height, cells } });
    }

    fn draw_outlines(&self, drawing: &mut Drawing) {
        let frame = drawing.frame;
        let (x, y) = (self.x.bounds(), self.y.bounds());
        let across = Scale::new(self.x.across(), (f64::from(frame.x), f64::from(frame.right())));
        let down = Scale::new(self.y.down(), (f64::from(frame.y), f64::from(frame.bottom())));
        let within = self.outlines.iter().flat_map(|line| clipped(line, x, y));
        let lines: Vec<Vec<(f64, f64)>> =
            within.map(|line| line.iter().map(|&(x, y)| (across.at(x), down.at(y))).collect()).collect();
        if lines.is_empty() {
            return;
        }
        // Dark on light, so that they are seen on any colour.
        for (colour, width) in [([255, 255, 255, 190], 2.6), ([20, 20, 20, 255], 1.1)] {
            drawing.items.push(Item::Path { lines: lines.clone(), fill: None, stroke: Some(Stroke { colour, width }) });
        }
    }

    fn draw_axes(&self, drawing: &mut Drawing) {
        let frame = drawing.frame;
        drawing.border(frame, INK);
        let (left, bottom) = (f64::from(frame.x), f64::from(frame.bottom()));
        let across = Scale::new(self.x.across(), (left, f64::from(frame.right())));
        for tick in self.x_ticks(frame.width) {
            let x = across.at(tick.at);
            drawing.line(vec![(x, bottom + 1.0), (x, bottom + 6.0)], INK, 1.0);
            drawing.text((x, bottom + 8.0 + LABEL), tick.label, LABEL, Anchor::Middle, INK);
        }
        let down = Scale::new(self.y.down(), (f64::from(frame.y), bottom));
        let mut widest: f64 = 0.0;
        for tick in self.y_ticks(frame.height) {
            let y = down.at(tick.at);
            widest = widest.max(text::width(&tick.label, LABEL));
            drawing.line(vec![(left - 1.0, y), (left - 6.0, y)], INK, 1.0);
            drawing.text((left - 8.0, y + LABEL * 0.36), tick.label, LABEL, Anchor::End, INK);
        }
        let middle = left + f64::from(frame.width) / 2.0;
        drawing.text((middle, bottom + 8.0 + 2.0 * LABEL + 5.0), &self.x.label, LABEL, Anchor::Middle, INK);
        drawing.items.push(Item::Text {
            at: (left - 8.0 - widest - 8.0, f64::from(frame.y) + f64::from(frame.height) / 2.0),
            text: text::cut(&self.y.label, LABEL, f64::from(frame.height).max(60.0)),
            size: LABEL,
            anchor: Anchor::Middle,
            turned: -90.0,
            colour: INK,
        });
    }
}

/// Whether labels stand beside each other, at most so many, with room between; `pixels` are those of a unit.
pub(crate) fn level_fits(ticks: &[Tick], pixels: f64, most: usize) -> bool {
    let half = |t: &Tick| text::width(&t.label, LABEL) / 2.0;
    ticks.len() <= most && ticks.windows(2).all(|w| (w[1].at - w[0].at) * pixels >= half(&w[0]) + half(&w[1]) + 14.0)
}

impl Layer {
    /// The colour of each cell.
    pub(crate) fn colours(&self) -> Box<dyn Fn(usize) -> Colour + '_> {
        const NOTHING: Colour = [0; 4];
        let solid = |[r, g, b]: [u8; 3]| [r, g, b, 255];
        match self {
            Layer::Field(f) => Box::new(move |i| match f.values.get(i) {
                Some(v) if !v.is_nan() => solid(f.palette.of(*v, f.range)),
                _ => NOTHING,
            }),
            Layer::Classes { values, classes } => Box::new(move |i| {
                let class = values.get(i).and_then(|v| classes.iter().find(|c| c.value == *v));
                class.map_or(NOTHING, |c| solid(c.colour))
            }),
            Layer::Pixels(cells) => Box::new(move |i| cells.get(i).copied().unwrap_or(NOTHING)),
        }
    }
}
