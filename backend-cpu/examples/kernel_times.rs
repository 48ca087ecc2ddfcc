//! Times every launcher on the processor: `cargo run --release -p dp-backend-cpu --example kernel_times`.
//!
//! Median of several runs, warm, no transfers. Rates count the launcher's own arithmetic.

use cubecl::{
    CubeElement,
    client::Client,
    ir::{ElemType, FloatKind, UIntKind},
    std::tensor::TensorHandle,
};
use dp_core::{
    clipping::Clipping,
    noise::{GaussianDraw, Generator, Hardened, HardenedDraw, Key},
    update::UpdateRule,
};
use dp_kernels::*;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let backend = dp_backend_cpu::open()?;
    println!("{}", backend.describe());
    let client = &backend.client;
    let workspace = Workspace::growing();
    let launch = &backend.launch().with_workspace(&workspace);
    let shapes: [(usize, usize, usize, usize, usize); 8] = [
        (32, 64, 128, 128, 256),
        (32, 64, 128, 512, 256),
        (32, 64, 512, 128, 256),
        (32, 64, 128, 256, 256),
        (16, 128, 256, 256, 4096),
        (16, 128, 256, 1024, 4096),
        (16, 128, 1024, 256, 4096),
        (16, 128, 256, 4096, 4096),
    ];
    for (b, t, d, p, v) in shapes {
        println!("B {b} T {t} d {d} p {p} V {v}");
        let a = floats(client, &[b, t, d]);
        let g = floats(client, &[b, t, p]);
        let norms = floats(client, &[b]);
        let factors = ones(client, &[b]);
        let ids: Vec<u32> = (0..b * t)
            .map(|i| ((i * i * 31 + i * 7) % v) as u32)
            .collect();
        let ids = TensorHandle::new_contiguous(
            vec![b, t],
            client.create_from_slice(u32::as_bytes(&ids)),
            ElemType::UInt(UIntKind::U32),
        );
        let weight = floats(client, &[d, p]);
        let bias = floats(client, &[p]);
        let table = floats(client, &[v, p]);
        let places = floats(client, &[t, p]);
        let (bt, tt) = ((b * t) as f64, t as f64);
        let (df, pf) = (d as f64, p as f64);
        let product = 2.0 * bt * df * pf;

        let out = floats(client, &[d, p]);
        let (flat_a, flat_g) = (view(&a, &[b * t, d]), view(&g, &[b * t, p]));
        let forward = floats(client, &[b * t, p]);
        let backward = floats(client, &[b * t, d]);
        for routine in [Routine::CpuGemm, Routine::Registers] {
            time(client, &format!("A^T G {routine:?}"), product, || {
                matmul(launch, &flat_a, &flat_g, &out, Transposes::LHS, routine)
            })?;
            time(client, &format!("A W {routine:?}"), product, || {
                matmul(
                    launch,
                    &flat_a,
                    &weight,
                    &forward,
                    Transposes::NONE,
                    routine,
                )
            })?;
            time(client, &format!("G W^T {routine:?}"), product, || {
                matmul(
                    launch,
                    &flat_g,
                    &weight,
                    &backward,
                    Transposes::RHS,
                    routine,
                )
            })?;
        }
        time(client, "weighted_sum_linear", product, || {
            weighted_sum_linear(launch, &a, &g, &factors, &weight)
        })?;
        time(client, "linear_norm_sq gram", bt * tt * (df + pf), || {
            linear_norm_sq(launch, &a, &g, &norms, LinearNorm::Gram)
        })?;
        time(client, "linear_norm_sq materialised", product, || {
            linear_norm_sq(launch, &a, &g, &norms, LinearNorm::Materialised)
        })?;
        time(client, "bias_norm_sq", bt * pf, || {
            bias_norm_sq(launch, &g, &norms)
        })?;
        time(client, "scale_norm_sq", 2.0 * bt * pf, || {
            scale_norm_sq(launch, &g, &g, &norms)
        })?;
        time(client, "position_norm_sq", 2.0 * bt * pf, || {
            position_norm_sq(launch, &g, &norms)
        })?;
        time(client, "embedding_norm_sq", 2.0 * bt * pf, || {
            embedding_norm_sq(launch, &ids, &g, &norms)
        })?;
        time(client, "weighted_sum_bias", bt * pf, || {
            weighted_sum_bias(launch, &g, &factors, &bias)
        })?;
        time(client, "weighted_sum_scale", 2.0 * bt * pf, || {
            weighted_sum_scale(launch, &g, &g, &factors, &bias)
        })?;
        time(client, "weighted_sum_position", 2.0 * bt * pf, || {
            weighted_sum_position(launch, &g, &factors, &places)
        })?;
        time(client, "weighted_sum_embedding", 2.0 * bt * pf, || {
            weighted_sum_embedding(launch, &ids, &g, &factors, &table)
        })?;
        time(client, "zero_dead_rows (none dead)", 0.0, || {
            zero_dead_rows(launch, &g, &factors)
        })?;
        time(client, "clip_factors", 0.0, || {
            clip_factors(
                launch,
                &norms,
                &factors,
                &factors,
                Clipping::Flat { clip: 1.0 },
            )
        })?;
    }
    let key = Key::new([1; 8]);
    let target = floats(client, &[1 << 20]);
    for generator in [Generator::ChaCha20, Generator::Philox4x32x10NotSecure] {
        time(client, &format!("2^20 normals, {generator:?}"), 0.0, || {
            add_gaussian_noise(launch, &target, draw(&key, generator, 1.0))
        })?;
    }
    let moments = [1, 2, 3].map(|_| floats(client, &[1 << 20]));
    let rule = UpdateRule::AdamW {
        rate: 1e-3,
        beta_1: 0.9,
        beta_2: 0.99,
        epsilon: 1e-6,
        weight_decay: 0.1,
        time: 3,
    };
    let updated = Updated {
        sum: &target,
        parameter: &moments[0],
        moments: &[&moments[1], &moments[2]],
        copy: None,
    };
    for std in [0.0, 1.0] {
        time(
            client,
            &format!("2^20 AdamW with noise of {std}"),
            0.0,
            || {
                let draw = draw(&key, Generator::ChaCha20, std);
                noised_update(launch, &updated, draw, 32.0, rule, false)
            },
        )?;
    }
    let plan = Hardened::plan(1.0, 1.0, 0.0, 1 << 20, -20)?;
    time(client, "2^20 hardened", 0.0, || {
        let draw = HardenedDraw {
            first_element: 0,
            plan,
            key: &key,
            step: 1,
            tensor: 0,
        };
        release_hardened(launch, &target, draw)
    })?;
    Ok(())
}

