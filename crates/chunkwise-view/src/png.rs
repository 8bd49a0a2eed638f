//! A picture as PNG.

use crate::drawing::{Anchor, Colour, Drawing, Frame, Image, Item, Stroke};
use crate::text::{self, Pen};
use base64::Engine as _;
use std::io::Write;
use tiny_skia::{Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, PremultipliedColorU8, Transform};

impl Drawing {
    /// The picture as a PNG of 8-bit red, green, blue and opacity: white, but transparent where cells are missing.
    ///
    /// # Panics
    /// A width or height of 0, or beyond 2^29.
    pub fn png(&self) -> Vec<u8> {
        #[allow(clippy::expect_used, reason = "pictures have a size")]
        let mut pixels = Pixmap::new(self.width, self.height).expect("a picture has a width and a height");
        pixels.fill(Color::WHITE);
        for item in &self.items {
            match item {
                Item::Path { lines, fill, stroke } => draw_path(&mut pixels, lines, *fill, *stroke),
                Item::Text { at, text, size, anchor, turned, colour } => {
                    draw_text(&mut pixels, text, *size, place(*at, text, *size, *anchor, *turned), *colour);
                }
                Item::Image { frame, image } => draw_image(&mut pixels, *frame, image),
            }
        }
        let cells: Vec<u8> = pixels
            .pixels()
            .iter()
            .flat_map(|p| {
                let c = p.demultiply();
                [c.red(), c.green(), c.blue(), c.alpha()]
            })
            .collect();
        encode(self.width, self.height, &cells, Some(&self.title))
    }
}

/// Cells as a PNG.
pub(crate) fn encode(width: u32, height: u32, cells: &[u8], title: Option<&str>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let written = (|| -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        encoder.add_text_chunk("Software".to_owned(), "chunkwise".to_owned())?;
        if let Some(title) = title.filter(|t| !t.is_empty()) {
            encoder.add_itxt_chunk("Title".to_owned(), title.to_owned())?;
        }
        let mut writer = encoder.write_header()?;
        let mut stream = writer.stream_writer()?;
        stream.write_all(cells)?;
        stream.finish()
    })();
    #[allow(clippy::expect_used, reason = "memory takes all bytes, and their number fits the size")]
    written.expect("cells of a picture are written to memory");
    bytes
}

/// An image as a `data:` address.
pub(crate) fn data_url(width: u32, height: u32, cells: &[Colour]) -> String {
    let png = encode(width, height, cells.as_flattened(), None);
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png))
}

fn paint(colour: Colour) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(colour[0], colour[1], colour[2], colour[3]);
    paint
}

fn draw_path(pixels: &mut Pixmap, lines: &[Vec<(f64, f64)>], fill: Option<Colour>, stroke: Option<Stroke>) {
    let mut builder = PathBuilder::new();
    for line in lines {
        for (i, &(x, y)) in line.iter().enumerate() {
            match i {
                0 => builder.move_to(x as f32, y as f32),
                _ => builder.line_to(x as f32, y as f32),
            }
        }
        if fill.is_some() {
            builder.close();
        }
    }
    // A path of no points draws nothing.
    let Some(path) = builder.finish() else { return };
    if let Some(colour) = fill {
        pixels.fill_path(&path, &paint(colour), FillRule::EvenOdd, Transform::identity(), None);
    }
    if let Some(Stroke { colour, width }) = stroke {
        let how = tiny_skia::Stroke {
            width: width as f32,
            line_cap: LineCap::Butt,
            line_join: LineJoin::Round,
            ..tiny_skia::Stroke::default()
        };
        pixels.stroke_path(&path, &paint(colour), &how, Transform::identity(), None);
    }
}

/// From a text that begins at (0, 0) to where it stands.
fn place(at: (f64, f64), text: &str, size: f64, anchor: Anchor, turned: f64) -> Transform {
    let back = match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => text::width(text, size) / 2.0,
        Anchor::End => text::width(text, size),
    };
    Transform::from_rotate(turned as f32).pre_translate(-back as f32, 0.0).post_translate(at.0 as f32, at.1 as f32)
}

fn draw_text(pixels: &mut Pixmap, text: &str, size: f64, place: Transform, colour: Colour) {
    let mut outline = Outline(PathBuilder::new());
    text::outline(text, size, &mut outline);
    if let Some(path) = outline.0.finish() {
        pixels.fill_path(&path, &paint(colour), FillRule::Winding, place, None);
    }
}

struct Outline(PathBuilder);

impl Pen for Outline {
    fn move_to(&mut self, x: f64, y: f64) {
        self.0.move_to(x as f32, y as f32);
    }
    fn line_to(&mut self, x: f64, y: f64) {
        self.0.line_to(x as f32, y as f32);
    }
    fn quad_to(&mut self, x1: f64, y1: f64, x: f64, y: f64) {
        self.0.quad_to(x1 as f32, y1 as f32, x as f32, y as f32);
    }
    fn curve_to(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, x: f64, y: f64) {
        self.0.cubic_to(x1 as f32, y1 as f32, x2 as f32, y2 as f32, x as f32, y as f32);
    }
    fn close(&mut self) {
        self.0.close();
    }
}

/// Cells replace what is there, so that their colours are exact.
fn draw_image(pixels: &mut Pixmap, frame: Frame, image: &Image) {
    let cells = image.sized(frame.width, frame.height);
    let width = pixels.width();
    let height = pixels.height();
    let all = pixels.pixels_mut();
    for (row, line) in cells.chunks_exact(frame.width.max(1) as usize).enumerate() {
        let y = frame.y + row as u32;
        for (column, &[r, g, b, a]) in line.iter().enumerate() {
            let x = frame.x + column as u32;
            if x < width && y < height {
                let own = if a == 0 { [0; 4] } else { [r, g, b, 255] };
                if let Some(colour) = PremultipliedColorU8::from_rgba(own[0], own[1], own[2], own[3]) {
                    all[(y * width + x) as usize] = colour;
                }
            }
        }
    }
}
