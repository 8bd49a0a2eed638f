use super::super::Ring;
use super::*;
use proptest::prelude::*;

type Side = Box<dyn Fn((f64, f64)) -> f64>;

fn area(ring: &[(f64, f64)]) -> f64 {
    let next = ring.iter().cycle().skip(1);
    ring.iter().zip(next).map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>() / 2.0
}

/// A ring cut to a box, side by side (Sutherland and Hodgman): another way to the same area.
fn clipped(ring: &[(f64, f64)], [w, s, e, n]: [f64; 4]) -> f64 {
    let sides: [Side; 4] = [
        Box::new(move |p| p.0 - w),
        Box::new(move |p| e - p.0),
        Box::new(move |p| p.1 - s),
        Box::new(move |p| n - p.1),
    ];
    let mut ring: Ring = ring.to_vec();
    for inside in sides {
        let mut cut = Vec::new();
        for (i, &b) in ring.iter().enumerate() {
            let a = ring[(i + ring.len() - 1) % ring.len()];
            let (da, db) = (inside(a), inside(b));
            if (da < 0.0) != (db < 0.0) {
                let t = da / (da - db);
                cut.push((a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1)));
            }
            if db >= 0.0 {
                cut.push(b);
            }
        }
        ring = cut;
    }
    area(&ring)
}

fn dense(found: &Cover, cells: usize) -> Vec<f64> {
    let mut all = vec![0.0; cells];
    for (cell, fraction) in found.cells() {
        assert_eq!(all[cell as usize], 0.0, "cell {cell} twice");
        all[cell as usize] = fraction;
    }
    all
}

/// A ring about a centre whose radius changes from corner to corner: it does not cross itself.
fn star() -> impl Strategy<Value = Ring> {
    let centre = (-2.0..12.0f64, -2.0..12.0f64);
    (centre, prop::collection::vec(0.01..5.0f64, 3..25), 0.0..1.0f64, prop::bool::ANY).prop_map(
        |((x, y), radii, turn, snap)| {
            let n = radii.len() as f64;
            let corner = |(i, r): (usize, f64)| {
                let angle = std::f64::consts::TAU * (i as f64 + turn) / n;
                let at = (x + r * angle.cos(), y + r * angle.sin());
                // Corners on edges and corners of cells.
                if snap { (at.0.round(), at.1.round()) } else { at }
            };
            radii.into_iter().enumerate().map(corner).collect()
        },
    )
}

fn edges() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        Just((0..=10).map(f64::from).collect()),
        prop::collection::vec(0.1..3.0f64, 1..10).prop_map(|widths| {
            let mut at = 0.0;
            std::iter::once(0.0)
                .chain(widths.into_iter().map(|w| {
                    at += w;
                    at
                }))
                .collect()
        }),
    ]
}

