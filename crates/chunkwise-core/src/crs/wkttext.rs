//! WKT 2 of a CRS that came without: from PROJJSON, a PROJ string or CF parameters.

use super::model::{Datum, Geodetic, Method, Projected, System};
use super::{Crs, Ellipsoid};

/// WKT 2:2019; `None` for what is only carried.
pub(super) fn write(crs: &Crs) -> Option<String> {
    let name = quoted(crs.name.as_deref().unwrap_or("unknown"));
    let id = crs.epsg.map(|c| format!(",ID[\"EPSG\",{c}]")).unwrap_or_default();
    match &crs.system {
        System::Geographic(base) => Some(format!(
            "GEOGCRS[{name},{},CS[ellipsoidal,2],AXIS[\"longitude\",east,ORDER[1],{unit}],AXIS[\"latitude\",north,ORDER[2],{unit}]{id}]",
            datum(base),
            unit = angle(base.unit),
        )),
        System::Projected(projected) => Some(format!(
            "PROJCRS[{name},BASEGEOGCRS[\"unknown\",{}],{},CS[Cartesian,2],AXIS[\"(E)\",east,ORDER[1],{unit}],AXIS[\"(N)\",north,ORDER[2],{unit}]{id}]",
            datum(&projected.base),
            conversion(projected),
            unit = length(projected.unit),
        )),
        System::Other { .. } => None,
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn angle(degrees: f64) -> String {
    match degrees == 1.0 {
        true => "ANGLEUNIT[\"degree\",0.0174532925199433]".to_owned(),
        false => format!("ANGLEUNIT[\"unknown\",{}]", degrees.to_radians()),
    }
}

fn length(metres: f64) -> String {
    match metres {
        1.0 => "LENGTHUNIT[\"metre\",1]".to_owned(),
        1000.0 => "LENGTHUNIT[\"kilometre\",1000]".to_owned(),
        other => format!("LENGTHUNIT[\"unknown\",{other}]"),
    }
}

fn datum(base: &Geodetic) -> String {
    let ellipsoid = base.ellipsoid;
    let name = match &base.datum {
        Datum::Unknown => "Unknown based on an ellipsoid",
        known => known.name(),
    };
    let prime = match base.prime_meridian == 0.0 {
        true => "PRIMEM[\"Greenwich\",0,ANGLEUNIT[\"degree\",0.0174532925199433]]".to_owned(),
        false => format!("PRIMEM[\"unknown\",{},ANGLEUNIT[\"degree\",0.0174532925199433]]", base.prime_meridian),
    };
    format!(
        "DATUM[{},ELLIPSOID[\"{}\",{},{},LENGTHUNIT[\"metre\",1]]],{prime}",
        quoted(name),
        if ellipsoid == Ellipsoid::WGS84 {
            "WGS 84"
        } else if ellipsoid == Ellipsoid::GRS80 {
            "GRS 1980"
        } else {
            "unknown"
        },
        ellipsoid.a,
        ellipsoid.rf
    )
}

fn conversion(projected: &Projected) -> String {
    let p = projected.projection;
    let angle = |name: &str, code: u32, v: f64| {
        format!(",PARAMETER[\"{name}\",{v},ANGLEUNIT[\"degree\",0.0174532925199433],ID[\"EPSG\",{code}]]")
    };
    let shift = |name: &str, code: u32, v: f64| {
        format!(",PARAMETER[\"{name}\",{v},LENGTHUNIT[\"metre\",1],ID[\"EPSG\",{code}]]")
    };
    let lat = || angle("Latitude of natural origin", 8801, p.lat_0);
    let lon = || angle("Longitude of natural origin", 8802, p.lon_0);
    let scale =
        || format!(",PARAMETER[\"Scale factor at natural origin\",{},SCALEUNIT[\"unity\",1],ID[\"EPSG\",8805]]", p.k);
    let parallel = || angle("Latitude of 1st standard parallel", 8823, p.lat_1);
    let two = || {
        angle("Latitude of false origin", 8821, p.lat_0)
            + &angle("Longitude of false origin", 8822, p.lon_0)
            + &parallel()
            + &angle("Latitude of 2nd standard parallel", 8824, p.lat_2)
    };
    let (method, parameters) = match p.method {
        Method::TransverseMercator => ("Transverse Mercator\",ID[\"EPSG\",9807]", lat() + &lon() + &scale()),
        Method::WebMercator => ("Popular Visualisation Pseudo Mercator\",ID[\"EPSG\",1024]", lat() + &lon()),
        Method::MercatorA => ("Mercator (variant A)\",ID[\"EPSG\",9804]", lat() + &lon() + &scale()),
        Method::MercatorB => ("Mercator (variant B)\",ID[\"EPSG\",9805]", parallel() + &lon()),
        Method::LambertConformal1 => ("Lambert Conic Conformal (1SP)\",ID[\"EPSG\",9801]", lat() + &lon() + &scale()),
        Method::LambertConformal2 => ("Lambert Conic Conformal (2SP)\",ID[\"EPSG\",9802]", two()),
        Method::LambertAzimuthal if projected.base.ellipsoid.is_sphere() => {
            ("Lambert Azimuthal Equal Area (Spherical)\",ID[\"EPSG\",1027]", lat() + &lon())
        }
        Method::LambertAzimuthal => ("Lambert Azimuthal Equal Area\",ID[\"EPSG\",9820]", lat() + &lon()),
        Method::LambertCylindrical if projected.base.ellipsoid.is_sphere() => {
            ("Lambert Cylindrical Equal Area (Spherical)\",ID[\"EPSG\",9834]", parallel() + &lon())
        }
        Method::LambertCylindrical => ("Lambert Cylindrical Equal Area\",ID[\"EPSG\",9835]", parallel() + &lon()),
        Method::Albers => ("Albers Equal Area\",ID[\"EPSG\",9822]", two()),
        Method::PolarStereographicA => {
            ("Polar Stereographic (variant A)\",ID[\"EPSG\",9810]", lat() + &lon() + &scale())
        }
        Method::PolarStereographicB => (
            "Polar Stereographic (variant B)\",ID[\"EPSG\",9829]",
            angle("Latitude of standard parallel", 8832, p.lat_1) + &angle("Longitude of origin", 8833, p.lon_0),
        ),
        Method::Sinusoidal => ("Sinusoidal\"", angle("Longitude of natural origin", 8802, p.lon_0)),
    };
    // The methods by two parallels name their false origin otherwise.
    let conic = matches!(p.method, Method::LambertConformal2 | Method::Albers);
    let (east, north) = match conic {
        true => (shift("Easting at false origin", 8826, p.x_0), shift("Northing at false origin", 8827, p.y_0)),
        false => (shift("False easting", 8806, p.x_0), shift("False northing", 8807, p.y_0)),
    };
    format!("CONVERSION[\"unknown\",METHOD[\"{method}]{parameters}{east}{north}]")
}
