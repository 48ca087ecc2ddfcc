//! Dot products of four by four tokens, in a processor's registers.

use crate::outer::{load, zeros};
use cubecl::prelude::*;

/// Tokens of a register tile's side.
pub(crate) const SIDE: usize = 4;

/// The lanes of each of `vectors` summed: the sums one after the other, as many as fit a vector in each.
///
/// By halves, two vectors at a time: after `log2 N` additions of vectors every lane holds a whole sum. Summing the lanes of
/// one vector by itself takes as long for a single sum.
#[cube]
pub(super) fn lane_sums<E: Float, N: Size>(vectors: &Array<Vector<E, N>>) -> Array<Vector<E, N>> {
    let lanes = N::value();
    let mut folded = zeros::<E, N>(comptime!(SIDE * SIDE));
    #[unroll]
    for s in 0..SIDE * SIDE {
        folded[s] = vectors[s];
    }
    let steps = comptime!(lanes.ilog2() as usize);
    #[unroll]
    for step in 0..steps {
        let pairs = comptime!((SIDE * SIDE) >> (step + 1));
        #[unroll]
        for pair in 0..pairs {
            folded[pair] = fold::<E, N>(folded[2 * pair], folded[2 * pair + 1], step);
        }
    }
    folded
}

/// The parts of a sum lie in runs of `N / 2^step` lanes, those of `x` and those of `y`; each run is halved, and `x`'s come first.
#[cube]
fn fold<E: Float, N: Size>(
    x: Vector<E, N>,
    y: Vector<E, N>,
    #[comptime] step: usize,
) -> Vector<E, N> {
    let lanes = N::value();
    let half = comptime!(lanes >> (step + 1));
    let mut low = Vector::<E, N>::new(E::new(0.0));
    let mut high = Vector::<E, N>::new(E::new(0.0));
    #[unroll]
    for lane in 0..comptime!(lanes / 2) {
        let from = comptime!(lane / half * 2 * half + lane % half);
        low.insert(lane, x.extract(from));
        high.insert(lane, x.extract(comptime!(from + half)));
        low.insert(comptime!(lanes / 2 + lane), y.extract(from));
        high.insert(
            comptime!(lanes / 2 + lane),
            y.extract(comptime!(from + half)),
        );
    }
    low + high
}

/// The lanes of what [`lane_sums`] gives, one by one.
#[cube]
pub(super) fn spread<E: Float, N: Size>(folded: &Array<Vector<E, N>>) -> Array<E> {
    let lanes = N::value();
    let mut dots = Array::<E>::new(comptime!(SIDE * SIDE));
    #[unroll]
    for s in 0..SIDE * SIDE {
        dots[s] = folded[comptime!(s / lanes)].extract(comptime!(s % lanes));
    }
    dots
}

/// The products of two tiles of dot products, summed; places past the last token left out.
#[cube]
pub(crate) fn tile_sum<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    i: usize,
    j: usize,
    tokens: u32,
) -> E {
    let mut sum = E::new(0.0);
    #[unroll]
    for u in 0..SIDE {
        #[unroll]
        for v in 0..SIDE {
            let inside = i * SIDE + u < tokens as usize && j * SIDE + v < tokens as usize;
            let product = a_tile[u * SIDE + v] * g_tile[u * SIDE + v];
            sum += select(inside, product, E::new(0.0));
        }
    }
    sum
}

/// `sum |a_t| |g_t|` over the diagonal of tile `(i, i)`.
#[cube]
pub(crate) fn tile_bound<E: Float>(
    a_tile: &Array<E>,
    g_tile: &Array<E>,
    i: usize,
    tokens: u32,
) -> E {
    let mut bound = E::new(0.0);
    #[unroll]
    for u in 0..SIDE {
        let inside = i * SIDE + u < tokens as usize;
        let square = a_tile[u * SIDE + u] * g_tile[u * SIDE + u];
        bound += select(inside, square.sqrt(), E::new(0.0));
    }
    bound
}

