//! Texts as outlines, and how wide they are.

use std::sync::OnceLock;
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// DejaVu Sans, cut to Latin, Greek, Cyrillic and a few signs.
const FONT: &[u8] = include_bytes!("../assets/DejaVuSans.ttf");

/// The families of an SVG's texts: the first is the one that PNGs are drawn with.
pub(crate) const FAMILY: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";

fn face() -> &'static Face<'static> {
    static FACE: OnceLock<Face<'static>> = OnceLock::new();
    #[allow(clippy::expect_used, reason = "the font is part of the program")]
    FACE.get_or_init(|| Face::parse(FONT, 0).expect("the font that is built in is whole"))
}

fn glyphs(text: &str) -> impl Iterator<Item = (GlyphId, f64)> + '_ {
    let face = face();
    text.chars().map(|c| {
        let id = face.glyph_index(c).unwrap_or(GlyphId(0));
        (id, f64::from(face.glyph_hor_advance(id).unwrap_or(0)))
    })
}

fn scale(size: f64) -> f64 {
    size / f64::from(face().units_per_em())
}

/// Width in pixels of a text of `size` pixels.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    glyphs(text).map(|(_, advance)| advance).sum::<f64>() * scale(size)
}

/// The text, cut to `room` pixels with an ellipsis where it is wider.
pub(crate) fn cut(text: &str, size: f64, room: f64) -> String {
    let (whole, rest) = (room / scale(size), width("…", size) / scale(size));
    let mut wide = 0.0;
    let mut short = 0;
    for ((start, _), (_, advance)) in text.char_indices().zip(glyphs(text)) {
        if wide + rest <= whole {
            short = start;
        }
        wide += advance;
        if wide > whole {
            return text[..short].trim_end().to_owned() + "…";
        }
    }
    text.to_owned()
}

/// The text in lines of at most `room` pixels, broken at spaces; at most `most` lines, the last one cut.
pub(crate) fn lines(text: &str, size: f64, room: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if lines_fit(line, word, size, room) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    if lines.len() > most {
        let rest = lines.split_off(most.saturating_sub(1)).join(" ");
        lines.push(rest);
    }
    lines.iter().map(|line| cut(line, size, room)).collect()
}

fn lines_fit(line: &str, word: &str, size: f64, room: f64) -> bool {
    width(line, size) + width(" ", size) + width(word, size) <= room
}

/// Takes the outlines of a text: y grows downwards, the text begins at (0, 0) and stands on the line y = 0.
pub(crate) trait Pen {
    /// Begins a contour.
    fn move_to(&mut self, x: f64, y: f64);
    /// A straight line.
    fn line_to(&mut self, x: f64, y: f64);
    /// A curve with one control point.
    fn quad_to(&mut self, x1: f64, y1: f64, x: f64, y: f64);
    /// A curve with two control points.
    fn curve_to(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, x: f64, y: f64);
    /// Ends a contour.
    fn close(&mut self);
}

/// Draws the outlines of a text of `size` pixels.
pub(crate) fn outline(text: &str, size: f64, pen: &mut dyn Pen) {
    let scale = scale(size);
    let mut at = 0.0;
    for (id, advance) in glyphs(text) {
        face().outline_glyph(id, &mut Placed { pen, x: at, scale });
        at += advance * scale;
    }
}

struct Placed<'a> {
    pen: &'a mut dyn Pen,
    x: f64,
    scale: f64,
}

impl Placed<'_> {
    fn at(&self, x: f32, y: f32) -> (f64, f64) {
        (self.x + f64::from(x) * self.scale, -f64::from(y) * self.scale)
    }
}

impl OutlineBuilder for Placed<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.pen.move_to(x, y);
    }
    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.pen.line_to(x, y);
    }
    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.pen.quad_to(x1, y1, x, y);
    }
    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.pen.curve_to(x1, y1, x2, y2, x, y);
    }
    fn close(&mut self) {
        self.pen.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_font() {
        // fontTools: DejaVu Sans has 2048 units per em; `0` is 1303 wide, `m` 1995.
        assert!((width("0m", 2048.0) - 3298.0).abs() < 1e-9);
    }

    #[test]
    fn long_texts_are_broken_and_cut() {
        let two = lines("a title that does not fit on a line of this width", 12.0, 110.0, 2);
        assert_eq!(two.len(), 2);
        assert!(two[1].ends_with('…'));
        assert!(two.iter().all(|line| width(line, 12.0) <= 110.0));
        assert_eq!(cut("short", 12.0, 150.0), "short");
    }
}
