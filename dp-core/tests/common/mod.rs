//! How large a test is. Miri interprets every step, some thousand times slower than a release build: it gets less of the same.

/// `full`, or `few` under Miri.
pub const fn sized<T: Copy>(full: T, few: T) -> T {
    if cfg!(miri) { few } else { full }
}
