//! Pictures of datacubes: maps and charts as PNG, SVG and Vega-Lite.
//!
//! Pure drawing: values, axes and labels go in, bytes come out. A [`Map`] or a [`Chart`] is laid out once, as a
//! [`Drawing`] of boxes, lines, texts and images, of which PNG and SVG are two ways to write it, so that they agree.
//! Cells of a map are drawn without blending: a pixel has the colour of the cell that its centre lies in.
//!
//! ```
//! use chunkwise_view::{Axis, Field, Layer, Map, Palette};
//! let map = Map {
//!     title: "Elevation".to_owned(),
//!     x: Axis::numbers("x", "m", vec![0.0, 10.0, 20.0]),
//!     y: Axis::numbers("y", "m", vec![30.0, 20.0, 10.0]),
//!     layer: Layer::Field(Field {
//!         values: vec![1.0, 2.0, f64::NAN, 4.0],
//!         range: (1.0, 4.0),
//!         palette: Palette::named("viridis").unwrap(),
//!         label: "m".to_owned(),
//!     }),
//!     ..Map::default()
//! };
//! let drawing = map.draw();
//! assert!(drawing.svg().starts_with("<svg"));
//! assert_eq!(&drawing.png()[1..4], b"PNG");
//! ```

mod axis;
mod chart;
mod drawing;
mod map;
mod palette;
mod png;
mod scale;
mod svg;
mod text;
mod ticks;
mod vega;

pub use axis::{Axis, AxisKind};
pub use chart::{Along, Chart, Mark, Series};
pub use drawing::{Anchor, Colour, Drawing, Frame, Image, Item, Stroke};
pub use map::{Class, Field, Layer, Map, Size};
pub use palette::{Palette, category, stretch};
pub use vega::html;
