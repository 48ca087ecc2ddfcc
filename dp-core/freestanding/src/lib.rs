//! Calls dp-core's parts from a world without std, without alloc and without a heap.
#![no_std]

use dp_core::clipping::{Clipping, automatic_factor, flat_factor};
use dp_core::noise::{Generator, Key, fill_gaussian};
use dp_core::reference::{LinearNorm, Tensor3, linear_norm_sq};
use dp_core::sampling::PoissonSampler;
use dp_core::sensitivity::{ClippedSum, Order};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    abort()
}

/// Works through the primitives; the number of the first that answers wrongly, or 0.
#[unsafe(no_mangle)]
pub extern "C" fn dp_core_exercise() -> i32 {
    if flat_factor(4.0, 1.0) != 0.5 || flat_factor(f32::NAN, 1.0) != 0.0 {
        return 1;
    }
    if automatic_factor(0.0, 1.0, 0.5) != 2.0 || (Clipping::Flat { clip: 0.0 }).validate().is_ok() {
        return 2;
    }
    let key = Key::new([7; 8]);
    let mut noise = [0.0; 16];
    for generator in [Generator::ChaCha20, Generator::Philox4x32x10NotSecure] {
        let filled = fill_gaussian(&mut noise, 3, 1.0, &key, generator, 1, 2);
        if filled.is_err() || noise.iter().any(|x| *x == 0.0 || !x.is_finite()) {
            return 3;
        }
    }
    let Ok(sampler) = PoissonSampler::new(1.0) else {
        return 4;
    };
    if !sampler.includes(&key, 1, 2) {
        return 5;
    }
    let data = [1.0; 4];
    let mut norms_sq = [0.0];
    let norms = Tensor3::new(&data, [1, 2, 2])
        .and_then(|x| linear_norm_sq(x, x, &mut norms_sq, LinearNorm::Gram));
    if norms.is_err() || norms_sq != [16.0] {
        return 6;
    }
    let sum = ClippedSum {
        terms: 100,
        sum_depth: Order::Pairwise.depth(100),
        norm_depth: 3,
        cancellation: 1.0,
    };
    if !sum.eta().is_ok_and(|eta| eta > 0.0 && eta < 1e-3) {
        return 7;
    }
    accounting()
}

/// The accountant and the calibration, in floating point without std.
fn accounting() -> i32 {
    use dp_core::accounting::{Event, calibrate_sigma, epsilon};
    let event = Event::PoissonGaussian {
        rate: 0.01,
        sigma: 1.0,
    };
    match epsilon(&[(event, 100)], 1e-5) {
        Ok(bounds) if bounds.lower > 0.0 && bounds.upper < 10.0 => {}
        _ => return 8,
    }
    match calibrate_sigma(1.0, 1e-5, 0.01, 100) {
        Ok(sigma) if sigma > 0.0 && sigma < 10.0 => 0,
        _ => 9,
    }
}

/// Stops the machine.
pub fn abort() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
