//! Pictures as files.

use super::Asked;
use crate::failed::Failed;
use crate::output::{self, Json, Record};
use chunkwise::open::OpenCube;
use chunkwise::write::{WriteError, lies_within};
use chunkwise_view::{Chart, Drawing, Map, html};
use serde_json::{Value, json};
use std::path::Path;

/// What a picture is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Svg,
    /// A page that draws a Vega-Lite specification.
    Html,
    /// A Vega-Lite specification.
    Json,
}

impl Format {
    /// By the ending of a path.
    pub(super) fn of(path: &str) -> Result<Format, Failed> {
        let ending = Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        Ok(match ending.as_str() {
            "png" => Format::Png,
            "svg" => Format::Svg,
            "html" | "htm" => Format::Html,
            "json" => Format::Json,
            _ => {
                return Err(Failed::says(format!("`-o {path}`: no picture is written as `.{ending}`"))
                    .with_hint("a picture ends in `.png`, `.svg`, `.html` or `.json` (Vega-Lite)"));
            }
        })
    }
}

/// Refuses a picture within the cube that it shows.
pub(super) fn refuse_within(path: &str, cube: &OpenCube) -> Result<(), Failed> {
    let input = cube.store.location();
    match Path::new(&input).exists() && lies_within(Path::new(path), Path::new(&input)) {
        true => Err(WriteError::WithinInput { location: path.to_owned(), input }.into()),
        false => Ok(()),
    }
}

/// Bytes that drawing takes, beside those of values on their way to it: pixels, what is written, and a second form of the
/// values, of which there are so many; `map` has the columns and rows of a map.
pub(super) fn bytes(asked: &Asked<'_>, values: u64, map: Option<(u64, u64)>) -> u64 {
    // Small cells are made larger, and axes and keys stand beside them.
    let side = |given: Option<u32>, cells: Option<u64>| {
        given.map_or_else(|| cells.map_or(900, |cells| cells.max(700) + 300), u64::from)
    };
    let pixels = side(asked.args.width, map.map(|m| m.0)) * side(asked.args.height, map.map(|m| m.1));
    // Of a pixel: itself, the cells behind it, its part of the file, which Vega-Lite has in several texts.
    let of_form = |format: &Format| match format {
        // A chart is no image.
        Format::Html | Format::Json if map.is_none() => (8, 8 << 20),
        Format::Html => (48, 28 << 20),
        Format::Json => (48, 24 << 20),
        Format::Png | Format::Svg => (20, 4 << 20),
    };
    // One after another is made and written.
    let forms = asked.files.iter().map(|(_, format)| of_form(format)).map(|(each, beside)| beside + pixels * each);
    forms.max().unwrap_or(0) + values.saturating_mul(12)
}

/// A picture that is to be written.
pub(super) enum Picture<'a> {
    Map(&'a Map),
    Chart(&'a Chart),
}

impl Picture<'_> {
    fn draw(&self) -> Drawing {
        match self {
            Picture::Map(map) => map.draw(),
            Picture::Chart(chart) => chart.draw(),
        }
    }

    fn vega_lite(&self) -> Value {
        match self {
            Picture::Map(map) => map.vega_lite(),
            Picture::Chart(chart) => chart.vega_lite(),
        }
    }

    /// Writes it where `-o` says; with `--json` tells where on it the data are, and `told` beside that.
    pub(super) fn save(&self, asked: &Asked<'_>, told: Record) -> Result<(), Failed> {
        let drawing = self.draw();
        for (path, format) in &asked.files {
            let bytes = match format {
                Format::Png => drawing.png(),
                Format::Svg => drawing.svg().into_bytes(),
                Format::Json => self.vega_lite().to_string().into_bytes(),
                Format::Html => html(&drawing.title, &self.vega_lite()).into_bytes(),
            };
            output::save_bytes(&bytes, path, asked.args.overwrite.into())?;
        }
        if asked.common.json() == Json::Yes {
            let f = drawing.frame;
            let mut record = Record::new();
            let written = match asked.args.output.as_slice() {
                [one] => one.clone().into(),
                several => Value::from(several),
            };
            record.insert("output".to_owned(), written);
            record.insert("title".to_owned(), drawing.title.clone().into());
            record.insert("width".to_owned(), drawing.width.into());
            record.insert("height".to_owned(), drawing.height.into());
            record.insert("frame".to_owned(), json!({"x": f.x, "y": f.y, "width": f.width, "height": f.height}));
            record.extend(told);
            output::print_json(&record)?;
        }
        Ok(())
    }
}
