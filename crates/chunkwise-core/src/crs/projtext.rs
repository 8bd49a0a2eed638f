//! PROJ strings: `+proj=utm +zone=33 +datum=WGS84`.

use super::model::{Datum, Ellipsoid, Geodetic, Method, Projected, System};
use super::projection::{self, Given};
use super::{Crs, CrsError, epsg};
use std::collections::HashMap;

/// Ellipsoids by PROJ's names: semi-major axis in metres, inverse flattening (0: sphere).
const ELLIPSOIDS: [(&str, f64, f64); 10] = [
    ("WGS84", 6_378_137.0, 298.257_223_563),
    ("GRS80", 6_378_137.0, 298.257_222_101),
    ("WGS72", 6_378_135.0, 298.26),
    ("GRS67", 6_378_160.0, 298.247_167_427),
    ("intl", 6_378_388.0, 297.0),
    ("bessel", 6_377_397.155, 299.152_812_8),
    ("krass", 6_378_245.0, 298.3),
    ("clrk66", 6_378_206.4, 294.978_698_213_898_2),
    ("airy", 6_377_563.396, 299.324_964_6),
    ("sphere", 6_370_997.0, 0.0),
];

/// Reads a PROJ string.
pub(super) fn parse(text: &str) -> Result<Crs, CrsError> {
    if let Some(init) = text.split_whitespace().find(|w| w.starts_with("+init="))
        && let Some(code) = epsg::code_in(init)
    {
        return Crs::from_epsg(code);
    }
    let mut words: HashMap<&str, &str> = HashMap::new();
    for word in text.split_whitespace() {
        let word = word.trim_start_matches('+');
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        words.insert(key, value);
    }
    let fields = Fields(words);
    if fields.text("proj").is_none() {
        return Err(CrsError::Malformed { form: "PROJ string", problem: "it has no `+proj`".to_owned() });
    }
    let system = system(&fields).unwrap_or_else(|reason| System::Other { reason });
    Ok(Crs { name: Some(text.to_owned()), epsg: None, wkt: None, system })
}

struct Fields<'a>(HashMap<&'a str, &'a str>);

impl Fields<'_> {
    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).copied()
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
        number.map(Some).ok_or_else(|| format!("`+{key}={text}` is not a number"))
    }
}

fn ellipsoid(fields: &Fields<'_>) -> Result<(Ellipsoid, Datum), String> {
    let named = |name: &str| {
        let found = ELLIPSOIDS.iter().find(|(n, ..)| *n == name);
        found.and_then(|(_, a, rf)| Ellipsoid::new(*a, *rf)).ok_or_else(|| format!("`+ellps={name}` is not known"))
    };
    if let Some(datum) = fields.text("datum") {
        return match datum {
            "WGS84" => Ok((Ellipsoid::WGS84, Datum::Wgs84)),
            "NAD83" => Ok((Ellipsoid::GRS80, Datum::from_name("NAD83"))),
            other => Err(format!("its datum `{other}` is not supported")),
        };
    }
    let sized = match (fields.number("R")?, fields.number("a")?) {
        (Some(radius), _) => Ellipsoid::new(radius, 0.0),
        (None, Some(a)) => match (fields.number("b")?, fields.number("rf")?, fields.number("f")?) {
            (Some(b), ..) => Ellipsoid::from_axes(a, b),
            (None, Some(rf), _) => Ellipsoid::new(a, rf),
            (None, None, Some(f)) => Ellipsoid::new(a, if f == 0.0 { 0.0 } else { 1.0 / f }),
            (None, None, None) => Ellipsoid::new(a, 0.0),
        },
        (None, None) => Some(match fields.text("ellps") {
            Some(name) => named(name)?,
            // A PROJ string that says nothing is on GRS 80.
            None => Ellipsoid::GRS80,
        }),
    };
    Ok((sized.ok_or("its ellipsoid has no size")?, Datum::Unknown))
}

