//! Points and boxes from one CRS to another.

use super::model::{Ellipsoid, Geodetic, Method, Projected, Projection, System};
use super::{Crs, CrsError};
use proj4rs::Proj;

/// Turns coordinates of one CRS into those of another.
///
/// Within 1 mm of PROJ. Between two datums of [`World`](super::Datum::World), WGS 84 and [`Unknown`](super::Datum::Unknown) longitudes and
/// latitudes are kept as they are (PROJ's default without grid files: a null or ballpark shift); any other pair of
/// different datums is refused. PROJ leaves the null shift for NAD83 in Hawaii and the Aleutians, by 0.9 m, which is
/// less than the accuracy it states; here it is null everywhere.
#[derive(Clone, Debug)]
pub struct Transformer {
    from: End,
    to: End,
    /// Nothing to do: points pass bit for bit.
    same: bool,
}

/// One side: from its coordinates to degrees east of Greenwich and north, and back.
#[derive(Clone, Debug)]
struct End {
    label: String,
    prime_meridian: f64,
    /// Degrees (geographic) or metres (projected) in one unit.
    unit: f64,
    /// The projection, and longitude–latitude on the same ellipsoid.
    planes: Option<(Proj, Proj)>,
    /// Whether the poles lie at infinity.
    mercator: bool,
}

/// A box, x (longitude) first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Smallest x; in degrees greater than `east` where the box crosses the 180th meridian.
    pub west: f64,
    /// Smallest y.
    pub south: f64,
    /// Largest x.
    pub east: f64,
    /// Largest y.
    pub north: f64,
}

/// Points added along each edge of a box, as in rasterio and pyproj.
const EDGE_POINTS: usize = 21;

impl Transformer {
    /// A transformer between two CRSs.
    ///
    /// # Errors
    /// One of them is only carried as text, or a datum shift that is not built in lies between them.
    pub fn new(from: &Crs, to: &Crs) -> Result<Transformer, CrsError> {
        let (source, target) = (base(from)?, base(to)?);
        if !source.datum.joins(&target.datum) {
            return Err(CrsError::Datums {
                from: from.label(),
                to: to.label(),
                from_datum: source.datum.name().to_owned(),
                to_datum: target.datum.name().to_owned(),
            });
        }
        Ok(Transformer { from: End::new(from)?, to: End::new(to)?, same: from.same_as(to) })
    }

    /// The point in the other CRS.
    ///
    /// Longitudes that come out of a projection are from −180 to 180; from one geographic CRS to another they
    /// stay in the turn in which they are given.
    ///
    /// # Errors
    /// The coordinates are not finite, or the point has no place in one of the projections.
    pub fn point(&self, x: f64, y: f64) -> Result<(f64, f64), CrsError> {
        let outside = || CrsError::Outside { x, y, from: self.from.label.clone(), to: self.to.label.clone() };
        if !x.is_finite() || !y.is_finite() {
            return Err(outside());
        }
        if self.same {
            return Ok((x, y));
        }
        let (lon, lat) = self.from.to_degrees(x, y).ok_or_else(outside)?;
        self.to.from_degrees(lon, lat).ok_or_else(outside)
    }

