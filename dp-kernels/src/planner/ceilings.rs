//! What a device reaches, and the short run that measures it.

use crate::{
    Backend, KernelError, LinearNorm, keep_linear_gradients, linear_norm_sq, position_norm_sq,
    weighted_sum_linear, zero_dead_rows,
};
use core::fmt;
use cubecl::{
    CubeElement,
    ir::{ElemType, FloatKind},
    std::tensor::TensorHandle,
};
use std::time::{Duration, Instant};

/// What a device does in a second with the kernels of this crate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Bytes that are read where hardly anything else is done.
    pub read_bytes: f64,
    /// Bytes of kept gradients that a materialised norm writes beside its arithmetic.
    pub keep_bytes: f64,
    /// FLOP of the Gram way.
    pub gram_flop: f64,
    /// FLOP of the materialised way.
    pub materialised_flop: f64,
    /// FLOP of a weighted sum.
    pub sum_flop: f64,
}

/// [`Rates`] that are all finite and above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings(Rates);

/// Ceilings that could not be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CeilingError {
    /// A rate that is not a positive finite number.
    #[error("the rate of {name} is {value} a second: it must be finite and above 0")]
    Rate {
        /// Which rate.
        name: &'static str,
        /// The value.
        value: f64,
    },
    /// A launcher refused the measuring run.
    #[error("measuring: {0}")]
    Kernel(#[from] KernelError),
    /// The device failed while it was measured.
    #[error("measuring: the device answered {0}")]
    Device(String),
}

/// T, d and p of the runs that measure products: a middling layer, in whole tiles.
const TOKENS: usize = 128;
const WIDTH: usize = 256;
/// The most examples of that run.
const MOST_EXAMPLES: usize = 64;
/// A launch this long hides what a launch itself costs.
const LONG_ENOUGH: Duration = Duration::from_millis(5);
/// Launches of which the shortest counts.
const LAUNCHES: usize = 5;
/// What the bandwidth is measured over where the runtime doesn't tell the last-level cache.
const READ_BYTES: usize = 64 << 20;
/// At most this, whatever the cache.
const MOST_READ_BYTES: usize = 256 << 20;

impl Ceilings {
    /// Ceilings from elsewhere.
    ///
    /// # Errors
    /// [`CeilingError::Rate`] for one that is not finite and above 0.
    pub fn new(rates: Rates) -> Result<Self, CeilingError> {
        let named = [
            ("reading", rates.read_bytes),
            ("keeping", rates.keep_bytes),
            ("the Gram way", rates.gram_flop),
            ("the materialised way", rates.materialised_flop),
            ("weighted sums", rates.sum_flop),
        ];
        match named
            .into_iter()
            .find(|(_, value)| !(value.is_finite() && *value > 0.0))
        {
            Some((name, value)) => Err(CeilingError::Rate { name, value }),
            None => Ok(Self(rates)),
        }
    }

    /// Measures them on an idle device: the shortest of a few launches, warm, each waited for.
    ///
    /// Allocates up to 256 MiB on the device, waits for it, and is meant to be called once, before training. It is
    /// the one function of this crate that waits. What it finds changes speed, never a result's meaning.
    ///
    /// # Errors
    /// [`CeilingError::Kernel`] or [`CeilingError::Device`] where the device did not run it.
    pub fn measure(backend: &Backend) -> Result<Self, CeilingError> {
        let read_bytes = read_rate(backend)?;
        Self::new(Rates {
            read_bytes,
            keep_bytes: keep_rate(backend)?.min(read_bytes),
            gram_flop: flop_rate(backend, Product::Norm(LinearNorm::Gram))?,
            materialised_flop: flop_rate(backend, Product::Norm(LinearNorm::Materialised))?,
            sum_flop: flop_rate(backend, Product::Sum)?,
        })
    }

    /// Bytes a second that are read where hardly anything else is done.
    #[must_use]
    pub fn read_bytes(&self) -> f64 {
        self.0.read_bytes
    }

    /// Bytes of kept gradients a second that a materialised norm writes beside its arithmetic.
    #[must_use]
    pub fn keep_bytes(&self) -> f64 {
        self.0.keep_bytes
    }

    /// FLOP a second of the Gram way.
    #[must_use]
    pub fn gram_flop(&self) -> f64 {
        self.0.gram_flop
    }

    /// FLOP a second of the materialised way.
    #[must_use]
    pub fn materialised_flop(&self) -> f64 {
        self.0.materialised_flop
    }

    /// FLOP a second of a weighted sum.
    #[must_use]
    pub fn sum_flop(&self) -> f64 {
        self.0.sum_flop
    }
}

impl fmt::Display for Ceilings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let giga = |rate: f64| rate / 1e9;
        write!(
            f,
            "reads {:.1} GB/s, keeps {:.1} GB/s, Gram {:.1} GFLOP/s, materialised {:.1} GFLOP/s, sums {:.1} GFLOP/s",
            giga(self.0.read_bytes),
            giga(self.0.keep_bytes),
            giga(self.0.gram_flop),
            giga(self.0.materialised_flop),
            giga(self.0.sum_flop)
        )
    }
}

