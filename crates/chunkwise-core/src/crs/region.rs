//! A box in any CRS as a box over the axes of a variable.

use super::{Crs, CrsError, Georeference, Transformer};
use crate::select::BoxQuery;

impl Georeference {
    /// The box over the axes of the variable that holds the edges of a box in the CRS `given`.
    ///
    /// `[west, south, east, north]`, x (longitude) first; in degrees `west > east` crosses the 180th meridian. Cells are
    /// then selected by whether their centre lies in the outcome: between two CRSs that is the rectangle around the
    /// box, which may hold cells outside of it ([`Transformer::bbox`]). Where axes are longitudes, the selection finds
    /// the turn.
    ///
    /// # Errors
    /// The variable has no spatial dimensions, or no CRS (unless `given` is `None`: the box is in the axes' own
    /// coordinates); the box is none; the transformation is refused or has no place for an edge.
    pub fn box_query(&self, bounds: [f64; 4], given: Option<&Crs>) -> Result<BoxQuery, CrsError> {
        let dims = self.dims.as_ref().ok_or(CrsError::Unplaced {
            missing: "dimensions that are known to be x and y",
            hint: "select along its dimensions by name: `--sel DIM=A..B`",
        })?;
        let [mut west, mut south, mut east, mut north] = bounds;
        if let Some(given) = given {
            let own = self.crs.as_ref().ok_or(CrsError::Unplaced {
                missing: "CRS",
                hint: "select by its own coordinates: `--sel DIM=A..B`",
            })?;
            [west, south, east, north] = Transformer::new(given, own)?.bbox(west, south, east, north)?.array();
        } else if self.longitudes().is_none() && west > east {
            return Err(CrsError::NotABox { west, south, east, north, geographic: false });
        }
        Ok(BoxQuery { x: dims.x.clone(), y: dims.y.clone(), west, south, east, north })
    }
}
