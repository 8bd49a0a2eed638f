//! What a CRS is once read: datum, ellipsoid, projection, unit.

use serde::{Deserialize, Serialize};

/// What the coordinates of a CRS are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Longitude and latitude.
    Geographic(Geodetic),
    /// Easting and northing.
    Projected(Projected),
    /// Carried as text only.
    Other {
        /// What is not supported, as the end of the sentence "cannot transform: …".
        reason: String,
    },
}

/// Datum, ellipsoid and units of longitudes and latitudes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Geodetic {
    /// Datum.
    pub datum: Datum,
    /// Ellipsoid.
    pub ellipsoid: Ellipsoid,
    /// Longitude of the prime meridian, in degrees east of Greenwich.
    pub prime_meridian: f64,
    /// Degrees in one unit of the coordinates: 1, or 0.9 for grads.
    pub unit: f64,
}

/// A map projection over a geodetic system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Projected {
    /// What is projected.
    pub base: Geodetic,
    /// How.
    pub projection: Projection,
    /// Metres in one unit of the coordinates.
    pub unit: f64,
}

/// A datum, as far as coordinates of two datums can be brought together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Datum {
    /// WGS 84 (the ensemble; single realizations are [`Datum::World`]).
    Wgs84,
    /// Latitudes and longitudes are those of WGS 84 to PROJ's default operation (null or ballpark; metres at
    /// most): ETRS89, NAD83, GDA94, SIRGAS 2000, JGD2011 … The name is EPSG's.
    World(String),
    /// Only the ellipsoid is known, as in many models and MODIS grids. Latitudes and longitudes are taken for those
    /// of any other datum of this kind and of WGS 84 and [`Datum::World`], unchanged, as PROJ does.
    Unknown,
    /// Any other: coordinates stay within it.
    Shifted(String),
}

/// Size and shape of the Earth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ellipsoid {
    /// Semi-major axis, in metres.
    pub a: f64,
    /// Inverse flattening; 0 for a sphere.
    pub rf: f64,
}

/// A projection method and its parameters: degrees (from the prime meridian of the base) and metres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    /// Method.
    pub method: Method,
    /// Latitude of the origin; of the pole in [`Method::PolarStereographicA`] and B.
    pub lat_0: f64,
    /// Central meridian.
    pub lon_0: f64,
    /// First standard parallel, where the method has one.
    pub lat_1: f64,
    /// Second standard parallel, where the method has two.
    pub lat_2: f64,
    /// Scale at the origin, 1 where the method has none.
    pub k: f64,
    /// False easting.
    pub x_0: f64,
    /// False northing.
    pub y_0: f64,
}

/// A projection method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Transverse Mercator (UTM, Gauss–Krüger): `lat_0 lon_0 k`. EPSG method 9807.
    TransverseMercator,
    /// Spherical Mercator of ellipsoidal latitudes: `lon_0`. EPSG method 1024.
    WebMercator,
    /// Mercator by scale: `lon_0 k`. EPSG method 9804.
    MercatorA,
    /// Mercator by standard parallel: `lon_0 lat_1`. EPSG method 9805.
    MercatorB,
    /// Lambert conformal conic, one parallel: `lat_0 lon_0 k`. EPSG method 9801.
    LambertConformal1,
    /// Lambert conformal conic, two parallels: `lat_0 lon_0 lat_1 lat_2`. EPSG method 9802.
    LambertConformal2,
    /// Lambert azimuthal equal area: `lat_0 lon_0`. EPSG method 9820.
    LambertAzimuthal,
    /// Lambert cylindrical equal area (EASE-Grid 2.0 global): `lon_0 lat_1`. EPSG method 9835.
    LambertCylindrical,
    /// Albers equal area: `lat_0 lon_0 lat_1 lat_2`. EPSG method 9822.
    Albers,
    /// Polar stereographic by scale at the pole: `lat_0 = ±90, lon_0 k`. EPSG method 9810.
    PolarStereographicA,
    /// Polar stereographic by standard parallel: `lat_0 = ±90, lon_0 lat_1`. EPSG method 9829.
    PolarStereographicB,
    /// Sinusoidal (MODIS): `lon_0`.
    Sinusoidal,
}

/// Whether two numbers of a definition are the same but for printing.
pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

impl System {
    /// Whether both say the same.
    pub(super) fn same_as(&self, other: &System) -> bool {
        match (self, other) {
            (System::Geographic(a), System::Geographic(b)) => a.same_as(b) && close(a.unit, b.unit),
            (System::Projected(a), System::Projected(b)) => {
                a.base.same_as(&b.base) && a.projection.same_as(&b.projection) && close(a.unit, b.unit)
            }
            _ => false,
        }
    }
}

