//! The laws that every state keeps, for every element type, on values of every kind.
//!
//! Segments dealt out in any way give the same bits; exact states also when they are cut at any leaf; floats cut
//! elsewhere differ within a stated bound; what is empty changes nothing.

use super::finish::{Finish, finish};
use super::map::{CellMap, MapDim, Places, To};
use super::ordered::Pick;
use super::state::{Columns, State, StateKind};
use super::sums::{SquareColumn, SumColumn, Sums, SumsKind};
use super::tree::{self, Node};
use super::{Leaf, Statistic};
use crate::cube::Packing;
use crate::dtype::{DType, Element, ForElement};
use proptest::prelude::*;

/// All that is folded.
const KINDS: [StateKind; 9] = [
    StateKind::Sums(SumsKind::Count),
    StateKind::Sums(SumsKind::Sum),
    StateKind::Sums(SumsKind::Squares),
    StateKind::Extremes,
    StateKind::Picked(Pick::First),
    StateKind::Picked(Pick::Last),
    StateKind::Picked(Pick::Least),
    StateKind::Picked(Pick::Greatest),
    StateKind::Series,
];

/// How the elements of a leaf go to cells.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Steps × cells: each step runs across all cells.
    Across,
    /// Cells × steps: each cell's values run into it.
    Into,
    /// Steps × cells × 3: two dimensions are folded, places are compared.
    Places,
    /// Steps into groups: `i % 3`, and every seventh into none.
    Groups,
}

/// What the values are like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Infinities, `NaN`, zeros of both signs, the ends of the type, all magnitudes.
    Anything,
    /// Finite, within a few magnitudes.
    Tame,
    /// Nothing is valid.
    Missing,
}

/// The leaves of one case: some steps each, the same cells.
#[derive(Clone, Debug)]
struct Case {
    shape: Shape,
    kind: Kind,
    cells: usize,
    steps: Vec<usize>,
    masked: bool,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let shape = prop_oneof![Just(Shape::Across), Just(Shape::Into), Just(Shape::Places), Just(Shape::Groups)];
    let kind = prop_oneof![6 => Just(Kind::Anything), 3 => Just(Kind::Tame), 1 => Just(Kind::Missing)];
    let steps = proptest::collection::vec(1usize..12, 1..24);
    (shape, kind, 1usize..40, steps, any::<bool>(), any::<u64>())
        .prop_map(|(shape, kind, cells, steps, masked, seed)| Case { shape, kind, cells, steps, masked, seed })
}

fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn value<T: Element>(kind: Kind, seed: &mut u64) -> T {
    let r = random(seed);
    let unit = (r >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
    match (kind, r % 16) {
        (Kind::Tame | Kind::Missing, _) => T::from_f64(100.0 * unit + 20.0),
        (_, 0) => T::from_f64(f64::NAN),
        (_, 1) => T::GREATEST,
        (_, 2) => T::LEAST,
        (_, 3) => T::from_f64(0.0),
        (_, 4) => T::from_f64(-0.0),
        // Ties.
        (_, 5 | 6) => T::from_f64(7.0),
        (_, 7) => T::from_f64(1e300 * unit),
        (_, n) => T::from_f64(unit * 10f64.powi(n as i32 * 3 - 30)),
    }
}

/// A leaf's values, mask and map.
type Made<T> = (Vec<T>, Option<Vec<u8>>, CellMap);

impl Case {
    /// Cells of the patch.
    fn cells(&self) -> usize {
        if matches!(self.shape, Shape::Groups) { 3 * self.cells } else { self.cells }
    }

    fn most(&self) -> u64 {
        3 * self.steps.iter().sum::<usize>() as u64
    }

    fn leaves<T: Element>(&self) -> Vec<Made<T>> {
        let mut seed = self.seed;
        let all: usize = self.steps.iter().sum();
        let mut first = 0;
        let made = self.steps.iter().map(|&steps| {
            let fold = MapDim { len: steps, to: To::One };
            let keep = MapDim { len: self.cells, to: To::Keep { stride: 1 } };
            let dims = match self.shape {
                Shape::Across => vec![fold, keep],
                Shape::Into => vec![keep, fold],
                Shape::Places => vec![fold, keep, MapDim { len: 3, to: To::One }],
                Shape::Groups => {
                    let group = |p: usize| (p % 7 != 6).then_some(p % 3 * self.cells);
                    vec![MapDim { len: steps, to: To::Table((first..first + steps).map(group).collect()) }, keep]
                }
            };
            let mut map = CellMap::new(&dims, self.cells(), first as u64);
            if matches!(self.shape, Shape::Places) {
                let dims = vec![(steps, first as u64, 3), (self.cells, 0, 0), (3, 0, 1)];
                debug_assert!(all > 0, "there are steps");
                map.places = Some(Places { dims });
            }
            first += steps;
            let values: Vec<T> = (0..map.elements).map(|_| value(self.kind, &mut seed)).collect();
            let mask = match self.kind {
                Kind::Missing => Some(vec![0; values.len()]),
                _ => {
                    self.masked.then(|| values.iter().map(|_| u8::from(!random(&mut seed).is_multiple_of(4))).collect())
                }
            };
            (values, mask, map)
        });
        made.collect()
    }

    fn empty<T: Element>(&self, kind: StateKind) -> State {
        State::empty(kind, T::DTYPE, self.cells(), self.most())
    }

    fn folded<'a, T: Element>(&self, kind: StateKind, leaves: impl IntoIterator<Item = &'a Made<T>>) -> State {
        folded(self.empty::<T>(kind), leaves)
    }
}