/// The dot products of `x`'s tokens `i*SIDE..` with `y`'s tokens `j*SIDE..`; places past the last token repeat it.
#[cube]
pub(crate) fn dot_tile<F: Float, E: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &[Vector<F, N>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
) -> Array<E> {
    let all = columns as usize;
    let sums = dot_sums::<F, E, N, N>(
        x,
        y,
        first_token,
        i,
        j,
        tokens,
        columns,
        0usize,
        all,
        End::Whole,
    );
    spread::<E, N>(&lane_sums::<E, N>(&sums))
}

/// How a token's row ends, read in vectors of some lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// With a whole vector.
    Whole,
    /// Within a vector: the last lanes of the row are read as one, and those that the vector before it has are zeros.
    Overlap,
}

impl End {
    pub(super) fn of(columns: usize, lanes: usize) -> Self {
        if columns.is_multiple_of(lanes) {
            Self::Whole
        } else {
            Self::Overlap
        }
    }
}

/// The dot products of [`dot_tile`] over vectors `first..last` of rows of `columns` vectors in memory, each still in the lanes of a vector; the stretch
/// that ends with the last has what overlaps too.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(super) fn dot_sums<F: Float, E: Float, NM: Size, N: Size>(
    x: &[Vector<F, NM>],
    y: &[Vector<F, NM>],
    first_token: usize,
    i: usize,
    j: usize,
    tokens: u32,
    columns: u32,
    first: usize,
    last: usize,
    #[comptime] end: End,
) -> Array<Vector<E, N>> {
    let (native, lanes) = (NM::value(), N::value());
    let parts = comptime!(lanes / native);
    let last_token = tokens as usize - 1;
    let columns = columns as usize;
    let mut rows = Array::<usize>::new(comptime!(2 * SIDE));
    #[unroll]
    for u in 0..SIDE {
        rows[u] = (first_token + min_index(i * SIDE + u, last_token)) * columns;
        rows[u + SIDE] = (first_token + min_index(j * SIDE + u, last_token)) * columns;
    }
    let mut sums = zeros::<E, N>(comptime!(SIDE * SIDE));
    for k in first..last {
        let mut left = Array::<Vector<E, N>>::new(SIDE);
        #[unroll]
        for u in 0..SIDE {
            left[u] = load::<F, E, NM, N>(x, rows[u], k * parts, columns, false);
        }
        #[unroll]
        for v in 0..SIDE {
            let right = load::<F, E, NM, N>(y, rows[v + SIDE], k * parts, columns, false);
            #[unroll]
            for u in 0..SIDE {
                sums[u * SIDE + v] = fma(left[u], right, sums[u * SIDE + v]);
            }
        }
    }
    if comptime!(end == End::Overlap) {
        if last == columns / parts {
            let at = columns - parts;
            let seen = (parts - columns % parts) * native;
            let taken = lanes_from::<N>(seen);
            let zero = Vector::<E, N>::new(E::new(0.0));
            let mut left = Array::<Vector<E, N>>::new(SIDE);
            #[unroll]
            for u in 0..SIDE {
                let whole = load::<F, E, NM, N>(x, rows[u], at, columns, false);
                left[u] = select_many(taken, whole, zero);
            }
            #[unroll]
            for v in 0..SIDE {
                let whole = load::<F, E, NM, N>(y, rows[v + SIDE], at, columns, false);
                let right = select_many(taken, whole, zero);
                #[unroll]
                for u in 0..SIDE {
                    sums[u * SIDE + v] = fma(left[u], right, sums[u * SIDE + v]);
                }
            }
        }
    }
    sums
}

/// Which lanes are `first` or behind it.
#[cube]
fn lanes_from<N: Size>(first: usize) -> Vector<bool, N> {
    let lanes = N::value();
    let mut places = Vector::<u32, N>::new(0u32);
    #[unroll]
    for lane in 0..lanes {
        places.insert(lane, comptime!(lane as u32).runtime());
    }
    places.greater_equal(&Vector::<u32, N>::new(first as u32))
}

#[cube]
pub(crate) fn min_index(a: usize, b: usize) -> usize {
    select(a < b, a, b)
}
