//! Norms and sums of `A_b^T G_b` against the host, through the mixes of their dictionaries.

use crate::Check;
use crate::data::{Mix, Rows, WORDS, Worst, sample};

use super::{NORM_BUDGET, SUM_BUDGET};

/// Multiplications that a check of a sum may take on the host.
const WORK: usize = 400_000_000;

/// Norms of all examples, each of some mixes: one for a Linear, one for each place of a convolution's kernel.
pub(super) fn check_norms(got: &[f32], mixes: &[Vec<Mix>], a: &Rows, g: &Rows) -> Check {
    compare_norms(got, &norms(mixes, a, g))
}

/// The norms of all examples, in f64.
pub(super) fn norms(mixes: &[Vec<Mix>], a: &Rows, g: &Rows) -> Vec<f64> {
    let (gram_a, gram_g) = (a.gram(), g.gram());
    let norm_sq = |mixes: &Vec<Mix>| mixes.iter().map(|mix| mix.norm_sq(&gram_a, &gram_g)).sum();
    mixes.iter().map(norm_sq).collect()
}

/// A launch's norms against those of the host.
pub(super) fn compare_norms(got: &[f32], want: &[f64]) -> Check {
    let mut worst = Worst::default();
    for (i, want) in want.iter().enumerate() {
        worst.see(got.get(i).copied().unwrap_or(f32::NAN), *want);
    }
    let what = format!("all {} norms against f64 on the host", want.len());
    Check::new(worst.relative(), NORM_BUDGET, what)
}

/// A matrix `U^T C V`, or rows of it that stand for it: `got(i, j)` is its element.
pub(super) fn check_product(
    mix: &Mix,
    a: &Rows,
    g: &Rows,
    got: impl Fn(usize, usize) -> f32,
) -> Check {
    let product = mix.times(g);
    let (rows, columns) = (a.width(), g.width());
    let most = (WORK / (WORDS * columns)).max(16);
    let sampled = sample(rows, most);
    let mut worst = Worst::default();
    let mut want = vec![0.0; columns];
    for &i in &sampled {
        want.fill(0.0);
        for r in 0..WORDS {
            let u = f64::from(a.word(r)[i]);
            let row = &product[r * columns..(r + 1) * columns];
            for (sum, x) in want.iter_mut().zip(row) {
                *sum += u * x;
            }
        }
        for (j, want) in want.iter().enumerate() {
            worst.see(got(i, j), *want);
        }
    }
    let what = format!("{} of {rows} rows against f64 on the host", sampled.len());
    Check::new(worst.relative(), SUM_BUDGET, what)
}