fn folded<'a, T: Element>(mut state: State, leaves: impl IntoIterator<Item = &'a Made<T>>) -> State {
    for (values, mask, map) in leaves {
        state.fold(Leaf { values, mask: mask.as_deref() }, map);
    }
    state
}

fn bytes(states: &impl serde::Serialize) -> Vec<u8> {
    postcard::to_stdvec(states).unwrap()
}

/// The bits of every statistic that a state serves.
fn finished(kind: StateKind, state: &State) -> Vec<Vec<u8>> {
    let how = Finish { packing: Packing { scale: 0.25, offset: -3.0 }, ddof: 1, min_count: 1 };
    let serves = |s: &&Statistic| match (s.state(Packing::NONE), kind) {
        (StateKind::Sums(a), StateKind::Sums(b)) => a == b,
        (a, b) => a == b,
    };
    let all = Statistic::ALL.iter().chain([&Statistic::Value]);
    all.filter(serves).map(|&s| bytes(&finish(s, state, how, &|_| u64::MAX).unwrap())).collect()
}

/// Runs `$check::<T>(case)` for every element type.
macro_rules! for_all_types {
    ($check:ident, $case:expr) => {{
        struct Work<'a>(&'a Case);
        impl ForElement for Work<'_> {
            type Output = Result<(), TestCaseError>;
            fn run<T: Element>(self) -> Self::Output {
                $check::<T>(self.0)
            }
        }
        for dtype in DType::ALL {
            dtype.dispatch(Work($case))?;
        }
    }};
}

fn segments_dealt_out<T: Element>(case: &Case) -> Result<(), TestCaseError> {
    let leaves = case.leaves::<T>();
    // Absolute numbers, with gaps where the selection leaves segments out.
    let mut seed = case.seed ^ 1;
    let base = random(&mut seed) % 1000;
    let segments: Vec<(u64, &[Made<T>])> =
        leaves.chunks(2).enumerate().map(|(i, l)| (base + i as u64 + u64::from(i > 5), l)).collect();
    for kind in KINDS {
        let node = |&(index, leaves): &(u64, &[Made<T>])| Node {
            level: 0,
            index,
            states: vec![case.folded::<T>(kind, leaves)],
        };
        let mut whole = Vec::new();
        segments.iter().for_each(|s| tree::push(&mut whole, node(s)));
        prop_assert!(whole.len() <= 2 * 12, "a run of segments is a few nodes");
        let whole = tree::collapse(whole).unwrap();
        for _ in 0..3 {
            let mut nodes: Vec<Node> = Vec::new();
            let mut rest = segments.as_slice();
            while !rest.is_empty() {
                let (run, more) = rest.split_at(1 + random(&mut seed) as usize % rest.len());
                let mut part = Vec::new();
                run.iter().for_each(|s| tree::push(&mut part, node(s)));
                // States travel as bytes.
                let part: Vec<Node> = postcard::from_bytes(&bytes(&part)).unwrap();
                nodes.extend(part);
                rest = more;
            }
            for i in (1..nodes.len()).rev() {
                nodes.swap(i, random(&mut seed) as usize % (i + 1));
            }
            let dealt = tree::collapse(nodes).unwrap();
            prop_assert_eq!(bytes(&dealt), bytes(&whole), "{:?} of {}", kind, T::DTYPE);
            prop_assert_eq!(finished(kind, &dealt[0]), finished(kind, &whole[0]), "{:?} of {}", kind, T::DTYPE);
        }
    }
    Ok(())
}