    /// The box of the other CRS that holds the edges of this one: each edge is transformed at 23 points (its ends
    /// and 21 between), as `transform_bounds` of rasterio and pyproj does.
    ///
    /// In degrees `west > east` says that the box crosses the 180th meridian, on both sides. A box that holds a
    /// pole comes out with all longitudes. A box in degrees that goes to a Mercator projection may touch the
    /// poles: its edge there is taken a ten-thousandth of a degree before them.
    ///
    /// # Errors
    /// The box is none (not finite, `south > north`), or one of the points on its edges has no place in the other
    /// CRS.
    pub fn bbox(&self, west: f64, south: f64, east: f64, north: f64) -> Result<Bounds, CrsError> {
        let geographic = self.from.planes.is_none();
        let finite = [west, south, east, north].iter().all(|v| v.is_finite());
        if !finite || south > north || (west > east && !geographic) {
            return Err(CrsError::NotABox { west, south, east, north, geographic });
        }
        if self.same {
            return Ok(Bounds { west, south, east, north });
        }
        let (mut south, mut north) = (south, north);
        if geographic && self.to.mercator {
            let limit = 89.9999 / self.from.unit;
            (south, north) = (south.clamp(-limit, limit), north.clamp(-limit, limit));
        }
        let turn = 360.0 / self.from.unit;
        let width = if west > east { east - west + turn * ((west - east) / turn).ceil() } else { east - west };
        let edge = self.edge(west, south, width, north)?;
        let (xs, ys): (Vec<f64>, Vec<f64>) = edge.into_iter().unzip();
        let range = |v: &[f64]| v.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
        let ((mut west_out, mut east_out), (mut south_out, mut north_out)) = (range(&xs), range(&ys));
        if self.to.planes.is_none() && !geographic {
            let pole = 90.0 / self.to.unit;
            let half = 180.0 / self.to.unit;
            let (has_north, has_south) =
                (self.holds(90.0, west, south, east, north), self.holds(-90.0, west, south, east, north));
            if has_north || has_south {
                (west_out, east_out) = (-half, half);
                if has_north {
                    north_out = pole;
                }
                if has_south {
                    south_out = -pole;
                }
            } else {
                (west_out, east_out) = across_the_meridian(&xs, half).unwrap_or((west_out, east_out));
            }
        }
        Ok(Bounds { west: west_out, south: south_out, east: east_out, north: north_out })
    }

    /// The transformed points of the edges, once round.
    fn edge(&self, west: f64, south: f64, width: f64, north: f64) -> Result<Vec<(f64, f64)>, CrsError> {
        let steps = EDGE_POINTS + 1;
        let share = |i: usize| i as f64 / steps as f64;
        let (x, y) = (|i: usize| west + width * share(i), |i: usize| south + (north - south) * share(i));
        let mut points = Vec::with_capacity(4 * steps);
        for i in 0..steps {
            points.push((west, y(steps - i)));
        }
        for i in 0..steps {
            points.push((x(i), south));
        }
        for i in 0..steps {
            points.push((west + width, y(i)));
        }
        for i in 0..steps {
            points.push((x(steps - i), north));
        }
        points.into_iter().map(|(x, y)| self.point(x, y)).collect()
    }

    /// Whether a pole lies in the box of the source.
    fn holds(&self, latitude: f64, west: f64, south: f64, east: f64, north: f64) -> bool {
        self.from
            .from_degrees(0.0, latitude)
            .is_some_and(|(x, y)| (west..=east).contains(&x) && (south..=north).contains(&y))
    }
}

/// West and east ends of a closed line of longitudes that crosses the 180th meridian; `None` where it does not.
///
/// Source: PROJ's `proj_trans_bounds`.
fn across_the_meridian(longitudes: &[f64], half: f64) -> Option<(f64, f64)> {
    let mut crossings = 0;
    for (i, lon) in longitudes.iter().enumerate() {
        let before = longitudes[if i == 0 { longitudes.len() - 1 } else { i - 1 }];
        if (lon - before).abs() >= half * 200.0 / 180.0 {
            crossings += 1;
        }
    }
    match crossings {
        0 => None,
        2 => {
            let west = longitudes.iter().copied().filter(|l| *l >= 0.0).fold(half, f64::min);
            let east = longitudes.iter().copied().filter(|l| *l < 0.0).fold(-half, f64::max);
            Some((west, east))
        }
        _ => Some((-half, half)),
    }
}

/// The geodetic part of a CRS.
fn base(crs: &Crs) -> Result<&Geodetic, CrsError> {
    match &crs.system {
        System::Geographic(base) => Ok(base),
        System::Projected(Projected { base, .. }) => Ok(base),
        System::Other { reason } => Err(CrsError::Unsupported { crs: crs.label(), reason: reason.clone() }),
    }
}