fn system(fields: &Fields<'_>) -> Result<System, String> {
    let (ellipsoid, mut datum) = ellipsoid(fields)?;
    let null = |t: &str| t.split(',').all(|n| n.trim().parse::<f64>() == Ok(0.0));
    match fields.text("towgs84") {
        // With a null shift PROJ takes the coordinates for those of WGS 84.
        None => {}
        Some(t) if null(t) => {}
        Some(t) => datum = Datum::Shifted(format!("towgs84={t}")),
    }
    for key in ["axis", "geoidgrids", "over", "geoc", "pm"] {
        if let Some(value) = fields.text(key)
            && !(key == "pm" && value == "0")
            && !(key == "axis" && value == "enu")
        {
            return Err(format!("it has `+{key}`"));
        }
    }
    let web = fields.text("nadgrids") == Some("@null");
    if fields.text("nadgrids").is_some() && !web {
        return Err("it needs grids for its datum shift".to_owned());
    }
    let mut base = Geodetic { datum, ellipsoid, prime_meridian: 0.0, unit: 1.0 };
    let unit = match (fields.number("to_meter")?, fields.text("units")) {
        (Some(factor), _) => factor,
        (None, None | Some("m")) => 1.0,
        (None, Some("km")) => 1000.0,
        (None, Some("ft")) => 0.3048,
        (None, Some("us-ft")) => 1200.0 / 3937.0,
        (None, Some(other)) => return Err(format!("its unit `{other}` is not known")),
    };
    if unit <= 0.0 {
        return Err("its unit has no size".to_owned());
    }
    let mut given = Given {
        lat_0: fields.number("lat_0")?,
        lon_0: fields.number("lon_0")?,
        lat_1: fields.number("lat_1")?,
        lat_2: fields.number("lat_2")?,
        k: fields.number("k_0")?.or(fields.number("k")?),
        x_0: fields.number("x_0")?,
        y_0: fields.number("y_0")?,
    };
    let lat_ts = fields.number("lat_ts")?;
    let name = fields.text("proj").unwrap_or("");
    let method = match name {
        "longlat" | "latlong" | "lonlat" | "latlon" => return Ok(System::Geographic(base)),
        "utm" => {
            let zone = fields.number("zone")?.filter(|z| z.fract() == 0.0 && (1.0..=60.0).contains(z));
            let zone = zone.ok_or("it has no UTM zone from 1 to 60")?;
            let south = fields.text("south").is_some();
            given = Given {
                lat_0: Some(0.0),
                lon_0: Some(6.0 * zone - 183.0),
                k: Some(0.9996),
                x_0: Some(500_000.0),
                y_0: Some(if south { 1e7 } else { 0.0 }),
                ..Given::default()
            };
            Method::TransverseMercator
        }
        "tmerc" | "etmerc" => Method::TransverseMercator,
        "merc" if web && ellipsoid.is_sphere() => {
            base = Geodetic { datum: Datum::Wgs84, ellipsoid: Ellipsoid::WGS84, ..base };
            given.k = given.k.filter(|k| *k != 1.0);
            Method::WebMercator
        }
        "webmerc" => Method::WebMercator,
        "merc" if lat_ts.is_some() => {
            given.lat_1 = lat_ts;
            Method::MercatorB
        }
        "merc" => Method::MercatorA,
        "lcc" if given.lat_2.is_some() => Method::LambertConformal2,
        "lcc" => {
            let (lat_1, lat_0) = (given.lat_1, given.lat_0);
            if lat_0.is_some() && lat_1.is_some() && lat_0 != lat_1 {
                return Err("its one standard parallel is not its origin".to_owned());
            }
            given.lat_0 = lat_0.or(lat_1);
            Method::LambertConformal1
        }
        "laea" => Method::LambertAzimuthal,
        "cea" => {
            given.lat_1 = lat_ts;
            Method::LambertCylindrical
        }
        "aea" => Method::Albers,
        "stere" | "ups" if given.lat_0.is_some_and(|l| (l.abs() - 90.0).abs() < 1e-9) => match lat_ts {
            Some(lat) if lat.abs() < 90.0 - 1e-9 => {
                given.lat_1 = Some(lat);
                Method::PolarStereographicB
            }
            _ => Method::PolarStereographicA,
        },
        "sinu" => Method::Sinusoidal,
        other => return Err(format!("its projection `{other}` is not supported")),
    };
    if web && method != Method::WebMercator {
        return Err("it turns its datum shift off".to_owned());
    }
    let projection = projection::build(method, &given)?;
    Ok(System::Projected(Projected { base, projection, unit }))
}