fn time(
    client: &Client,
    name: &str,
    flop: f64,
    mut launch: impl FnMut() -> Result<(), KernelError>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut seconds = Vec::new();
    let begin = Instant::now();
    while seconds.len() < 25 && (seconds.len() < 5 || begin.elapsed().as_secs_f64() < 0.4) {
        let start = Instant::now();
        launch()?;
        cubecl::future::block_on(client.sync()).map_err(|error| format!("{error:?}"))?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.remove(0);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    print!(
        "  {name:<36} {:9.3} ms (best {:9.3})",
        median * 1e3,
        seconds[0] * 1e3
    );
    if flop > 0.0 {
        print!(" {:8.1} GFLOP/s", flop / seconds[0] * 1e-9);
    }
    println!();
    Ok(())
}

fn floats(client: &Client, shape: &[usize]) -> TensorHandle {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n)
        .map(|i| ((i * 7919) % 1013) as f32 / 506.0 - 1.0)
        .collect();
    upload(client, shape, &values)
}

fn ones(client: &Client, shape: &[usize]) -> TensorHandle {
    upload(client, shape, &vec![1.0; shape.iter().product()])
}

fn upload(client: &Client, shape: &[usize], values: &[f32]) -> TensorHandle {
    let handle = client.create_from_slice(f32::as_bytes(values));
    TensorHandle::new_contiguous(shape.to_vec(), handle, ElemType::Float(FloatKind::F32))
}

fn view(tensor: &TensorHandle, shape: &[usize]) -> TensorHandle {
    TensorHandle::new_contiguous(shape.to_vec(), tensor.handle.clone(), tensor.dtype)
}

fn draw(key: &Key, generator: Generator, std: f32) -> GaussianDraw<'_> {
    GaussianDraw {
        first_element: 0,
        std,
        key,
        generator,
        step: 1,
        tensor: 0,
    }
}
