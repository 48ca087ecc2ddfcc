//! Test inputs: deterministic, made on the host.

use super::conv::STRIP;

/// A shape: examples, tokens, input and output width, vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Examples.
    pub b: usize,
    /// Tokens.
    pub t: usize,
    /// Width of a Linear's input.
    pub d: usize,
    /// Width of the gradient.
    pub p: usize,
    /// Rows of the embedding table.
    pub v: usize,
}

impl Case {
    pub(super) const fn new(b: usize, t: usize, d: usize, p: usize, v: usize) -> Self {
        Self { b, t, d, p, v }
    }

    pub(super) fn words(&self) -> String {
        let Self { b, t, d, p, v } = self;
        format!("B{b} T{t} d{d} p{p} V{v}")
    }
}

/// One token, a few, a whole block; odd widths and round ones; more tokens than a tile; nothing.
pub(super) const CASES: [Case; 12] = [
    Case::new(1, 1, 1, 1, 1),
    Case::new(3, 1, 5, 7, 4),
    Case::new(2, 7, 3, 5, 3),
    Case::new(4, 7, 16, 48, 11),
    Case::new(3, 64, 32, 96, 17),
    Case::new(2, 33, 64, 36, 256),
    Case::new(2, 65, 20, 33, 40),
    Case::new(5, 1, 128, 64, 9),
    Case::new(15, 2, 12, 20, 6),
    Case::new(0, 4, 3, 5, 6),
    Case::new(2, 0, 3, 5, 6),
    Case::new(2, 0, 4, 8, 6),
];

/// A row of several spans and blocks, the last of them ragged, on every device.
pub(super) const LONG: Case = Case::new(2, 3, 1, 6000, 1);

/// Several tiles of a GPU's matrix units along every axis, the last of them ragged, and a depth of more than one stretch of theirs.
pub(super) const TILES: Case = Case::new(2, 264, 136, 144, 24);

/// No axis whole in anything: rows without whole vectors, tiles with tails, several blocks and panels, tokens of more than one stretch.
pub(super) const UNEVEN: Case = Case::new(3, 300, 150, 530, 37);

/// More tiles than a GPU runs at once: its cubes take one after the other.
pub(super) const MANY: Case = Case::new(270, 72, 16, 24, 5);

/// Tokens of a long text, in rows that are short.
pub(super) const TEXT: Case = Case::new(2, 512, 9, 7, 1);

/// Several of the widest tiles of a GPU's matrix units beside each other, the last of them ragged.
pub(super) const BROAD: Case = Case::new(2, 40, 136, 400, 1);

/// Rows of more vectors than a processor takes at once of A and of G, the last of them ragged.
pub(super) const WIDE: Case = Case::new(2, 9, 520, 1304, 1);

/// Wide rows of no whole vectors, which a processor reads where they lie: A's of two of its stretches, G's of three.
pub(super) const RAGGED: Case = Case::new(2, 21, 1027, 2061, 1);

/// Rows that a processor takes in several parts, the last of them ragged, with ids that repeat.
pub(super) const PARTS: Case = Case::new(3, 20, 1, 600, 7);

/// The inputs of every op for one shape.
#[derive(Debug, Clone)]
pub struct Host {
    /// Their shape.
    pub case: Case,
    /// `[B, T, d]`.
    pub a: Vec<f64>,
    /// `[B, T, p]`.
    pub g: Vec<f64>,
    /// `[B, T, p]`.
    pub xhat: Vec<f64>,
    /// `[B, T, V]`.
    pub delta: Vec<f64>,
    /// A strip an example, of which a convolution's input takes the beginning.
    pub image: Vec<f64>,
    /// Likewise, for the gradient at its output.
    pub image_g: Vec<f64>,
    /// `[B, T]`, in `0..V`.
    pub ids: Vec<u32>,
    /// `[B]`: positive, but for every third, which is dead.
    pub factors: Vec<f64>,
}

