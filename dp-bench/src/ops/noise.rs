//! Noise on a buffer of parameters: by each generator, and in integers.

use cubecl::std::tensor::TensorHandle;
use dp_core::noise::{GaussianDraw, Generator, Hardened, HardenedDraw, Key, fill_gaussian};
use dp_core::reference;
use dp_kernels::{add_gaussian_noise, release_hardened};

use super::seed;
use crate::data::Stream;
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// A target of `n` elements.
pub(crate) struct Noise {
    place: Place,
    n: usize,
}

const OPS: [&str; 3] = [
    "add_gaussian_noise chacha20",
    "add_gaussian_noise philox",
    "release_hardened",
];
/// Units in the last place between the normals of device and host.
const ULP_BUDGET: f64 = 3.0;
const STD: f32 = 1.0;
const STEP: u64 = 7;
const TENSOR: u32 = 3;
/// Elements at the start, the middle and the end that the host draws again.
const SAMPLED: usize = 4096;
/// The grid of the hardened release is 2 to this power.
const GRID: i32 = -12;

impl Noise {
    pub(crate) fn new(n: usize) -> Self {
        Self {
            place: Place {
                model: "any".to_owned(),
                layer: "all".to_owned(),
                dtype: "f32",
                shape: format!("[{n}]"),
                b: 0,
                t: 0,
                count: 0,
            },
            n,
        }
    }
}

/// A key that benches may know; noise that is to protect anyone needs one of the operating system's.
pub(super) fn key() -> Key {
    Key::new([0x6265_6E63, 2, 3, 4, 5, 6, 7, 8])
}

impl Group for Noise {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let n = self.n as u64;
        // One multiply-add an element; the bits and their transform count as none.
        let [chacha, philox, hardened] = OPS;
        vec![
            Op::new(chacha, 8 * n, 2 * n),
            Op::new(philox, 8 * n, 2 * n),
            Op::new(hardened, 8 * n, 2 * n),
        ]
    }

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::of(&[self.n as u64], 4); OPS.len()]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let plan = Hardened::plan(1.0, 4.0, 0.0, 1 << 16, GRID)
            .map_err(|error| BenchError::Reference(error.to_string()))?;
        let start = Stream::new(seed::STATE).bell(self.n);
        let zeros = vec![0.0; self.n];
        let sets = (0..sets)
            .map(|_| [&zeros, &zeros, &start].map(|values| bench.upload_f32(&[self.n], values)))
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltNoise { plan, start, sets }))
    }
}

struct BuiltNoise {
    plan: Hardened,
    /// What the hardened release is checked on.
    start: Vec<f32>,
    /// A target for each op.
    sets: Vec<[TensorHandle; 3]>,
}

fn generator(op: usize) -> Generator {
    if op == 0 {
        Generator::ChaCha20
    } else {
        Generator::Philox4x32x10NotSecure
    }
}

fn hardened(first_element: u64, plan: Hardened, key: &Key) -> HardenedDraw<'_> {
    HardenedDraw {
        first_element,
        plan,
        key,
        step: STEP,
        tensor: TENSOR,
    }
}

impl Built for BuiltNoise {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let got = bench.download(&self.sets[0][op])?;
        let n = got.len();
        let len = SAMPLED.min(n);
        let mut worst: f64 = 0.0;
        for first in [0, (n - len) / 2, n - len] {
            let got = &got[first..first + len];
            let element = first as u64;
            if op == 2 {
                let mut want = self.start[first..first + len].to_vec();
                reference::release_hardened(&mut want, &hardened(element, self.plan, &key()))?;
                let different = got.iter().zip(&want).filter(|(g, w)| g != w).count();
                worst = worst.max(different as f64);
            } else {
                let mut want = vec![0.0; len];
                fill_gaussian(&mut want, element, STD, &key(), generator(op), STEP, TENSOR)
                    .map_err(|error| BenchError::Reference(error.to_string()))?;
                let distances = got.iter().zip(&want).map(|(g, w)| ulps(*g, *w));
                worst = distances.fold(worst, f64::max);
            }
        }
        let sampled = (3 * len).min(n);
        Ok(if op == 2 {
            let what = format!("{sampled} of {n} elements, equal to the host's");
            Check::new(worst, 0.0, what)
        } else {
            let what = format!("{sampled} of {n} normals, in ULP of the host's");
            Check::new(worst, ULP_BUDGET, what)
        })
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let target = &self.sets[set][op];
        let key = key();
        if op == 2 {
            release_hardened(launch, target, hardened(0, self.plan, &key))?;
        } else {
            let draw = GaussianDraw {
                first_element: 0,
                std: STD,
                key: &key,
                generator: generator(op),
                step: STEP,
                tensor: TENSOR,
            };
            add_gaussian_noise(launch, target, draw)?;
        }
        Ok(())
    }
}

/// Units in the last place between two numbers; infinite where one is not a number.
fn ulps(got: f32, want: f32) -> f64 {
    if got.is_nan() || want.is_nan() {
        return f64::INFINITY;
    }
    let ordered = |x: f32| {
        let bits = x.to_bits() as i32;
        i64::from(if bits < 0 { i32::MIN - bits } else { bits })
    };
    (ordered(got) - ordered(want)).unsigned_abs() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_apart() {
        let one = 1.0f32;
        assert_eq!(ulps(one, one), 0.0);
        assert_eq!(ulps(one, f32::from_bits(one.to_bits() + 1)), 1.0);
        assert_eq!(ulps(0.0, -0.0), 0.0);
        assert_eq!(ulps(f32::from_bits(1), -f32::from_bits(1)), 2.0);
        assert_eq!(ulps(f32::NAN, one), f64::INFINITY);
    }
}
