//! Longitudes that go round: −75 on an axis from 0 to 360 is 285.

use std::ops::Range;

/// The turn of `longitude` (± 360° n) that lies on an axis from `first` to `last` (in either order), in degrees.
///
/// Where none does, the turn nearest to the axis; `longitude` itself where it is not finite, or the axis is not.
pub fn wrap_longitude(longitude: f64, first: f64, last: f64) -> f64 {
    let (low, high) = (first.min(last), first.max(last));
    if !longitude.is_finite() || !low.is_finite() || !high.is_finite() || (low..=high).contains(&longitude) {
        return longitude;
    }
    // The first turn at or above the axis' low end, and the one below it.
    let turns = ((low - longitude) / 360.0).ceil();
    let (above, below) = (longitude + 360.0 * turns, longitude + 360.0 * (turns - 1.0));
    if above <= high || above - high <= low - below { above } else { below }
}

/// The runs of indices whose longitude lies in the box from `west` to `east` (both ends included), from west to east.
///
/// `west > east` is a box across the 180th meridian. Longitudes on the axis may be in any turn. One run, unless the
/// axis' seam lies in the box: then two (or more, where the axis itself jumps). `NaN` labels lie in no box.
pub fn longitude_runs(labels: &[f64], west: f64, east: f64) -> Vec<Range<u64>> {
    if !west.is_finite() || !east.is_finite() {
        return Vec::new();
    }
    let width = if east >= west { east - west } else { (east - west).rem_euclid(360.0) };
    let offset = |label: f64| {
        let o = (label - west).rem_euclid(360.0);
        // A label a rounding error west of the edge stands on it.
        if o > 360.0 - 1e-9 { 0.0 } else { o }
    };
    let inside = |label: f64| label.is_finite() && (width >= 360.0 || offset(label) <= width + 1e-9);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for (i, &label) in labels.iter().enumerate() {
        let i = i as u64;
        if !inside(label) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.end == i => run.end = i + 1,
            _ => runs.push(i..i + 1),
        }
    }
    if width < 360.0 {
        runs.sort_by(|a, b| {
            let start = |r: &Range<u64>| {
                let ends = [r.start, r.end - 1].map(|i| labels.get(i as usize).map_or(0.0, |l| offset(*l)));
                ends[0].min(ends[1])
            };
            start(a).total_cmp(&start(b))
        });
    }
    runs
}
