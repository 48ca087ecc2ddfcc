//! Nothing in clipping, noise, sampling, sensitivity and reference allocates, errors included.
//!
//! One test in a file of its own, so that no other test's thread is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use dp_core::clipping::{
    AdaptiveQuantile, Clipping, GroupClipping, automatic_factor, flat_factor, split_clip,
};
use dp_core::noise::chacha::ChaCha20Rng;
use dp_core::noise::philox::Philox4x32x10NotSecureRng;
use dp_core::noise::{GaussianDraw, Generator, Hardened, HardenedDraw, Key, fill_gaussian};
use dp_core::reference::*;
use dp_core::sampling::PoissonSampler;
use dp_core::sensitivity::{ClippedSum, Order};
use dp_core::update::UpdateRule;
use rand_core::{Rng, SeedableRng};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    work();
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

#[test]
fn primitives_do_not_allocate() {
    // The counter counts.
    assert!(allocations(|| drop(black_box(vec![1u8; 100]))) > 0);

    let data = [0.5f32; 24];
    let ids = [0u32, 1, 2, 0, 1, 2];
    let mut norms_sq = [0.0f32; 2];
    let mut factors = [0.0f32; 2];
    let mut out = [0.0f32; 24];
    let mut bytes = [0u8; 77];
    let key = Key::new([3; 8]);
    let clipping = Clipping::Flat { clip: 0.1 };

    let count = allocations(|| {
        black_box((flat_factor(4.0, 1.0), automatic_factor(4.0, 1.0, 0.1)));
        black_box(clipping.validate().is_ok());
        let mut clips = [0.0; 2];
        split_clip(1.0, &[1.0, 2.0], &mut clips).unwrap();
        let groups = GroupClipping::flat(&clips).unwrap();
        black_box(groups.sensitivity());
        let mut parts = [0.0; 4];
        group_clip_factors(&[1.0; 4], &[1.0, 0.0], &mut parts, groups).unwrap();
        let mut counts = [0.0; 3];
        add_quantile_counts(&[1.0; 4], &[1.0; 2], &parts, &clips, &mut counts).unwrap();
        let quantile = AdaptiveQuantile::new(0.5, 0.2, 5.0, 100.0, 2).unwrap();
        black_box(quantile.event(0.1, 1.0).unwrap());
        black_box(quantile.next_clip(1.0, counts[0]));
        assert!(AdaptiveQuantile::new(2.0, 0.2, 5.0, 100.0, 2).is_err());

        for generator in [Generator::ChaCha20, Generator::Philox4x32x10NotSecure] {
            fill_gaussian(&mut out, 3, 1.0, &key, generator, 1, 2).unwrap();
            assert!(fill_gaussian(&mut out, u64::MAX, 1.0, &key, generator, 1, 2).is_err());
            add_gaussian_noise(&mut out, 3, 1.0, &key, generator, 1, 2).unwrap();
        }
        let draw = GaussianDraw {
            first_element: 3,
            std: 1.0,
            key: &key,
            generator: Generator::ChaCha20,
            step: 1,
            tensor: 2,
        };
        let rule = UpdateRule::Sgd {
            rate: 0.1,
            momentum: 0.0,
            nesterov: false,
            weight_decay: 0.0,
        };
        let (mut sum, mut parameter) = ([1.0; 9], [1.0; 9]);
        let updated = Updated {
            sum: &mut sum,
            parameter: &mut parameter,
            moment_1: &mut [],
            moment_2: &mut [],
        };
        noised_update(updated, &draw, 8.0, rule, true).unwrap();
        let plan = Hardened::plan(1.0, 1.0, 0.0, 9, -10).unwrap();
        let draw = HardenedDraw {
            first_element: 3,
            plan,
            key: &key,
            step: 1,
            tensor: 2,
        };
        release_hardened(&mut sum, &draw).unwrap();
        assert!(Hardened::plan(1.0, 1.0, 0.0, 9, 10).is_err());
        ChaCha20Rng::from_seed([1; 32]).fill_bytes(&mut bytes);
        Philox4x32x10NotSecureRng::from_seed([1; 8]).fill_bytes(&mut bytes);
        let generated = Key::generate(&mut ChaCha20Rng::from_seed([1; 32])).unwrap();
        black_box(generated.clone());

        let sampler = PoissonSampler::new(0.5).unwrap();
        let mut inclusions = sampler.inclusions(&key, 3);
        black_box(
            (0..100)
                .filter(|record| inclusions.includes(*record))
                .count(),
        );
        assert!(PoissonSampler::new(2.0).is_err());

        let sum = ClippedSum {
            terms: 10,
            sum_depth: Order::Pairwise.depth(10),
            norm_depth: 5,
            cancellation: 1.0,
        };
        black_box(sum.eta().unwrap());

        let a = Tensor3::new(&data, [2, 3, 4]).unwrap();
        let g = Tensor3::new(&data[..12], [2, 3, 2]).unwrap();
        assert!(Tensor3::new(&data, [2, 3, 5]).is_err());
        linear_norm_sq(a, g, &mut norms_sq, LinearNorm::Gram).unwrap();
        linear_norm_sq(a, g, &mut norms_sq, LinearNorm::Materialised).unwrap();
        bias_norm_sq(g, &mut norms_sq).unwrap();
        embedding_norm_sq(&ids, g, &mut norms_sq).unwrap();
        scale_norm_sq(g, g, &mut norms_sq).unwrap();
        position_norm_sq(g, &mut norms_sq).unwrap();
        clip_factors(&norms_sq, &[1.0, 0.0], &mut factors, clipping).unwrap();
        weighted_sum_linear(a, g, &factors, &mut out[..8]).unwrap();
        weighted_sum_bias(g, &factors, &mut out[..2]).unwrap();
        weighted_sum_embedding(&ids, g, &factors, &mut out[..6]).unwrap();
        weighted_sum_scale(g, g, &factors, &mut out[..2]).unwrap();
        weighted_sum_position(g, &factors, &mut out[..6]).unwrap();
        zero_dead_rows(&mut out, &factors).unwrap();
        gradient_norm_sq(&data, &mut norms_sq).unwrap();
        weighted_sum_gradient(&data, &factors, &mut out[..12]).unwrap();
        channel_bias_norm_sq(g, &mut norms_sq).unwrap();
        channel_scale_norm_sq(g, g, &mut norms_sq).unwrap();
        weighted_sum_channel_bias(g, &factors, &mut out[..3]).unwrap();
        weighted_sum_channel_scale(g, g, &factors, &mut out[..3]).unwrap();
        tied_norm_sq(&ids, g, g, a, &mut norms_sq).unwrap();
        weighted_sum_tied(&ids, g, g, a, &factors, &mut out[..8]).unwrap();
        lora_norm_sq(a, g, a, g, &mut norms_sq).unwrap();
        let (out_a, out_b) = out.split_at_mut(8);
        weighted_sum_lora(a, g, a, g, &factors, out_a, &mut out_b[..8]).unwrap();
        let layout = ConvShape::new([2]).layout([3, 1], [4]).unwrap();
        assert!(ConvShape::new([5]).layout([3, 1], [4]).is_err());
        conv_norm_sq(&layout, &data, &data[..6], &mut norms_sq).unwrap();
        weighted_sum_conv(&layout, &data, &data[..6], &factors, &mut out[..6]).unwrap();
        let transposes = Transposes {
            lhs: true,
            rhs: false,
        };
        matmul(a, g, &mut out[..16], transposes).unwrap();
    });
    assert_eq!(count, 0);
}
