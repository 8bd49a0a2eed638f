//! From the names of methods and parameters in WKT and PROJJSON to a [`Projection`].

use super::model::{Ellipsoid, Method, Projection, squeeze};

/// A parameter of a projection method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Lat0,
    Lon0,
    Lat1,
    Lat2,
    K,
    X0,
    Y0,
    /// Says nothing (`Auxiliary_Sphere_Type`).
    Ignored,
}

/// What a parameter measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Angle,
    Length,
    Scale,
}

impl Key {
    /// The parameter of this name or EPSG code.
    pub(super) fn find(name: &str, epsg: Option<u32>) -> Option<Key> {
        match epsg {
            Some(8801 | 8821) => return Some(Key::Lat0),
            Some(8802 | 8822 | 8833) => return Some(Key::Lon0),
            Some(8805) => return Some(Key::K),
            Some(8806 | 8826) => return Some(Key::X0),
            Some(8807 | 8827) => return Some(Key::Y0),
            Some(8823 | 8832) => return Some(Key::Lat1),
            Some(8824) => return Some(Key::Lat2),
            _ => {}
        }
        Some(match squeeze(name).as_str() {
            "latitudeoforigin"
            | "latitudeofcenter"
            | "latitudeofcentre"
            | "latitudeofnaturalorigin"
            | "latitudeoffalseorigin"
            | "latitudeofprojectioncentre" => Key::Lat0,
            "centralmeridian"
            | "longitudeofcenter"
            | "longitudeofcentre"
            | "longitudeofnaturalorigin"
            | "longitudeoffalseorigin"
            | "longitudeoforigin"
            | "straightverticallongitudefrompole" => Key::Lon0,
            "scalefactor" | "scalefactoratnaturalorigin" => Key::K,
            "standardparallel1"
            | "standardparallel"
            | "latitudeof1ststandardparallel"
            | "latitudeofstandardparallel" => Key::Lat1,
            "standardparallel2" | "latitudeof2ndstandardparallel" => Key::Lat2,
            "falseeasting" | "eastingatfalseorigin" => Key::X0,
            "falsenorthing" | "northingatfalseorigin" => Key::Y0,
            "auxiliaryspheretype" => Key::Ignored,
            _ => return None,
        })
    }

    /// What it measures.
    pub(super) fn quantity(self) -> Quantity {
        match self {
            Key::Lat0 | Key::Lon0 | Key::Lat1 | Key::Lat2 => Quantity::Angle,
            Key::X0 | Key::Y0 => Quantity::Length,
            Key::K | Key::Ignored => Quantity::Scale,
        }
    }
}

/// The parameters that a text gives, in degrees and metres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Given {
    pub(super) lat_0: Option<f64>,
    pub(super) lon_0: Option<f64>,
    pub(super) lat_1: Option<f64>,
    pub(super) lat_2: Option<f64>,
    pub(super) k: Option<f64>,
    pub(super) x_0: Option<f64>,
    pub(super) y_0: Option<f64>,
}

impl Given {
    pub(super) fn set(&mut self, key: Key, value: f64) {
        let slot = match key {
            Key::Lat0 => &mut self.lat_0,
            Key::Lon0 => &mut self.lon_0,
            Key::Lat1 => &mut self.lat_1,
            Key::Lat2 => &mut self.lat_2,
            Key::K => &mut self.k,
            Key::X0 => &mut self.x_0,
            Key::Y0 => &mut self.y_0,
            Key::Ignored => return,
        };
        *slot = Some(value);
    }
}

/// The projection that a method's name or EPSG code and its parameters say, or why it is not supported.
pub(super) fn from_name(
    name: &str,
    epsg: Option<u32>,
    given: &Given,
    ellipsoid: &Ellipsoid,
) -> Result<Projection, String> {
    let key = squeeze(name);
    if key == "behrmann" {
        return build(Method::LambertCylindrical, &Given { lat_1: Some(30.0), ..*given });
    }
    let unsupported = || format!("its projection method `{name}` is not supported");
    let method = match epsg {
        Some(9807) => Method::TransverseMercator,
        Some(1024) => Method::WebMercator,
        Some(9804) => Method::MercatorA,
        Some(9805) => Method::MercatorB,
        Some(9801) => Method::LambertConformal1,
        Some(9802) => Method::LambertConformal2,
        Some(9820 | 1027) => Method::LambertAzimuthal,
        Some(9835 | 9834) => Method::LambertCylindrical,
        Some(9822) => Method::Albers,
        Some(9810) => Method::PolarStereographicA,
        Some(9829) => Method::PolarStereographicB,
        Some(_) if !matches!(key.as_str(), "sinusoidal") => return Err(unsupported()),
        _ => match key.as_str() {
            "transversemercator" | "gausskruger" => Method::TransverseMercator,
            "popularvisualisationpseudomercator" | "mercatorauxiliarysphere" => Method::WebMercator,
            "mercatorvarianta" | "mercator1sp" => Method::MercatorA,
            "mercatorvariantb" | "mercator2sp" | "mercator" => Method::MercatorB,
            "lambertconicconformal1sp" | "lambertconformalconic1sp" => Method::LambertConformal1,
            "lambertconicconformal2sp" | "lambertconformalconic2sp" => Method::LambertConformal2,
            "lambertconformalconic" if given.lat_2.is_some() => Method::LambertConformal2,
            // ESRI's conic of one parallel repeats it as the origin.
            "lambertconformalconic" if given.lat_1.is_none() || given.lat_1 == given.lat_0 => Method::LambertConformal1,
            "lambertazimuthalequalarea" | "lambertazimuthalequalareaspherical" => Method::LambertAzimuthal,
            "lambertcylindricalequalarea" | "cylindricalequalarea" | "lambertcylindricalequalareaspherical" => {
                Method::LambertCylindrical
            }
            "albersequalarea" | "albersconicequalarea" | "albers" => Method::Albers,
            "polarstereographicvarianta" => Method::PolarStereographicA,
            "polarstereographicvariantb" | "stereographicnorthpole" | "stereographicsouthpole" => {
                Method::PolarStereographicB
            }
            "polarstereographic" => return polar(given),
            // ESRI's, at a pole.
            "stereographic" if given.lat_0.is_some_and(|l| (l.abs() - 90.0).abs() < 1e-9) => {
                Method::PolarStereographicA
            }
            "sinusoidal" => Method::Sinusoidal,
            _ => return Err(unsupported()),
        },
    };
    let spherical = matches!(epsg, Some(1027 | 9834)) || key.ends_with("spherical");
    if spherical && !ellipsoid.is_sphere() {
        return Err(unsupported());
    }
    build(method, given)
}

