//! A picture as SVG.

use crate::drawing::{Anchor, Colour, Drawing, Image, Item};
use crate::png::data_url;
use crate::text::{FAMILY, width};
use std::fmt::{self, Write};

impl Drawing {
    /// The picture as a document of its own: texts are texts, and stand where the PNG has them.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let (w, h) = (self.width, self.height);
        write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
             font-family=\"{FAMILY}\">\n<title>{}</title>\n",
            escaped(&self.title)
        )?;
        // White, but where an image may be transparent.
        write!(out, "<path fill=\"#ffffff\" fill-rule=\"evenodd\" d=\"M0 0H{w}V{h}H0Z")?;
        for item in &self.items {
            if let Item::Image { frame: f, .. } = item {
                write!(out, "M{} {}H{}V{}H{}Z", f.x, f.y, f.right(), f.bottom(), f.x)?;
            }
        }
        out.push_str("\"/>\n");
        for item in &self.items {
            write_item(item, out)?;
        }
        out.push_str("</svg>\n");
        Ok(())
    }
}

fn write_item(item: &Item, out: &mut String) -> fmt::Result {
    match item {
        Item::Path { lines, fill, stroke } => {
            out.push_str("<path d=\"");
            for line in lines {
                for (i, &(x, y)) in line.iter().enumerate() {
                    write!(out, "{}{} {}", if i == 0 { "M" } else { "L" }, short(x), short(y))?;
                }
                if fill.is_some() {
                    out.push('Z');
                }
            }
            out.push('"');
            match fill {
                Some(colour) => {
                    out.push_str(" fill-rule=\"evenodd\"");
                    inked("fill", *colour, out)?;
                }
                None => out.push_str(" fill=\"none\""),
            }
            if let Some(s) = stroke {
                inked("stroke", s.colour, out)?;
                write!(out, " stroke-width=\"{}\" stroke-linejoin=\"round\"", short(s.width))?;
            }
            out.push_str("/>\n");
        }
        Item::Text { at, text, size, anchor, turned, colour } => {
            let (x, y) = (short(at.0), short(at.1));
            write!(out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"", short(*size))?;
            match anchor {
                Anchor::Start => {}
                Anchor::Middle => out.push_str(" text-anchor=\"middle\""),
                Anchor::End => out.push_str(" text-anchor=\"end\""),
            }
            if *turned != 0.0 {
                write!(out, " transform=\"rotate({} {x} {y})\"", short(*turned))?;
            }
            inked("fill", *colour, out)?;
            // As wide in another font.
            write!(out, " textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"", short(width(text, *size)))?;
            writeln!(out, ">{}</text>", escaped(text))?;
        }
        Item::Image { frame: f, image: Image { width, height, cells } } => {
            writeln!(
                out,
                "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
                 style=\"image-rendering:pixelated\" href=\"{}\"/>",
                f.x,
                f.y,
                f.width,
                f.height,
                data_url(*width, *height, cells)
            )?;
        }
    }
    Ok(())
}

fn inked(what: &str, [r, g, b, a]: Colour, out: &mut String) -> fmt::Result {
    write!(out, " {what}=\"#{r:02x}{g:02x}{b:02x}\"")?;
    match a {
        255 => Ok(()),
        a => write!(out, " {what}-opacity=\"{}\"", short(f64::from(a) / 255.0)),
    }
}

/// A number of pixels to a hundredth.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text for XML, without the characters that it may not hold.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_element() {
        assert_eq!(escaped("a<script>&\"\u{0}b"), "a&lt;script&gt;&amp;&quot;b");
    }
}
