//! Clip factors of a microbatch.

use cubecl::std::tensor::TensorHandle;
use dp_core::clipping::Clipping;
use dp_core::reference;
use dp_kernels::clip_factors;

use super::seed;
use crate::data::{Stream, Worst};
use crate::{Bench, BenchError, Buffer, Built, Check, Group, Op, Place};

/// `norms_sq [B]`, `mask [B]`, `factors [B]`.
pub(crate) struct ClipFactors {
    place: Place,
    b: usize,
}

/// The largest relative error of a factor.
const BUDGET: f64 = 1e-6;
const POLICIES: [(&str, Clipping); 2] = [
    ("clip_factors flat", Clipping::Flat { clip: 1.0 }),
    (
        "clip_factors automatic",
        Clipping::Automatic {
            clip: 1.0,
            gamma: 0.01,
        },
    ),
];

impl ClipFactors {
    pub(crate) fn new(b: usize) -> Self {
        Self {
            place: Place {
                model: "any".to_owned(),
                layer: "all".to_owned(),
                dtype: "f32",
                shape: format!("[{b}]"),
                b: b as u64,
                t: 0,
                count: 0,
            },
            b,
        }
    }
}

impl Group for ClipFactors {
    fn place(&self) -> &Place {
        &self.place
    }

    fn ops(&self) -> Vec<Op> {
        let b = self.b as u64;
        // A root, a division and a few comparisons.
        POLICIES
            .iter()
            .map(|(name, _)| Op::new(*name, 12 * b, 0))
            .collect()
    }

    fn buffers(&self) -> Vec<Buffer> {
        vec![Buffer::of(&[self.b as u64], 4); 4]
    }

    fn build(&self, bench: &Bench, sets: usize) -> Result<Box<dyn Built>, BenchError> {
        let b = self.b;
        let mut stream = Stream::new(seed::FACTORS);
        let norms: Vec<f32> = stream.factors(b).iter().map(|x| 16.0 * x * x).collect();
        // An eighth is padding.
        let mask: Vec<f32> = (0..b).map(|i| f32::from(u8::from(i % 8 != 7))).collect();
        let sets = (0..sets)
            .map(|_| Set {
                norms: bench.upload_f32(&[b], &norms),
                mask: bench.upload_f32(&[b], &mask),
                factors: POLICIES.map(|_| bench.zeros(&[b])),
            })
            .collect();
        bench.wait()?;
        Ok(Box::new(BuiltClip { norms, mask, sets }))
    }
}

struct Set {
    norms: TensorHandle,
    mask: TensorHandle,
    factors: [TensorHandle; 2],
}

struct BuiltClip {
    norms: Vec<f32>,
    mask: Vec<f32>,
    sets: Vec<Set>,
}

impl Built for BuiltClip {
    fn check(&self, bench: &Bench, op: usize) -> Result<Check, BenchError> {
        self.launch(bench, op, 0)?;
        let got = bench.download(&self.sets[0].factors[op])?;
        let mut want = vec![0.0; got.len()];
        reference::clip_factors(&self.norms, &self.mask, &mut want, POLICIES[op].1)?;
        let what = format!("all {} factors against the reference", want.len());
        Ok(Check::new(Worst::of(&got, &want), BUDGET, what))
    }

    fn launch(&self, bench: &Bench, op: usize, set: usize) -> Result<(), BenchError> {
        let launch = &bench.launch();
        let Set {
            norms,
            mask,
            factors,
        } = &self.sets[set];
        let policy = POLICIES[op].1;
        clip_factors(launch, norms, mask, &factors[op], policy)?;
        Ok(())
    }
}