impl Host {
    /// Every number that is uploaded in the inputs' type.
    pub(super) fn inputs_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        let inputs = [
            &mut self.a,
            &mut self.g,
            &mut self.xhat,
            &mut self.delta,
            &mut self.image,
            &mut self.image_g,
        ];
        inputs.into_iter().flatten()
    }

    /// Inputs of `case`, the same for the same `seed`.
    #[must_use]
    pub fn new(case: Case, seed: u64) -> Self {
        let Case { b, t, d, p, v } = case;
        let mut stream = Stream(seed);
        Self {
            case,
            a: stream.numbers(b * t * d),
            g: stream.numbers(b * t * p),
            xhat: stream.numbers(b * t * p),
            delta: Stream(!seed).numbers(b * t * v),
            image: Stream(seed ^ 0x11).numbers(b * STRIP[0]),
            image_g: Stream(seed ^ 0x22).numbers(b * STRIP[1]),
            // Squared, so that low ids repeat as words do.
            ids: (0..b * t)
                .map(|_| {
                    let u = stream.unit();
                    ((u * u * v as f64) as usize).min(v.saturating_sub(1)) as u32
                })
                .collect(),
            factors: (0..b)
                .map(|i| {
                    if i % 3 == 2 {
                        0.0
                    } else {
                        0.05 + f64::from(stream.unit() as f32)
                    }
                })
                .collect(),
        }
    }

    /// Examples `from..to` alone.
    pub(super) fn examples(&self, from: usize, to: usize) -> Self {
        let Case { t, d, p, v, .. } = self.case;
        Self {
            case: Case {
                b: to - from,
                ..self.case
            },
            a: self.a[from * t * d..to * t * d].to_vec(),
            g: self.g[from * t * p..to * t * p].to_vec(),
            xhat: self.xhat[from * t * p..to * t * p].to_vec(),
            delta: self.delta[from * t * v..to * t * v].to_vec(),
            image: self.image[from * STRIP[0]..to * STRIP[0]].to_vec(),
            image_g: self.image_g[from * STRIP[1]..to * STRIP[1]].to_vec(),
            ids: self.ids[from * t..to * t].to_vec(),
            factors: self.factors[from..to].to_vec(),
        }
    }

    /// Overwrites everything that belongs to example `b` by what `other` has there.
    pub(super) fn replace_example(&mut self, b: usize, other: &Self) {
        let Case { t, d, p, v, .. } = self.case;
        let copy = |to: &mut [f64], from: &[f64], row: usize| {
            to[b * row..(b + 1) * row].copy_from_slice(&from[b * row..(b + 1) * row]);
        };
        copy(&mut self.a, &other.a, t * d);
        copy(&mut self.g, &other.g, t * p);
        copy(&mut self.xhat, &other.xhat, t * p);
        copy(&mut self.delta, &other.delta, t * v);
        copy(&mut self.image, &other.image, STRIP[0]);
        copy(&mut self.image_g, &other.image_g, STRIP[1]);
        self.ids[b * t..(b + 1) * t].copy_from_slice(&other.ids[b * t..(b + 1) * t]);
    }

    /// Puts `value` into one place of each of example `b`'s inputs.
    pub(super) fn poison(&mut self, b: usize, value: f64) {
        let Case { t, d, p, v, .. } = self.case;
        let place = |width: usize| (b * t + t / 2) * width + width / 2;
        self.a[place(d)] = value;
        self.g[place(p)] = value;
        self.xhat[place(p)] = value;
        self.delta[place(v)] = value;
        self.image[b * STRIP[0]] = value;
        self.image_g[b * STRIP[1]] = value;
    }
}

/// SplitMix64: a few lines that every language has, for inputs only.
pub(super) struct Stream(pub u64);

impl Stream {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Roughly normal: the sum of four uniforms, variance 1/3.
    pub(super) fn numbers(&mut self, n: usize) -> Vec<f64> {
        (0..n)
            .map(|_| self.unit() + self.unit() + self.unit() + self.unit() - 2.0)
            .collect()
    }
}
