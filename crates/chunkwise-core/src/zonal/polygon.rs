//! Polygons on a plane.

use i_overlay::core::fill_rule::FillRule;
use i_overlay::float::simplify::SimplifyShape as _;

/// A box on a plane: `[west, south, east, north]`.
pub type Bounds = [f64; 4];

/// Corners of a ring.
pub type Ring = Vec<(f64, f64)>;

/// An outer ring, and holes in it.
pub type Part = (Ring, Vec<Ring>);

/// Rings that bound an area, of one polygon or of several.
///
/// ```
/// use chunkwise_core::zonal::Polygon;
/// let square = vec![(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)];
/// let hole = vec![(0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0)];
/// let polygon = Polygon::new(vec![(square, vec![hole])]);
/// assert_eq!((polygon.area(), polygon.bounds()), (3.75, Some([0.0, 0.0, 2.0, 2.0])));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polygon {
    /// Outer rings run counter-clockwise, holes clockwise; each ends where it begins.
    rings: Vec<Ring>,
}

impl Polygon {
    /// Polygons, each an outer ring and its holes, whichever way they run. Rings may be closed or not.
    ///
    /// Inside is what some ring goes round (the non-zero rule): loops of a ring that crosses itself are inside whichever
    /// way they run, and parts that lie over each other count once. Kinks of less than a hundredth of the area are left,
    /// and count by their signed area, as in exactextract.
    pub fn new(parts: Vec<Part>) -> Polygon {
        let mut rings = Vec::new();
        for (outer, holes) in parts {
            rings.extend(turned(outer, 1.0));
            rings.extend(holes.into_iter().filter_map(|hole| turned(hole, -1.0)));
        }
        Polygon { rings: valid(rings) }
    }

    /// The rings, each of which ends where it begins.
    pub fn rings(&self) -> &[Ring] {
        &self.rings
    }

    /// Area, less that of the holes.
    pub fn area(&self) -> f64 {
        self.rings.iter().map(|ring| signed_area(ring)).sum()
    }

    /// The box round all rings; `None` where there is none.
    pub fn bounds(&self) -> Option<Bounds> {
        let mut points = self.rings.iter().flatten();
        let &(x, y) = points.next()?;
        Some(points.fold([x, y, x, y], |[w, s, e, n], &(x, y)| [w.min(x), s.min(y), e.max(x), n.max(y)]))
    }

    /// Each point changed by `to`; rings keep their sense even where `to` mirrors them.
    ///
    /// # Errors
    /// As `to`.
    pub fn map<E>(&self, mut to: impl FnMut((f64, f64)) -> Result<(f64, f64), E>) -> Result<Polygon, E> {
        let mut rings = Vec::with_capacity(self.rings.len());
        for ring in &self.rings {
            let sense = signed_area(ring).signum();
            let moved = ring.iter().map(|&p| to(p)).collect::<Result<Vec<_>, E>>()?;
            rings.extend(turned(moved, sense));
        }
        Ok(Polygon { rings })
    }

    /// The longest step along x from one corner to the next.
    pub fn longest_step(&self) -> f64 {
        let steps = self.rings.iter().flat_map(|ring| ring.windows(2)).map(|w| (w[1].0 - w[0].0).abs());
        steps.fold(0.0, f64::max)
    }

    /// The same polygon and those of `other`.
    pub fn join(&mut self, other: Polygon) {
        self.rings.extend(other.rings);
    }
}

/// How much of its area a polygon may have in loops that run the wrong way, and be taken as it stands: kinks where a ring
/// crosses itself, of which exactextract counts the signed area too.
const KINKS: f64 = 1e-2;

/// The same rings where they bound a polygon, but for kinks; where they cross each other or themselves, rings that bound the
/// same and do not.
fn valid(rings: Vec<Ring>) -> Vec<Ring> {
    let contours: Vec<Vec<[f64; 2]>> = rings.iter().map(|ring| ring.iter().map(|&(x, y)| [x, y]).collect()).collect();
    let mut simple = Vec::new();
    for shape in contours.simplify_shape_as::<i64>(FillRule::NonZero) {
        for (n, ring) in shape.into_iter().enumerate() {
            let sense = if n == 0 { 1.0 } else { -1.0 };
            simple.extend(turned(ring.into_iter().map(|[x, y]| (x, y)).collect(), sense));
        }
    }
    let area = |rings: &[Ring]| rings.iter().map(|ring| signed_area(ring)).sum::<f64>();
    if (area(&rings) - area(&simple)).abs() <= KINKS * area(&simple) { rings } else { simple }
}

/// A ring that runs as `sense` says and ends where it begins; `None` where it bounds nothing, or something infinite.
fn turned(mut ring: Ring, sense: f64) -> Option<Ring> {
    let first = *ring.first()?;
    if ring.last() != Some(&first) {
        ring.push(first);
    }
    let area = signed_area(&ring);
    if ring.len() < 4 || !area.is_finite() {
        return None;
    }
    if area * sense < 0.0 {
        ring.reverse();
    }
    Some(ring)
}

/// Area of a closed ring, negative where it runs clockwise (y up). About the first point, so that far from the origin
/// little is lost.
fn signed_area(ring: &[(f64, f64)]) -> f64 {
    let Some(&(x0, y0)) = ring.first() else { return 0.0 };
    let twice: f64 = ring.windows(2).map(|w| (w[0].0 - x0) * (w[1].1 - y0) - (w[1].0 - x0) * (w[0].1 - y0)).sum();
    twice / 2.0
}