fn exact_states_cut_at_any_leaf<T: Element>(case: &Case) -> Result<(), TestCaseError> {
    let leaves = case.leaves::<T>();
    let mut seed = case.seed ^ 2;
    for kind in KINDS {
        let whole = case.folded::<T>(kind, &leaves);
        if !whole.is_associative() {
            continue;
        }
        let mut parts: Vec<State> = Vec::new();
        let mut rest = leaves.as_slice();
        while !rest.is_empty() {
            let (run, more) = rest.split_at(1 + random(&mut seed) as usize % rest.len());
            parts.push(case.folded::<T>(kind, run));
            rest = more;
        }
        // Neighbours merge in any order of merging.
        while parts.len() > 1 {
            let i = random(&mut seed) as usize % (parts.len() - 1);
            let next = parts.remove(i + 1);
            parts[i].merge(&next);
        }
        prop_assert_eq!(bytes(&parts[0]), bytes(&whole), "{:?} of {}", kind, T::DTYPE);
    }
    Ok(())
}

fn empty_states_are_neutral<T: Element>(case: &Case) -> Result<(), TestCaseError> {
    let leaves = case.leaves::<T>();
    for kind in KINDS {
        let state = case.folded::<T>(kind, &leaves);
        let (mut before, mut after) = (case.empty::<T>(kind), state.clone());
        before.merge(&state);
        after.merge(&case.empty::<T>(kind));
        prop_assert_eq!(bytes(&before), bytes(&state), "before {:?} of {}", kind, T::DTYPE);
        prop_assert_eq!(bytes(&after), bytes(&state), "after {:?} of {}", kind, T::DTYPE);
        let fresh = Node { level: 3, index: 5, states: vec![case.empty::<T>(kind)] };
        let full = Node { level: 0, index: 2, states: vec![state.clone()] };
        let merged = tree::collapse(vec![fresh, full]).unwrap();
        prop_assert_eq!(bytes(&merged[0]), bytes(&state), "in the tree {:?} of {}", kind, T::DTYPE);
    }
    Ok(())
}

/// A plan of many more values takes other widths in memory; what it writes, and what comes of merging, is the same.
fn plans_of_any_length_agree<T: Element>(case: &Case) -> Result<(), TestCaseError> {
    let leaves = case.leaves::<T>();
    let (first, second) = leaves.split_at(leaves.len() / 2);
    for kind in KINDS {
        let long = |leaves| folded(State::empty(kind, T::DTYPE, case.cells(), 1 << 50), leaves);
        let short = |leaves| case.folded::<T>(kind, leaves);
        prop_assert!(long(first).is_of(kind, T::DTYPE, case.cells()));
        prop_assert_eq!(bytes(&long(first)), bytes(&short(first)), "{:?} of {}", kind, T::DTYPE);
        let read: State = postcard::from_bytes(&bytes(&short(first))).unwrap();
        prop_assert!(read.is_of(kind, T::DTYPE, case.cells()));
        let mut all = short(first);
        all.merge(&short(second));
        for mut other in [long(first), short(first), read] {
            for next in [long(second), short(second)] {
                let before = other.clone();
                other.merge(&next);
                prop_assert_eq!(bytes(&other), bytes(&all), "{:?} of {}", kind, T::DTYPE);
                other = before;
            }
        }
    }
    Ok(())
}