impl End {
    fn new(crs: &Crs) -> Result<End, CrsError> {
        let base = base(crs)?;
        let mut end = End {
            label: crs.label(),
            prime_meridian: base.prime_meridian,
            unit: base.unit,
            planes: None,
            mercator: false,
        };
        if let System::Projected(projected) = &crs.system {
            let refused = |what: &str| CrsError::Unsupported {
                crs: crs.label(),
                reason: format!("its projection cannot be set up ({what})"),
            };
            // Web Mercator projects ellipsoidal latitudes as if they were those of a sphere.
            let sphere = Ellipsoid { rf: 0.0, ..base.ellipsoid };
            let method = projected.projection.method;
            let ellipsoid = if method == Method::WebMercator { sphere } else { base.ellipsoid };
            let size = ellipsoid_text(&ellipsoid);
            let plane = Proj::from_proj_string(&format!("{} {size}", projection_text(&projected.projection)))
                .map_err(|e| refused(&e.to_string()))?;
            let globe =
                Proj::from_proj_string(&format!("+proj=longlat {size}")).map_err(|e| refused(&e.to_string()))?;
            end.unit = projected.unit;
            end.mercator = matches!(method, Method::WebMercator | Method::MercatorA | Method::MercatorB);
            end.planes = Some((plane, globe));
        }
        Ok(end)
    }

    /// Degrees east of Greenwich and north; `None` where there are none.
    fn to_degrees(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (lon, lat) = match &self.planes {
            None => (x * self.unit, y * self.unit),
            Some((plane, globe)) => {
                let mut point = (x * self.unit, y * self.unit, 0.0);
                proj4rs::transform::transform(plane, globe, &mut point).ok()?;
                (point.0.to_degrees(), point.1.to_degrees())
            }
        };
        let lon = lon + self.prime_meridian;
        (lon.is_finite() && lat.abs() <= 90.0 + 1e-9).then_some((lon, lat))
    }

    /// Coordinates of a point in degrees; `None` where it has none.
    #[allow(clippy::wrong_self_convention, reason = "the way back of `to_degrees`")]
    fn from_degrees(&self, lon: f64, lat: f64) -> Option<(f64, f64)> {
        let lon = lon - self.prime_meridian;
        if lat.abs() > 90.0 + 1e-9 {
            return None;
        }
        let (x, y) = match &self.planes {
            None => (lon, lat),
            Some((plane, globe)) => {
                // One turn at most: farther ones are refused by the projection.
                let lon = if lon.abs() > 360.0 { lon % 360.0 } else { lon };
                let mut point = (lon.to_radians(), lat.to_radians(), 0.0);
                proj4rs::transform::transform(globe, plane, &mut point).ok()?;
                (point.0, point.1)
            }
        };
        (x.is_finite() && y.is_finite()).then_some((x / self.unit, y / self.unit))
    }
}

fn ellipsoid_text(ellipsoid: &Ellipsoid) -> String {
    match ellipsoid.is_sphere() {
        true => format!("+R={}", ellipsoid.a),
        false => format!("+a={} +rf={}", ellipsoid.a, ellipsoid.rf),
    }
}

/// The PROJ string of a projection, without its ellipsoid.
fn projection_text(p: &Projection) -> String {
    let Projection { lat_0, lon_0, lat_1, lat_2, k, x_0, y_0, .. } = p;
    let own = match p.method {
        Method::TransverseMercator => format!("+proj=tmerc +lat_0={lat_0} +k_0={k}"),
        Method::WebMercator => "+proj=merc".to_owned(),
        Method::MercatorA => format!("+proj=merc +k_0={k}"),
        Method::MercatorB => format!("+proj=merc +lat_ts={lat_1}"),
        Method::LambertConformal1 => format!("+proj=lcc +lat_1={lat_0} +lat_0={lat_0} +k_0={k}"),
        Method::LambertConformal2 => {
            format!("+proj=lcc +lat_1={lat_1} +lat_2={lat_2} +lat_0={lat_0}")
        }
        Method::LambertAzimuthal => format!("+proj=laea +lat_0={lat_0}"),
        Method::LambertCylindrical => format!("+proj=cea +lat_ts={lat_1}"),
        Method::Albers => format!("+proj=aea +lat_1={lat_1} +lat_2={lat_2} +lat_0={lat_0}"),
        Method::PolarStereographicA => format!("+proj=stere +lat_0={lat_0} +k_0={k}"),
        Method::PolarStereographicB => format!("+proj=stere +lat_0={lat_0} +lat_ts={lat_1}"),
        Method::Sinusoidal => "+proj=sinu".to_owned(),
    };
    format!("{own} +lon_0={lon_0} +x_0={x_0} +y_0={y_0}")
}

impl Bounds {
    /// West, south, east, north.
    pub fn array(&self) -> [f64; 4] {
        [self.west, self.south, self.east, self.north]
    }
}
