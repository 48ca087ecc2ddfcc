//! Inputs whose results the host knows in f64 at any shape.
//!
//! The norm of one example's weight gradient costs as much as the gradient, which at the shapes timed here takes a host
//! minutes. So the rows of A and G are drawn from two dictionaries of [`WORDS`] random rows, each times a power of two
//! with a sign: `a_t = s_t U[r_t]`, `g_t = z_t V[q_t]`. Then `A_b^T G_b = U^T C_b V` with a small matrix
//! `C_b[r, q] = sum of s_t z_t over the tokens t with (r_t, q_t) = (r, q)`, and every sum and norm follows from C. The
//! kernels know nothing of it, and a token, example or column in the wrong place changes C.

use cubecl::ir::FloatKind;

use crate::device::round;

/// Rows of a dictionary.
pub(crate) const WORDS: usize = 16;

/// A stream of numbers from a seed (SplitMix64): the same on every device.
#[derive(Debug, Clone)]
pub(crate) struct Stream(u64);

impl Stream {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }

    /// `n` numbers in -2..2, most of them near 0: the sum of two uniform ones.
    pub(crate) fn bell(&mut self, n: usize) -> Vec<f32> {
        let mut next = || {
            let word = self.word();
            let half = |bits: u64| (bits & 0xFF_FFFF) as f32 / (1 << 23) as f32 - 1.0;
            half(word) + half(word >> 32)
        };
        (0..n).map(|_| next()).collect()
    }

    /// Likewise, as `kind` holds them.
    pub(crate) fn bell_of(&mut self, n: usize, kind: FloatKind) -> Vec<f32> {
        let mut values = self.bell(n);
        for value in &mut values {
            *value = round(*value, kind);
        }
        values
    }

    /// Factors of live examples, in 1/4..1.
    pub(crate) fn factors(&mut self, n: usize) -> Vec<f32> {
        let mut next = || 0.25 + 0.75 * (self.word() >> 40) as f32 / (1 << 24) as f32;
        (0..n).map(|_| next()).collect()
    }
}

/// Rows drawn from a dictionary: row `i` is `scale[i] * table[pick[i]]`.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    width: usize,
    /// `[WORDS, width]`, as the element type holds them.
    table: Vec<f32>,
    pick: Vec<usize>,
    /// Powers of two with a sign, so that the products are exact in any type.
    scale: Vec<f32>,
}

impl Rows {
    pub(crate) fn new(rows: usize, width: usize, kind: FloatKind, seed: u64) -> Self {
        let mut stream = Stream::new(seed);
        let table = stream.bell_of(WORDS * width, kind);
        let (mut pick, mut scale) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for _ in 0..rows {
            pick.push(stream.below(WORDS));
            scale.push([0.5, 1.0, -0.5, -1.0][stream.below(4)]);
        }
        Self {
            width,
            table,
            pick,
            scale,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pick.len()
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// One word of the dictionary.
    pub(crate) fn word(&self, word: usize) -> &[f32] {
        &self.table[word * self.width..(word + 1) * self.width]
    }

    pub(crate) fn pick(&self, row: usize) -> usize {
        self.pick[row]
    }

    pub(crate) fn scale(&self, row: usize) -> f64 {
        f64::from(self.scale[row])
    }

    /// Some of the columns, of the same rows.
    pub(crate) fn columns(&self, columns: std::ops::Range<usize>) -> Self {
        let words = self.table.chunks_exact(self.width);
        let table = words.flat_map(|word| word[columns.clone()].to_vec());
        Self {
            width: columns.len(),
            table: table.collect(),
            ..self.clone()
        }
    }

    /// `[rows, width]`.
    pub(crate) fn values(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.len() * self.width);
        for (pick, scale) in self.pick.iter().zip(&self.scale) {
            values.extend(self.word(*pick).iter().map(|x| scale * x));
        }
        values
    }

    /// `[rows / positions, width, positions]`: what a convolution reads, channels before positions.
    pub(crate) fn values_by_channel(&self, positions: usize) -> Vec<f32> {
        let mut values = vec![0.0; self.len() * self.width];
        for row in 0..self.len() {
            let (image, position) = (row / positions, row % positions);
            let scale = self.scale[row];
            for (channel, x) in self.word(self.pick[row]).iter().enumerate() {
                values[(image * self.width + channel) * positions + position] = scale * x;
            }
        }
        values
    }

    /// The dot products of the words, `[WORDS, WORDS]`.
    pub(crate) fn gram(&self) -> Vec<f64> {
        let mut gram = vec![0.0; WORDS * WORDS];
        for i in 0..WORDS {
            for j in 0..=i {
                let dot = dot(self.word(i), self.word(j));
                gram[i * WORDS + j] = dot;
                gram[j * WORDS + i] = dot;
            }
        }
        gram
    }
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

/// The matrix C, `[WORDS, WORDS]`, of a product `A^T G`.
#[derive(Debug, Clone)]
pub(crate) struct Mix(Vec<f64>);

impl Mix {
    pub(crate) fn new() -> Self {
        Self(vec![0.0; WORDS * WORDS])
    }

    /// Adds `factor` times the outer product of row `i` of `a` and row `j` of `g`.
    pub(crate) fn add(&mut self, a: &Rows, i: usize, g: &Rows, j: usize, factor: f64) {
        self.0[a.pick(i) * WORDS + g.pick(j)] += factor * a.scale(i) * g.scale(j);
    }

    pub(crate) fn at(&self, a: usize, g: usize) -> f64 {
        self.0[a * WORDS + g]
    }

    /// `|U^T C V|^2`, of the words' dot products.
    pub(crate) fn norm_sq(&self, gram_a: &[f64], gram_g: &[f64]) -> f64 {
        // (gram_a C) and then times gram_g, both of 16 by 16.
        let product = |lhs: &[f64], rhs: &[f64]| -> Vec<f64> {
            let at = |i: usize, j: usize| -> f64 {
                (0..WORDS)
                    .map(|k| lhs[i * WORDS + k] * rhs[k * WORDS + j])
                    .sum()
            };
            (0..WORDS * WORDS)
                .map(|place| at(place / WORDS, place % WORDS))
                .collect()
        };
        let turned = product(&product(gram_a, &self.0), gram_g);
        turned.iter().zip(&self.0).map(|(x, c)| x * c).sum()
    }

    /// `C V`, `[WORDS, width of g]`.
    pub(crate) fn times(&self, g: &Rows) -> Vec<f64> {
        let width = g.width();
        let mut product = vec![0.0; WORDS * width];
        for r in 0..WORDS {
            let row = &mut product[r * width..(r + 1) * width];
            for q in 0..WORDS {
                let c = self.at(r, q);
                for (sum, v) in row.iter_mut().zip(g.word(q)) {
                    *sum += c * f64::from(*v);
                }
            }
        }
        product
    }
}

/// Places in `0..n`, all or about `most` of them, the first and the last among them.
pub(crate) fn sample(n: usize, most: usize) -> Vec<usize> {
    if n <= most {
        return (0..n).collect();
    }
    // An odd step meets every residue of a tile's width.
    let step = n.div_ceil(most) | 1;
    let mut places: Vec<usize> = (0..n).step_by(step).collect();
    if places.last() != Some(&(n - 1)) {
        places.push(n - 1);
    }
    places
}

/// The largest `|got - want|` over the largest `|want|`; infinite where one is not a number.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Worst {
    error: f64,
    scale: f64,
}

impl Worst {
    pub(crate) fn see(&mut self, got: f32, want: f64) {
        let error = (f64::from(got) - want).abs();
        self.error = self
            .error
            .max(if error.is_nan() { f64::INFINITY } else { error });
        self.scale = self.scale.max(want.abs());
    }