/// Float sums and centred squares, cut where they ought not to be cut, differ by no more than
/// 2·n·ε·Σ|x| and 8·n·ε·Σx².
fn other_cuts_stay_within_bounds<T: Element>(case: &Case) -> Result<(), TestCaseError> {
    let case = Case { kind: Kind::Tame, ..case.clone() };
    let leaves = case.leaves::<T>();
    let kind = StateKind::Sums(SumsKind::Squares);
    let in_order = case.folded::<T>(kind, &leaves);
    let mut seed = case.seed ^ 3;
    let cut = random(&mut seed) as usize % leaves.len();
    let mut cut_once = case.folded::<T>(kind, &leaves[..cut]);
    cut_once.merge(&case.folded::<T>(kind, &leaves[cut..]));
    let (Columns::Sums(a), Columns::Sums(b)) = (&in_order.columns, &cut_once.columns) else { unreachable!() };
    let counts = a.counts();
    prop_assert_eq!(&counts, &b.counts());
    let (SumColumn::Float(sums), SumColumn::Float(others)) = (&a.sum, &b.sum) else { return Ok(()) };
    let (SquareColumn::Centred(m2), SquareColumn::Centred(other_m2)) = (&a.squares, &b.squares) else { return Ok(()) };
    for i in 0..sums.len() {
        let n = counts[i] as f64;
        // No value is larger than 70 in magnitude.
        let (sum, squares) = (n * 70.0, n * 70.0 * 70.0);
        prop_assert!((sums[i] - others[i]).abs() <= 2.0 * n * f64::EPSILON * sum);
        prop_assert!((m2[i] - other_m2[i]).abs() <= 8.0 * n * f64::EPSILON * squares);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn segments_dealt_out_in_any_way_give_the_same_bits(case in case()) {
        for_all_types!(segments_dealt_out, &case);
    }

    #[test]
    fn exact_states_are_cut_at_any_leaf_with_the_same_bits(case in case()) {
        for_all_types!(exact_states_cut_at_any_leaf, &case);
    }

    #[test]
    fn a_state_of_nothing_changes_nothing(case in case()) {
        for_all_types!(empty_states_are_neutral, &case);
    }

    #[test]
    fn states_do_not_tell_how_long_their_plan_was(case in case()) {
        for_all_types!(plans_of_any_length_agree, &case);
    }

    #[test]
    fn floats_cut_elsewhere_differ_within_bounds(case in case()) {
        for_all_types!(other_cuts_stay_within_bounds, &case);
    }
}

#[test]
fn sums_that_outgrow_their_plan_widen() {
    let sums = |sum, squares| Sums { count: vec![1], everywhere: 0, sum, squares };
    let most = |n: i64| sums(SumColumn::Bits64(vec![n]), SquareColumn::Bits64(vec![u64::MAX]));
    let mut a = most(i64::MAX);
    a.merge(&most(i64::MAX));
    assert_eq!(a.integer_sum(0), Some(2 * i128::from(i64::MAX)));
    assert_eq!(a.squares, SquareColumn::Bits128(vec![2 * u128::from(u64::MAX)]));
    let mut b = sums(SumColumn::Bits32(vec![i32::MIN]), SquareColumn::None);
    b.merge(&sums(SumColumn::Bits32(vec![-1]), SquareColumn::None));
    assert_eq!(b.integer_sum(0), Some(i128::from(i32::MIN) - 1));
    // 2³² cells of the greatest uint32 take more than 64 bits.
    assert!(matches!(Sums::empty::<u32>(1, SumsKind::Sum, 1 << 33).sum, SumColumn::Bits128(_)));
}

#[test]
fn every_statistic_is_served_by_a_state_that_is_checked() {
    for s in Statistic::ALL {
        assert!(KINDS.contains(&s.state(Packing::NONE)), "{}", s.name());
    }
}