/// WKT 1's `Polar_Stereographic`: its latitude of origin is the standard parallel, or ±90 with a scale.
pub(super) fn polar(given: &Given) -> Result<Projection, String> {
    let lat = given.lat_0.unwrap_or(90.0);
    if lat.abs() >= 90.0 - 1e-9 {
        return build(Method::PolarStereographicA, given);
    }
    if given.k.is_some_and(|k| k != 1.0) {
        return Err("its polar stereographic projection has a standard parallel and a scale".to_owned());
    }
    build(Method::PolarStereographicB, &Given { lat_1: Some(lat), lat_0: None, k: None, ..*given })
}

/// Checks the parameters of a method and fills in what is left out.
pub(super) fn build(method: Method, given: &Given) -> Result<Projection, String> {
    let mut p = Projection {
        method,
        lat_0: given.lat_0.unwrap_or(0.0),
        lon_0: given.lon_0.unwrap_or(0.0),
        lat_1: 0.0,
        lat_2: 0.0,
        k: 1.0,
        x_0: given.x_0.unwrap_or(0.0),
        y_0: given.y_0.unwrap_or(0.0),
    };
    let needs = |what: Option<f64>, name: &str| what.ok_or_else(|| format!("its projection lacks a {name}"));
    match method {
        Method::TransverseMercator | Method::LambertConformal1 => p.k = given.k.unwrap_or(1.0),
        Method::MercatorA => {
            p.k = given.k.unwrap_or(1.0);
            if p.lat_0.abs() > 1e-9 {
                return Err("its Mercator projection has an origin off the equator".to_owned());
            }
        }
        Method::WebMercator | Method::Sinusoidal => {
            if p.lat_0.abs() > 1e-9 {
                return Err("its projection has an origin off the equator".to_owned());
            }
        }
        Method::MercatorB | Method::LambertCylindrical => {
            p.lat_1 = given.lat_1.unwrap_or(0.0);
            if p.lat_0.abs() > 1e-9 {
                return Err("its projection has an origin off the equator".to_owned());
            }
        }
        Method::LambertConformal2 | Method::Albers => {
            p.lat_1 = needs(given.lat_1, "standard parallel")?;
            p.lat_2 = needs(given.lat_2, "second standard parallel")?;
            if (p.lat_1 + p.lat_2).abs() < 1e-9 {
                return Err("its two standard parallels lie opposite each other".to_owned());
            }
        }
        Method::LambertAzimuthal => {}
        Method::PolarStereographicA => {
            p.k = given.k.unwrap_or(1.0);
            p.lat_0 = given.lat_0.unwrap_or(90.0);
            if (p.lat_0.abs() - 90.0).abs() > 1e-9 {
                return Err("its polar stereographic projection is not centred on a pole".to_owned());
            }
        }
        Method::PolarStereographicB => {
            p.lat_1 = needs(given.lat_1, "standard parallel")?;
            p.lat_0 = 90f64.copysign(p.lat_1);
            if given.lat_0.is_some_and(|l| l * p.lat_1 < 0.0) {
                return Err("its standard parallel lies on the other hemisphere".to_owned());
            }
        }
    }
    if given.k.is_some_and(|k| k != 1.0) && p.k == 1.0 {
        return Err("its projection has a scale factor that its method does not know".to_owned());
    }
    let numbers = [p.lat_0, p.lon_0, p.lat_1, p.lat_2, p.k, p.x_0, p.y_0];
    let sound = numbers.iter().all(|n| n.is_finite())
        && [p.lat_0, p.lat_1, p.lat_2].iter().all(|l| l.abs() <= 90.0 + 1e-9)
        && p.lon_0.abs() <= 720.0
        && p.k > 0.0;
    if sound { Ok(p) } else { Err("its projection parameters are out of range".to_owned()) }
}
