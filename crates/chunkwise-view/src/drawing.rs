//! A picture as boxes, lines, texts and images.

use std::borrow::Cow;

/// Red, green, blue, and how opaque.
pub type Colour = [u8; 4];

/// Ink of texts and frames.
pub(crate) const INK: Colour = [38, 38, 38, 255];
/// Ink of what is of less weight: notes.
pub(crate) const PALE: Colour = [110, 110, 110, 255];
/// Grid lines.
pub(crate) const FAINT: Colour = [225, 225, 225, 255];

/// Which point of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Where it begins.
    Start,
    /// Its middle.
    Middle,
    /// Where it ends.
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// Its colour.
    pub colour: Colour,
    /// Its width in pixels.
    pub width: f64,
}

/// Cells by colour, the first at the top left, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Cells of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green, blue and opacity of each; 0 or 255 the last.
    pub cells: Vec<Colour>,
}

/// A place on the picture, in pixels from its top left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl Frame {
    /// Right edge.
    pub fn right(&self) -> u32 {
        self.x + self.width
    }

    /// Bottom edge.
    pub fn bottom(&self) -> u32 {
        self.y + self.height
    }
}

/// A part of a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Lines from point to point, or areas that they bound (by the even-odd rule).
    Path {
        /// Lines, each by its points.
        lines: Vec<Vec<(f64, f64)>>,
        /// What fills it; the lines are then closed.
        fill: Option<Colour>,
        /// How its lines are drawn.
        stroke: Option<Stroke>,
    },
    /// A text in one line.
    Text {
        /// Where its anchor is.
        at: (f64, f64),
        /// What it says.
        text: String,
        /// Height in pixels.
        size: f64,
        /// What of it stands at `at`.
        anchor: Anchor,
        /// Degrees by which it is turned clockwise about `at`.
        turned: f64,
        /// Its colour.
        colour: Colour,
    },
    /// An image whose cells replace what is behind them; where they are transparent, so is the picture.
    Image {
        /// Where it goes.
        frame: Frame,
        /// Its cells, each of which covers as many pixels as any other, but for one.
        image: Image,
    },
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What it says of itself to those who do not see it.
    pub title: String,
    /// Where its data are: the map or the chart without its axes.
    pub frame: Frame,
    /// Its parts, from the back to the front.
    pub items: Vec<Item>,
}

impl Drawing {
    /// Adds a text that stands level.
    pub(crate) fn text(&mut self, at: (f64, f64), text: impl Into<String>, size: f64, anchor: Anchor, colour: Colour) {
        self.items.push(Item::Text { at, text: text.into(), size, anchor, turned: 0.0, colour });
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, points: Vec<(f64, f64)>, colour: Colour, width: f64) {
        self.items.push(Item::Path { lines: vec![points], fill: None, stroke: Some(Stroke { colour, width }) });
    }

    /// Adds a filled box.
    pub(crate) fn area(&mut self, x: f64, y: f64, width: f64, height: f64, colour: Colour) {
        let corners = vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height)];
        self.items.push(Item::Path { lines: vec![corners], fill: Some(colour), stroke: None });
    }

    /// Adds the outline of a frame, just outside of it.
    pub(crate) fn border(&mut self, frame: Frame, colour: Colour) {
        let (x, y) = (f64::from(frame.x) - 0.5, f64::from(frame.y) - 0.5);
        let (r, b) = (f64::from(frame.right()) + 0.5, f64::from(frame.bottom()) + 0.5);
        self.line(vec![(x, y), (r, y), (r, b), (x, b), (x, y)], colour, 1.0);
    }
}

impl Image {
    /// The image at another size: each pixel has the colour of the cell that its centre lies in.
    pub(crate) fn sized(&self, width: u32, height: u32) -> Cow<'_, [Colour]> {
        if (width, height) == (self.width, self.height) {
            return Cow::Borrowed(&self.cells);
        }
        let from = |p: u32, pixels: u32, cells: u32| {
            let at = (u64::from(p) * 2 + 1) * u64::from(cells) / (u64::from(pixels) * 2);
            (at as u32).min(cells.saturating_sub(1)) as usize
        };
        let columns: Vec<usize> = (0..width).map(|p| from(p, width, self.width)).collect();
        let row = |p: u32| {
            let start = from(p, height, self.height) * self.width as usize;
            columns.iter().map(move |c| self.cells[start + c])
        };
        Cow::Owned((0..height).flat_map(row).collect())
    }
}

/// The parts of a line that lie within a box of x and y, whose edges count as within.
pub(crate) fn clipped(line: &[(f64, f64)], x: (f64, f64), y: (f64, f64)) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in line.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let Some((from, to)) = clip_segment(a, b, x, y) else { continue };
        match parts.last_mut() {
            Some(part) if part.last() == Some(&from) => part.push(to),
            _ => parts.push(vec![from, to]),
        }
    }
    parts
}

/// The part of a segment within a box (Liang and Barsky).
fn clip_segment(a: (f64, f64), b: (f64, f64), x: (f64, f64), y: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut from, mut to) = (0.0f64, 1.0f64);
    for (p, q) in [(-dx, a.0 - x.0), (dx, x.1 - a.0), (-dy, a.1 - y.0), (dy, y.1 - a.1)] {
        if p == 0.0 {
            if q < 0.0 {
                return None;
            }
        } else if p < 0.0 {
            from = from.max(q / p);
        } else {
            to = to.min(q / p);
        }
    }
    let at = |t: f64| {
        if t == 0.0 {
            a
        } else if t == 1.0 {
            b
        } else {
            (a.0 + t * dx, a.1 + t * dy)
        }
    };
    (from <= to && from.is_finite() && to.is_finite()).then(|| (at(from), at(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_box() {
        let found = clipped(&[(-1.0, 0.5), (0.5, 0.5), (0.5, 3.0), (3.0, 3.0), (0.5, 0.5)], (0.0, 1.0), (0.0, 1.0));
        assert_eq!(found, vec![vec![(0.0, 0.5), (0.5, 0.5), (0.5, 1.0)], vec![(1.0, 1.0), (0.5, 0.5)]]);
        assert!(clipped(&[(2.0, 0.0), (2.0, 1.0)], (0.0, 1.0), (0.0, 1.0)).is_empty());
    }

    #[test]
    fn pixels_have_the_colour_of_the_cell_at_their_centre() {
        let colour = |v: u8| [v, 0, 0, 255];
        let image = Image { width: 2, height: 1, cells: vec![colour(1), colour(2)] };
        assert_eq!(image.sized(5, 1).iter().map(|c| c[0]).collect::<Vec<_>>(), [1, 1, 2, 2, 2]);
        assert_eq!(image.sized(1, 2).iter().map(|c| c[0]).collect::<Vec<_>>(), [2, 2]);
    }
}
