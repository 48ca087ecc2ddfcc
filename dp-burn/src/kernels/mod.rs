//! The kernels of a transformer's layers that carry no weights: each one pass over its data, forward
//! and backward, where a chain of element-wise tensor operations takes ten.
//!
//! One unit works on one row with vectors as wide as the row allows. Sums run in a fixed order, so
//! that a row's result depends on that row alone: an example's gradient can't change with its
//! neighbours in the batch.

// CubeCL expands casts that are idle in the host's types.
#![allow(clippy::unnecessary_cast)]

pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod cross_entropy;
pub(crate) mod gelu;
pub(crate) mod layer_norm;

use crate::profile;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::zeros_client;
use burn_cubecl::tensor::CubeTensor;
use cubecl::CubeElement;
use cubecl::prelude::*;

/// The widest vector, in f32 elements, that every row of `row` elements of all `tensors` can be read by.
pub(crate) fn lanes(tensors: &[&CubeTensor], row: usize) -> usize {
    let hardware = &tensors[0].client.properties().hardware;
    // A GPU unit loads at most 16 bytes at once.
    let most = if hardware.num_cpu_cores.is_some() {
        hardware.load_width as usize / 32
    } else {
        4
    };
    let mut width = most.clamp(1, 16);
    let aligned = |width: usize| {
        let offset =
            |t: &CubeTensor| t.handle.offset_start.unwrap_or(0) as usize / size_of::<f32>();
        row.is_multiple_of(width) && tensors.iter().all(|t| offset(t).is_multiple_of(width))
    };
    while !aligned(width) {
        width /= 2;
    }
    width
}

/// A launch with one unit for each of `rows` rows; units past the last must do nothing.
///
/// On the CPU runtime units are threads and cubes are a loop that each of them walks: there they take runs of neighbouring rows, so that what one
/// fetches ahead of itself is its own. On a GPU neighbouring units take neighbouring rows.
pub(crate) fn grid(like: &CubeTensor, rows: usize) -> (CubeCount, CubeDim) {
    let (long, short, dim) = cubes(like, rows);
    let is_cpu = like.client.properties().hardware.num_cpu_cores.is_some();
    let count = if is_cpu {
        CubeCount::Static(short, long, 1)
    } else {
        CubeCount::Static(long, 1, short)
    };
    (count, dim)
}

/// Likewise, of rows that units take in turn everywhere.
pub(crate) fn grid_in_turn(like: &CubeTensor, rows: usize) -> (CubeCount, CubeDim) {
    let (long, short, dim) = cubes(like, rows);
    (CubeCount::Static(long, 1, short), dim)
}

/// The cubes of two axes, most of them along the first, and their units.
fn cubes(like: &CubeTensor, rows: usize) -> (u32, u32, CubeDim) {
    let hardware = &like.client.properties().hardware;
    let units = hardware.max_units_per_cube.clamp(1, 256);
    let cubes = (rows as u32).div_ceil(units).max(1);
    let (x, y, _) = hardware.max_cube_count;
    let long = cubes.min(x).min(y).min(u32::from(u16::MAX));
    (long, cubes.div_ceil(long), CubeDim::new_1d(units))
}

/// Notes for a profile that the operation `name`, which wrote `tensor`, was launched; on the CPU runtime waits until the
/// device has done it.
///
/// There a queue of 32 launches stands between this thread and the device's, and a thread that finds it full
/// spins, on a core that the kernels need. Waiting sleeps. On a GPU launches run ahead, as they should, unless a profile
/// is recorded.
pub(crate) fn settle(name: &'static str, tensor: &CubeTensor) {
    settle_of(name, tensor, tensor.meta.shape());
}

/// Likewise, where the operation's extents are not those of what it wrote.
pub(crate) fn settle_of(name: &'static str, tensor: &CubeTensor, shape: &[usize]) {
    let is_recorded = profile::is_on();
    if is_recorded || tensor.client.properties().hardware.num_cpu_cores.is_some() {
        // A failure shows on the next read of what was computed.
        let _ = cubecl::future::block_on(tensor.client.sync());
    }
    if is_recorded {
        profile::mark(name, shape);
    }
}

/// The row of this unit in a launch by [`grid`].
#[cube]
pub(crate) fn row_of() -> usize {
    let cube = CUBE_POS_Z as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    let unit = cube * CUBE_DIM as usize + UNIT_POS as usize;
    unit * CUBE_COUNT_Y as usize + CUBE_POS_Y as usize
}

/// `tensor` to be written over: itself, or a copy where anyone else holds its values.
pub(crate) fn owned(tensor: CubeTensor) -> CubeTensor {
    if tensor.can_mut() {
        tensor
    } else {
        tensor.copy()
    }
}

/// A new f32 tensor beside `like`.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    let shape = shape.into();
    let handle = like
        .client
        .empty(shape.num_elements().max(1) * size_of::<f32>());
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        handle,
        DType::F32,
    )
}

/// Likewise, every element `value`, written by the host.
pub(crate) fn filled(like: &CubeTensor, shape: impl Into<Shape>, value: f32) -> CubeTensor {
    let shape = shape.into();
    let values = vec![value; shape.num_elements().max(1)];
    let handle = like.client.create_from_slice(f32::as_bytes(&values));
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        handle,
        DType::F32,
    )
}

/// Zeros, written by the device: a large tensor takes the host many times as long.
pub(crate) fn zeros(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    zeros_client(
        like.client.clone(),
        like.device.clone(),
        shape.into(),
        DType::F32,
    )
}

/// `tensor`, of elements of 32 bits, as a kernel argument of vectors of `lanes` elements.
pub(crate) fn buffer(tensor: &CubeTensor, lanes: usize) -> BufferArg {
    debug_assert!(matches!(tensor.dtype, DType::F32 | DType::I32));
    let len = tensor.meta.shape().num_elements() / lanes;
    // SAFETY: a contiguous tensor's handle holds all the elements of its shape, and what comes from outside is f32 or i32 (`ops::arg`).
    unsafe { BufferArg::from_raw_parts(tensor.handle.clone(), len) }
}

/// The sum of a vector's lanes.
#[cube]
pub(crate) fn sum_lanes<N: Size>(v: Vector<f32, N>) -> f32 {
    let mut sum = v.extract(0usize);
    #[unroll]
    for lane in 1..N::value() {
        sum += v.extract(lane);
    }
    sum
}