    pub(crate) fn relative(&self) -> f64 {
        if self.error == 0.0 {
            0.0
        } else {
            self.error / self.scale.max(f64::from(f32::MIN_POSITIVE))
        }
    }

    /// Of whole slices.
    pub(crate) fn of(got: &[f32], want: &[f32]) -> f64 {
        if got.len() != want.len() {
            return f64::INFINITY;
        }
        let mut worst = Self::default();
        for (got, want) in got.iter().zip(want) {
            worst.see(*got, f64::from(*want));
        }
        worst.relative()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dp_core::reference::{LinearNorm, Tensor3, linear_norm_sq, weighted_sum_linear};

    /// The short way to norms and sums agrees with the reference, which forms them.
    #[test]
    fn the_short_way_is_the_reference() {
        let (b, t, d, p) = (3, 7, 5, 9);
        let a = Rows::new(b * t, d, FloatKind::F32, 1);
        let g = Rows::new(b * t, p, FloatKind::F32, 2);
        let (a_values, g_values) = (a.values(), g.values());
        let tensors = (
            Tensor3::new(&a_values, [b, t, d]).unwrap(),
            Tensor3::new(&g_values, [b, t, p]).unwrap(),
        );
        let mut norms = vec![0.0; b];
        linear_norm_sq(tensors.0, tensors.1, &mut norms, LinearNorm::Materialised).unwrap();
        let factors = [0.5, 0.25, 1.0];
        let mut sum = vec![0.0; d * p];
        weighted_sum_linear(tensors.0, tensors.1, &factors, &mut sum).unwrap();

        let mut all = Mix::new();
        for (example, norm) in norms.iter().enumerate() {
            let mut mix = Mix::new();
            for row in example * t..(example + 1) * t {
                mix.add(&a, row, &g, row, 1.0);
                all.add(&a, row, &g, row, f64::from(factors[example]));
            }
            let mut worst = Worst::default();
            worst.see(*norm, mix.norm_sq(&a.gram(), &g.gram()));
            assert!(worst.relative() < 1e-6, "{worst:?}");
        }
        let product = all.times(&g);
        let mut worst = Worst::default();
        for (place, got) in sum.iter().enumerate() {
            let (i, j) = (place / p, place % p);
            let terms = (0..WORDS).map(|r| f64::from(a.word(r)[i]) * product[r * p + j]);
            worst.see(*got, terms.sum());
        }
        assert!(worst.relative() < 1e-6, "{worst:?}");
    }

    /// Rows are exact in half precision: the kernel reads the numbers that the host computed with.
    #[test]
    fn rows_survive_their_type() {
        for kind in [FloatKind::F16, FloatKind::BF16] {
            let rows = Rows::new(64, 8, kind, 3);
            assert!(rows.values().iter().all(|x| round(*x, kind) == *x));
        }
    }

    #[test]
    fn a_sample_has_both_ends() {
        assert_eq!(sample(4, 9), [0, 1, 2, 3]);
        let places = sample(1000, 10);
        assert_eq!((places[0], *places.last().unwrap()), (0, 999));
        assert!(places.len() <= 11 && places.windows(2).all(|w| w[0] < w[1]));
    }

    /// Not a number is never within a budget.
    #[test]
    fn nan_is_an_infinite_error() {
        assert_eq!(Worst::of(&[1.0, f32::NAN], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(Worst::of(&[1.0], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(Worst::of(&[1.0, 2.0], &[1.0, 2.0]), 0.0);
        assert_eq!(Worst::of(&[1.0, 3.0], &[1.0, 4.0]), 0.25);
    }
}
