//! Lanes of vectors in another order.

use cubecl::prelude::*;

/// The lanes of `x` and `y` in turn: `x[0] y[0] x[1] y[1] ..`. A shuffle of two vectors for each half.
#[cube]
pub(crate) fn riffle<E: Float, N: Size>(
    x: Vector<E, N>,
    y: Vector<E, N>,
) -> (Vector<E, N>, Vector<E, N>) {
    let lanes = N::value();
    let mut low = x;
    let mut high = x;
    #[unroll]
    for lane in 0..comptime!(lanes / 2) {
        let upper = comptime!(lanes / 2 + lane);
        low.insert(comptime!(2 * lane), x.extract(lane));
        low.insert(comptime!(2 * lane + 1), y.extract(lane));
        high.insert(comptime!(2 * lane), x.extract(upper));
        high.insert(comptime!(2 * lane + 1), y.extract(upper));
    }
    (low, high)
}

/// As many vectors as they have lanes, transposed: lane `j` of vector `i` becomes lane `i` of vector `j`.
///
/// A riffle of vector `i` with the one half of them further on moves the first bit of a lane's place to the end of its vector's, and the
/// other way round; after as many rounds as a place has bits the two have changed.
#[cube]
pub(crate) fn transpose_lanes<E: Float, N: Size>(
    rows: &Array<Vector<E, N>>,
) -> Array<Vector<E, N>> {
    let lanes = N::value();
    let mut now = Array::<Vector<E, N>>::new(lanes);
    #[unroll]
    for i in 0..lanes {
        now[i] = rows[i];
    }
    let rounds = comptime!(lanes.ilog2() as usize);
    #[unroll]
    for _ in 0..rounds {
        let mut next = Array::<Vector<E, N>>::new(lanes);
        #[unroll]
        for i in 0..comptime!(lanes / 2) {
            let (low, high) = riffle::<E, N>(now[i], now[comptime!(i + lanes / 2)]);
            next[comptime!(2 * i)] = low;
            next[comptime!(2 * i + 1)] = high;
        }
        #[unroll]
        for i in 0..lanes {
            now[i] = next[i];
        }
    }
    now
}