proptest! {
    #[test]
    fn each_cell_is_covered_by_its_part_of_the_area(ring in star(), hole in star(), xs in edges(), ys in edges()) {
        let polygon = Polygon::new(vec![(ring.clone(), vec![])]);
        // Snapped rings may cross themselves; those are not polygons.
        let simple = polygon.rings().iter().all(|_| area(&ring) > 0.0);
        prop_assume!(simple && ring.iter().any(|p| p.0 != p.0.round()));
        let cells = (xs.len() - 1) * (ys.len() - 1);
        let found = dense(&cover(&polygon, &xs, &ys, Rows::Up, Touch::Coverage), cells);
        let all = dense(&cover(&polygon, &xs, &ys, Rows::Up, Touch::All), cells);
        for (cell, &fraction) in found.iter().enumerate() {
            let (row, column) = (cell / (xs.len() - 1), cell % (xs.len() - 1));
            let bounds = [xs[column], ys[row], xs[column + 1], ys[row + 1]];
            let whole = (bounds[2] - bounds[0]) * (bounds[3] - bounds[1]);
            let expected = clipped(&ring, bounds) / whole;
            prop_assert!((fraction - expected).abs() < 1e-9, "cell {row}, {column}: {fraction}, not {expected}");
            prop_assert_eq!(all[cell], if fraction > 0.0 { 1.0 } else { 0.0 });
        }
        // A hole that reaches beyond its polygon is none; one of the same ring takes all of it.
        let none = Polygon::new(vec![(ring.clone(), vec![ring.clone()])]);
        prop_assert!(cover(&none, &xs, &ys, Rows::Up, Touch::Coverage).is_empty());
        // Two polygons are the sum of each where they do not meet.
        let far: Ring = hole.iter().map(|p| (p.0 + 100.0, p.1)).collect();
        let both = Polygon::new(vec![(far, vec![]), (ring, vec![])]);
        // (The other ring may cross itself; then both are drawn anew.)
        let both = dense(&cover(&both, &xs, &ys, Rows::Up, Touch::Coverage), cells);
        prop_assert!(both.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn tiles_of_a_grid_see_the_same_fractions(ring in star(), cut in 1usize..9) {
        let polygon = Polygon::new(vec![(ring, vec![])]);
        let edges: Vec<f64> = (0..=10).map(f64::from).collect();
        for touch in Touch::ALL {
            let whole = dense(&cover(&polygon, &edges, &edges, Rows::Up, touch), 100);
            let (left, right) = (&edges[..=cut], &edges[cut..]);
            let first = dense(&cover(&polygon, left, &edges, Rows::Up, touch), 10 * cut);
            let second = dense(&cover(&polygon, right, &edges, Rows::Up, touch), 10 * (10 - cut));
            for row in 0..10 {
                for column in 0..10 {
                    let part = match column < cut {
                        true => first[row * cut + column],
                        false => second[row * (10 - cut) + column - cut],
                    };
                    prop_assert!((whole[row * 10 + column] - part).abs() < 1e-12);
                }
            }
        }
    }
}

#[test]
fn cells_that_are_only_touched_are_outside() {
    let edges: Vec<f64> = (0..=6).map(f64::from).collect();
    let square = Polygon::new(vec![(vec![(1.0, 1.0), (3.0, 1.0), (3.0, 3.0), (1.0, 3.0)], vec![])]);
    for touch in Touch::ALL {
        let found = cover(&square, &edges, &edges, Rows::Up, touch);
        assert_eq!((found.whole, found.parts), (vec![(7, 2), (13, 2)], vec![]), "{touch:?}");
    }
}

#[test]
fn edges_of_many_short_pieces_leave_nothing_behind() {
    // The left side in 997 pieces, the right in one: what lies right of both is outside, not covered by a rounding.
    let mut ring: Ring = (0..=997).map(|i| (1.3, 9.7 - 9.4 * f64::from(i) / 997.0)).collect();
    ring.extend([(4.2, 0.3), (4.2, 9.7)]);
    let edges: Vec<f64> = (0..=10).map(f64::from).collect();
    let found = cover(&Polygon::new(vec![(ring, vec![])]), &edges, &edges, Rows::Up, Touch::Coverage);
    assert!(found.cells().all(|(cell, _)| (1..=4).contains(&(cell % 10))));
    let total: f64 = found.cells().map(|c| c.1).sum();
    assert!((total - 2.9 * 9.4).abs() < 1e-9, "{total}");
}

#[test]
fn an_edge_through_the_middle_of_cells_halves_them() {
    let edges = [0.0, 1.0, 2.0, 3.0];
    let half = Polygon::new(vec![(vec![(-5.0, -5.0), (8.0, -5.0), (8.0, 1.5), (-5.0, 1.5)], vec![])]);
    let found = cover(&half, &edges, &edges, Rows::Up, Touch::Coverage);
    assert_eq!((found.whole, found.parts), (vec![(0, 3)], vec![(3, 0.5), (4, 0.5), (5, 0.5)]));
    // Centres on the upper edge are outside.
    assert_eq!(cover(&half, &edges, &edges, Rows::Up, Touch::Centre).whole, [(0, 3)]);
}

#[test]
fn what_bounds_no_area_covers_nothing() {
    let edges = [0.0, 1.0, 2.0];
    for ring in [vec![], vec![(0.5, 0.5)], vec![(0.2, 0.2), (1.8, 1.8)], vec![(0.2, 0.2), (1.8, 0.2), (0.4, 0.2)]] {
        for touch in Touch::ALL {
            assert!(cover(&Polygon::new(vec![(ring.clone(), vec![])]), &edges, &edges, Rows::Up, touch).is_empty());
        }
    }
    let outside = Polygon::new(vec![(vec![(5.0, 5.0), (6.0, 5.0), (6.0, 6.0)], vec![])]);
    assert!(cover(&outside, &edges, &edges, Rows::Up, Touch::All).is_empty());
}

#[test]
fn loops_count_whichever_way_they_run_and_what_lies_over_itself_once() {
    let edges: Vec<f64> = (0..=4).map(f64::from).collect();
    let total = |parts| {
        let found = cover(&Polygon::new(parts), &edges, &edges, Rows::Up, Touch::Coverage);
        assert!(found.cells().all(|c| c.1 <= 1.0));
        found.cells().map(|c| c.1).sum::<f64>()
    };
    // A figure of eight: two triangles of area 1, of which one runs the other way; and all of it within one cell.
    let eight = vec![(1.0, 1.0), (3.0, 3.0), (3.0, 1.0), (1.0, 3.0)];
    let small = eight.iter().map(|&(x, y)| (2.0 + x / 8.0, 2.0 + y / 8.0)).collect();
    assert!((total(vec![(eight, vec![])]) - 2.0).abs() < 1e-9);
    assert!((total(vec![(small, vec![])]) - 2.0 / 64.0).abs() < 1e-9);
    let square = |x: f64| (vec![(x, 1.0), (x + 2.0, 1.0), (x + 2.0, 3.0), (x, 3.0)], vec![]);
    assert!((total(vec![square(0.5), square(1.5)]) - 6.0).abs() < 1e-9);
}