impl Geodetic {
    /// WGS 84, degrees.
    pub const WGS84: Geodetic =
        Geodetic { datum: Datum::Wgs84, ellipsoid: Ellipsoid::WGS84, prime_meridian: 0.0, unit: 1.0 };

    /// Same datum, ellipsoid and prime meridian.
    fn same_as(&self, other: &Geodetic) -> bool {
        self.datum == other.datum
            && self.ellipsoid.same_as(&other.ellipsoid)
            && close(self.prime_meridian, other.prime_meridian)
    }
}

impl Ellipsoid {
    /// WGS 84.
    pub const WGS84: Ellipsoid = Ellipsoid { a: 6_378_137.0, rf: 298.257_223_563 };
    /// GRS 1980.
    pub const GRS80: Ellipsoid = Ellipsoid { a: 6_378_137.0, rf: 298.257_222_101 };

    /// An ellipsoid from its semi-major axis in metres and inverse flattening (0 or infinite: a sphere); `None`
    /// where they are no ellipsoid.
    pub fn new(a: f64, rf: f64) -> Option<Ellipsoid> {
        let rf = if rf.is_infinite() { 0.0 } else { rf };
        let sound = a.is_finite() && (1.0..1e12).contains(&a) && (rf == 0.0 || (rf.is_finite() && rf > 1.0));
        sound.then_some(Ellipsoid { a, rf })
    }

    /// An ellipsoid from its two semi-axes in metres.
    pub fn from_axes(a: f64, b: f64) -> Option<Ellipsoid> {
        // Axes are printed to a tenth of a millimetre or so: closer is a sphere.
        if (a - b).abs() < 1e-6 { Ellipsoid::new(a, 0.0) } else { Ellipsoid::new(a, a / (a - b)) }
    }

    /// Whether it is a sphere.
    pub fn is_sphere(&self) -> bool {
        self.rf == 0.0
    }

    /// Semi-minor axis in metres.
    pub fn b(&self) -> f64 {
        if self.is_sphere() { self.a } else { self.a * (1.0 - 1.0 / self.rf) }
    }

    /// Same within what printing the flattening, or the minor axis to 0.1 mm, leaves; WGS 84 and GRS 1980 differ
    /// (by 1.0e-4 m in `b`, 1.5e-6 in `rf`).
    fn same_as(&self, other: &Ellipsoid) -> bool {
        close(self.a, other.a) && (self.rf - other.rf).abs() < 1e-6
    }
}

impl Projection {
    fn same_as(&self, other: &Projection) -> bool {
        // A centimetre of longitude is 1e-7 degrees; 1e-9 relative is far below.
        let turn = (self.lon_0 - other.lon_0).rem_euclid(360.0);
        self.method == other.method
            && turn.min(360.0 - turn) < 1e-9
            && close(self.lat_0, other.lat_0)
            && close(self.lat_1, other.lat_1)
            && close(self.lat_2, other.lat_2)
            && close(self.k, other.k)
            && close(self.x_0, other.x_0)
            && close(self.y_0, other.y_0)
    }
}

/// Names of datums of [`Datum::World`]: EPSG's name, then the spellings found in texts.
const WORLD: &str = include_str!("datums.txt");

/// Lower case, letters and digits only: `D_WGS_1984` and `WGS 1984` compare alike.
pub(super) fn squeeze(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl Datum {
    /// The datum of this name.
    pub fn from_name(name: &str) -> Datum {
        let name = name.trim();
        let key = squeeze(name);
        let bare = key.strip_prefix('d').unwrap_or(&key);
        let nameless = ["unknown", "unnamed", "undefined", "unspecified", "notspecified", "sphere"];
        if key.is_empty() || nameless.iter().any(|n| key.starts_with(n) || bare.starts_with(n)) {
            return Datum::Unknown;
        }
        for line in WORLD.lines().filter(|l| !l.starts_with('#')) {
            if let Some((canonical, spellings)) = line.split_once('|')
                && spellings.split(' ').any(|s| s == key)
            {
                return match canonical {
                    "World Geodetic System 1984" => Datum::Wgs84,
                    other => Datum::World(other.to_owned()),
                };
            }
        }
        Datum::Shifted(name.to_owned())
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        match self {
            Datum::Wgs84 => "World Geodetic System 1984",
            Datum::World(n) | Datum::Shifted(n) => n,
            Datum::Unknown => "unknown",
        }
    }

    /// Whether longitudes and latitudes of `self` are taken for those of `other`.
    pub fn joins(&self, other: &Datum) -> bool {
        match (self, other) {
            (Datum::Shifted(a), Datum::Shifted(b)) => squeeze(a) == squeeze(b),
            (Datum::Shifted(_), _) | (_, Datum::Shifted(_)) => false,
            _ => true,
        }
    }
}
