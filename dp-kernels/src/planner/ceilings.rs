//! What a device reaches, and the short run that measures it.

use crate::{Backend, KernelError, LinearNorm, linear_norm_sq, position_norm_sq, zero_dead_rows};
use core::fmt;
use cubecl::{
    CubeElement,
    ir::{ElemType, FloatKind},
    std::tensor::TensorHandle,
};
use std::time::{Duration, Instant};

/// Rates that a device reaches with the kernels of this crate, all finite and above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings {
    read_bytes: f64,
    gram_flop: f64,
    materialised_flop: f64,
}

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

/// T, d and p of the run that measures both ways: a middling layer, in whole tiles.
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
const MOST_READ_BYTES: usize = 512 << 20;

impl Ceilings {
    /// Ceilings from elsewhere: bytes a second that a norm reads, FLOP a second of the Gram way and of the
    /// materialised way.
    ///
    /// # Errors
    /// [`CeilingError::Rate`] for one that is not finite and above 0.
    pub fn new(
        read_bytes: f64,
        gram_flop: f64,
        materialised_flop: f64,
    ) -> Result<Self, CeilingError> {
        let rates = [
            ("reading", read_bytes),
            ("the Gram way", gram_flop),
            ("the materialised way", materialised_flop),
        ];
        match rates
            .into_iter()
            .find(|(_, value)| !(value.is_finite() && *value > 0.0))
        {
            Some((name, value)) => Err(CeilingError::Rate { name, value }),
            None => Ok(Self {
                read_bytes,
                gram_flop,
                materialised_flop,
            }),
        }
    }

    /// Measures them on an idle device: the shortest of a few launches, warm, each waited for.
    ///
    /// Allocates up to 512 MiB on the device, waits for it, and is meant to be called once, before training. It is
    /// the one function of this crate that waits. What it finds changes speed, never a result's meaning.
    ///
    /// # Errors
    /// [`CeilingError::Kernel`] or [`CeilingError::Device`] where the device did not run it.
    pub fn measure(backend: &Backend) -> Result<Self, CeilingError> {
        Self::new(
            read_rate(backend)?,
            flop_rate(backend, LinearNorm::Gram)?,
            flop_rate(backend, LinearNorm::Materialised)?,
        )
    }

    /// Bytes a second that a norm reads.
    #[must_use]
    pub fn read_bytes(&self) -> f64 {
        self.read_bytes
    }

    /// FLOP a second of the Gram way.
    #[must_use]
    pub fn gram_flop(&self) -> f64 {
        self.gram_flop
    }

    /// FLOP a second of the materialised way.
    #[must_use]
    pub fn materialised_flop(&self) -> f64 {
        self.materialised_flop
    }
}

impl fmt::Display for Ceilings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reads {:.1} GB/s, Gram {:.1} GFLOP/s, materialised {:.1} GFLOP/s",
            self.read_bytes / 1e9,
            self.gram_flop / 1e9,
            self.materialised_flop / 1e9
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

/// FLOP a second of one way, over as many examples as make a launch long enough to time.
fn flop_rate(backend: &Backend, how: LinearNorm) -> Result<f64, CeilingError> {
    let mut examples = 4;
    loop {
        let input = |i: usize| (i % 17) as f32 / 16.0 - 0.5;
        let a = floats(backend, &[examples, TOKENS, WIDTH], input);
        let g = floats(backend, &[examples, TOKENS, WIDTH], input);
        let norms = floats(backend, &[examples], |_| 0.0);
        let seconds = shortest(backend, || {
            linear_norm_sq(&backend.launch(), &a, &g, &norms, how)
        })?;
        if seconds >= LONG_ENOUGH.as_secs_f64() || examples >= MOST_EXAMPLES {
            let an_example = match how {
                LinearNorm::Gram => TOKENS * TOKENS * 2 * WIDTH,
                _ => 2 * TOKENS * WIDTH * WIDTH,
            };
            return Ok((examples * an_example) as f64 / seconds);
        }
        examples *= 4;
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
