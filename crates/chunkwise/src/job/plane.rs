//! Where what is asked for lies on the Earth.

use chunkwise_core::crs::{Georeference, find_georeference};
use chunkwise_core::cube::{Cube, Variable};

/// Two variables, named, that lie along other axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherAxes {
    /// One of them.
    pub one: String,
    /// The other.
    pub other: String,
}

/// How the variables that a request works on lie on the Earth; `None` where none of them has two dimensions there.
///
/// # Errors
/// They lie along other axes.
pub fn plane(cube: &Cube, variables: &[String], formulas: &[String]) -> Result<Option<Georeference>, OtherAxes> {
    // Formulas may read any variable; else only those that are named.
    let named = |v: &&Variable| variables.is_empty() || !formulas.is_empty() || variables.contains(&v.name);
    let mut found: Option<(&Variable, Georeference)> = None;
    for variable in cube.data_variables().filter(named) {
        let own = find_georeference(cube, variable);
        match (&found, &own.dims) {
            (_, None) => {}
            (None, Some(_)) => found = Some((variable, own)),
            (Some((_, first)), Some(_)) if first.dims == own.dims => {}
            (Some((first, _)), Some(_)) => {
                return Err(OtherAxes { one: first.name.clone(), other: variable.name.clone() });
            }
        }
    }
    Ok(found.map(|f| f.1))
}