/// Bytes a second of the norm that does nothing but read, over several times the last-level cache.
fn read_rate(backend: &Backend) -> Result<f64, CeilingError> {
    let client = &backend.client;
    let cache = client.properties().hardware.last_level_cache_size;
    let bytes = cache.map_or(READ_BYTES, |cache| {
        (4 * cache as usize).clamp(READ_BYTES, MOST_READ_BYTES)
    });
    let rows = 64;
    let columns = bytes / size_of::<f32>() / rows;
    let g = TensorHandle::new_contiguous(
        vec![rows, 1, columns],
        client.empty(rows * columns * size_of::<f32>()),
        ElemType::Float(FloatKind::F32),
    );
    let norms = floats(backend, &[rows], |_| 0.0);
    // Written once, or the pages of a processor's buffer would all be the same page of zeros.
    zero_dead_rows(&backend.launch(), &g, &norms)?;
    let seconds = shortest(backend, || position_norm_sq(&backend.launch(), &g, &norms))?;
    Ok((rows * columns * size_of::<f32>()) as f64 / seconds)
}

/// Products that are timed.
#[derive(Clone, Copy)]
enum Product {
    Norm(LinearNorm),
    Sum,
    Keep,
}

/// FLOP a second of one kind of product, over as many examples as make a launch long enough to time.
fn flop_rate(backend: &Backend, product: Product) -> Result<f64, CeilingError> {
    let mut examples = 4;
    loop {
        let seconds = product_seconds(backend, product, examples)?;
        if seconds >= LONG_ENOUGH.as_secs_f64() || examples >= MOST_EXAMPLES {
            let an_example = match product {
                Product::Norm(LinearNorm::Gram) => TOKENS * TOKENS * 2 * WIDTH,
                _ => 2 * TOKENS * WIDTH * WIDTH,
            };
            return Ok((examples * an_example) as f64 / seconds);
        }
        examples *= 4;
    }
}

/// Bytes of kept gradients over the time that writing them takes beyond the norm that doesn't; infinite where that shows none.
fn keep_rate(backend: &Backend) -> Result<f64, CeilingError> {
    let kept = product_seconds(backend, Product::Keep, MOST_EXAMPLES)?;
    let dropped = Product::Norm(LinearNorm::Materialised);
    let more = kept - product_seconds(backend, dropped, MOST_EXAMPLES)?;
    let bytes = MOST_EXAMPLES * WIDTH * WIDTH * size_of::<f32>();
    Ok(if more > 0.0 {
        bytes as f64 / more
    } else {
        f64::INFINITY
    })
}

/// Seconds of one launch over so many examples.
fn product_seconds(
    backend: &Backend,
    product: Product,
    examples: usize,
) -> Result<f64, CeilingError> {
    let input = |i: usize| (i % 17) as f32 / 16.0 - 0.5;
    let a = floats(backend, &[examples, TOKENS, WIDTH], input);
    let g = floats(backend, &[examples, TOKENS, WIDTH], input);
    let norms = floats(backend, &[examples], |_| 0.0);
    let launch = backend.launch();
    match product {
        Product::Norm(how) => shortest(backend, || linear_norm_sq(&launch, &a, &g, &norms, how)),
        Product::Sum => {
            let factors = floats(backend, &[examples], |_| 1.0);
            let out = floats(backend, &[WIDTH, WIDTH], |_| 0.0);
            shortest(backend, || {
                weighted_sum_linear(&launch, &a, &g, &factors, &out)
            })
        }
        Product::Keep => {
            let kept = floats(backend, &[examples, WIDTH, WIDTH], |_| 0.0);
            shortest(backend, || {
                keep_linear_gradients(&launch, &a, &g, &kept, &norms)
            })
        }
    }
}

fn floats(backend: &Backend, shape: &[usize], value: impl Fn(usize) -> f32) -> TensorHandle {
    let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
    let handle = backend.client.create_from_slice(f32::as_bytes(&values));
    TensorHandle::new_contiguous(shape.to_vec(), handle, ElemType::Float(FloatKind::F32))
}

/// Seconds of the shortest launch; the first, which compiles, isn't counted.
fn shortest(
    backend: &Backend,
    launch: impl Fn() -> Result<(), KernelError>,
) -> Result<f64, CeilingError> {
    let wait = || {
        cubecl::future::block_on(backend.client.sync())
            .map_err(|error| CeilingError::Device(format!("{error:?}")))
    };
    launch()?;
    wait()?;
    let mut shortest = f64::INFINITY;
    for _ in 0..LAUNCHES {
        let start = Instant::now();
        launch()?;
        wait()?;
        shortest = shortest.min(start.elapsed().as_secs_f64());
    }
    Ok(shortest)
}
