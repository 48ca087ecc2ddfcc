//! The planted mutants: one wrong line each, and the test that must find it.

use super::Test::{Conformance, Core};
use super::{Mutant, Test};

const fn mutant(
    name: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
    test: Test,
) -> Mutant {
    Mutant {
        name,
        file,
        old,
        new,
        test,
    }
}

/// Each `old` occurs exactly once in its file: `cargo xtask check` holds that. Only code that the CPU backend runs,
/// since that is where the tests run.
#[rustfmt::skip]
pub(super) const MUTANTS: &[Mutant] = &[
    // Norms.
    mutant(
        "gram-symmetry-weight-dropped", "dp-kernels/src/norm/gram/registers.rs",
        "weights[k] = dots[k] + dots[k];",
        "weights[k] = dots[k];",
        Conformance("linear_norms"),
    ),
    mutant(
        "gram-padding-counted", "dp-kernels/src/norm/gram/registers.rs",
        "let twice = select(inside, dot + dot, E::new(0.0));",
        "let twice = dot + dot;",
        Conformance("linear_norms"),
    ),
    mutant(
        "conv-gram-padding-counted", "dp-kernels/src/norm/gram/dots.rs",
        "sum += select(inside, product, E::new(0.0));",
        "sum += product;",
        Conformance("conv_norms"),
    ),
    mutant(
        "conv-with-padding-taken-for-pointwise", "dp-kernels/src/unfold.rs",
        "self.places == 1 && self.layout.padding() == [0; 3] && ",
        "self.places == 1 && ",
        Conformance("conv_norms"),
    ),
    mutant(
        "conv-pointwise-groups-taken-for-examples", "dp-kernels/src/norm/conv/gram.rs",
        "let whole = conv.groups == 1 && ",
        "let whole = ",
        Conformance("conv_norms"),
    ),
    mutant(
        "gram-diagonal-counted-twice", "dp-kernels/src/norm/gram/registers.rs",
        "let own = select(comptime!(u == v).runtime() && inside, dot, E::new(0.0));",
        "let own = select(comptime!(u == v).runtime() && inside, dot + dot, E::new(0.0));",
        Conformance("linear_norms"),
    ),
    mutant(
        "gram-earlier-stretches-dropped", "dp-kernels/src/norm/gram/registers.rs",
        "sums[0] += (parts[0] + parts[1]) + (parts[2] + parts[3]);",
        "sums[0] = (parts[0] + parts[1]) + (parts[2] + parts[3]);",
        Conformance("linear_norms"),
    ),
    mutant(
        "gram-blocks-of-an-example-in-another-order", "dp-kernels/src/norm/gram/registers.rs",
        "block_of_rows::<F, E, N>(x, y, first_token, block, tokens, x_columns, y_columns);\n            sum += of_block;",
        "block_of_rows::<F, E, N>(x, y, first_token, blocks - 1 - block, tokens, x_columns, y_columns);\n            sum += of_block;",
        Conformance("microbatches_do_not_matter"),
    ),
    mutant(
        "gram-spans-before-the-last-dropped", "dp-kernels/src/norm/gram/registers.rs",
        "sums[0] += of_span;",
        "sums[0] = of_span;",
        Conformance("linear_norms"),
    ),
    mutant(
        "gram-stretches-before-the-last-dropped", "dp-kernels/src/norm/gram/registers.rs",
        "of_span += of_stretch;",
        "of_span = of_stretch;",
        Conformance("linear_norms"),
    ),
    mutant(
        "bias-dropped-from-the-norm-of-an-example", "dp-kernels/src/norm/gram/registers.rs",
        "if comptime!(bias) {",
        "if comptime!(bias && chunk == 0) {",
        Conformance("linear_norms"),
    ),
    mutant(
        "bias-dropped-from-the-norm-of-one-token", "dp-kernels/src/norm/linear.rs",
        "norms_sq[b] += g_total;",
        "norms_sq[b] += E::new(0.0);",
        Conformance("linear_norms"),
    ),
    mutant(
        "bias-dropped-where-it-has-a-launch-of-its-own", "dp-kernels/src/norm/linear.rs",
        "columns::add_norms(launch, op, None, g, &norms_sq, [b, t, p], of_bias)",
        "columns::add_norms(launch, op, None, g, &norms_sq, [0, t, p], of_bias)",
        Conformance("linear_norms"),
    ),
    mutant(
        "bias-of-a-layer-norm-dropped", "dp-kernels/src/norm/columns.rs",
        "if comptime!(both) {\n        let total",
        "if comptime!(both && chunk == 0) {\n        let total",
        Conformance("column_and_position_norms"),
    ),
    mutant(
        "gram-last-token-dropped", "dp-kernels/src/norm/gram/registers.rs",
        "let inside = i * SIDE + u < tokens as usize && j * SIDE + v < tokens as usize;",
        "let inside = i * SIDE + u + 1 < tokens as usize && j * SIDE + v + 1 < tokens as usize;",
        Conformance("linear_norms"),
    ),
    mutant(
        "kept-norm-unrounded", "dp-kernels/src/norm/kept.rs",
        "let back = Vector::<E, N>::cast_from(rounded);",
        "let back = sums[u * tile_columns + v];",
        Conformance("kept_gradients"),
    ),
    mutant(
        "kept-example-swapped", "dp-kernels/src/norm/kept.rs",
        "kept[(b * a_columns + i + u) * g_columns + column + v] = rounded;",
        "kept[((b ^ 1) * a_columns + i + u) * g_columns + column + v] = rounded;",
        Conformance("kept_gradients"),
    ),
    mutant(
        "gram-floor-missing", "dp-kernels/src/norm/gram/mod.rs",
        "select(sum < floor, floor, sum)",
        "sum",
        Conformance("norms_under_cancellation"),
    ),
    mutant(
        "gram-floor-of-f64-missing", "dp-kernels/src/norm/gram/mod.rs",
        "GRAM_FLOOR as f64 / (1u64 << 28) as f64;",
        "0.0;",
        Conformance("norms_under_cancellation"),
    ),
    mutant(
        "gram-overwrites", "dp-kernels/src/norm/gram/mod.rs",
        "norms_sq[b] += all;",
        "norms_sq[b] = all;",
        Conformance("linear_norms"),
    ),
    mutant(
        "one-token-norms-added", "dp-kernels/src/norm/linear.rs",
        "norms_sq[b] += a_total * g_total;",
        "norms_sq[b] += a_total + g_total;",
        Conformance("linear_norms"),
    ),
    mutant(
        "transposed-half-way", "dp-kernels/src/lanes.rs",
        "let rounds = comptime!(lanes.ilog2() as usize);",
        "let rounds = comptime!(lanes.ilog2() as usize - 1);",
        Conformance("matrix_products"),
    ),
    mutant(
        "outer-tile-last-token-dropped", "dp-kernels/src/outer.rs",
        "for t in 0..tokens {",
        "for t in 0..tokens - 1 {",
        Conformance("linear_norms"),
    ),
    mutant(
        "outer-tile-tokens-and-columns-swapped", "dp-kernels/src/outer.rs",
        "let a_at = (first_token + t) * a_columns + row;",
        "let a_at = first_token * a_columns + row * tokens + t;",
        Conformance("linear_sums"),
    ),
    mutant(
        "f64-rounded-to-f32-as-it-is-read", "dp-kernels/src/norm/columns.rs",
        "let mut term = Vector::<E, N>::cast_from(g[at + i]);",
        "let mut term = Vector::<E, N>::cast_from(Vector::<f32, N>::cast_from(g[at + i]));",
        Conformance("column_and_position_norms"),
    ),
    mutant(
        "column-norms-overwrite", "dp-kernels/src/norm/columns.rs",
        "let total = sum_units::<E>(sum, width, units);\n    if b < examples as usize && lane == 0 {\n        norms_sq[b] += total;",
        "let total = sum_units::<E>(sum, width, units);\n    if b < examples as usize && lane == 0 {\n        norms_sq[b] = total;",
        Conformance("column_and_position_norms"),
    ),
    mutant(
        "column-last-token-dropped", "dp-kernels/src/norm/columns.rs",
        "for t in 0..tokens as usize {",
        "for t in 0..tokens as usize - 1 {",
        Conformance("column_and_position_norms"),
    ),
    mutant(
        "scale-reads-gradient-for-input", "dp-kernels/src/norm/columns.rs",
        "term *= Vector::<E, N>::cast_from(x[at + i]);",
        "term *= Vector::<E, N>::cast_from(g[at + i]);",
        Conformance("column_and_position_norms"),
    ),
    mutant(
        "position-norm-summed-over-tokens", "dp-kernels/src/norm/position.rs",
        "let op = \"position_norm_sq\";",
        "let op = \"position_norm_sq\";\n    return super::bias_norm_sq(launch, g, norms_sq);",
        Conformance("column_and_position_norms"),
    ),
    mutant(
        "embedding-norm-ids-compared-wrongly", "dp-kernels/src/norm/embedding/chains.rs",
        "as usize - 1] != id {",
        "as usize - 1] > id {",
        Conformance("embedding_norms"),
    ),
    mutant(
        "embedding-norm-repeats-counted-again", "dp-kernels/src/norm/embedding/chains.rs",
        "links[first_link + next as usize - 1] |= LATER;",
        "links[first_link + next as usize - 1] |= 0u32;",
        Conformance("embedding_norms"),
    ),
    mutant(
        "embedding-norm-tokens-apart", "dp-kernels/src/norm/embedding/chains.rs",
        "let mut next = link;",
        "let mut next = link | END;",
        Conformance("embedding_norms"),
    ),
    mutant(
        "embedding-norm-of-the-first-part-alone", "dp-kernels/src/norm/embedding/chains.rs",
        "let from = (first_part + k) * span;",
        "let from = 0 * (first_part + k) * span;",
        Conformance("embedding_norms"),
    ),
    mutant(
        "embedding-norm-part-adds-to-what-was-there", "dp-kernels/src/norm/embedding/chains.rs",
        "out[task] = sum_lanes::<E, N>(totals[0]);",
        "out[task] += sum_lanes::<E, N>(totals[0]);",
        Conformance("callers_workspace"),
    ),
    // Clip factors and dead examples.
    mutant(
        "mask-skipped", "dp-kernels/src/clip/mod.rs",
        "factors[b] = select(mask[b] == 1.0f32, factor, E::new(0.0));",
        "factors[b] = factor;",
        Conformance("clip_factors"),
    ),
    mutant(
        "one-and-a-half-clip", "dp-kernels/src/clip/mod.rs",
        "flat_factor(norm_sq, clip)",
        "flat_factor(norm_sq, 1.5f32 * clip)",
        Conformance("clip_factors"),
    ),
    mutant(
        "nan-factor-row-kept", "dp-kernels/src/clip/mod.rs",
        "if !is_live::<E>(factors[row]) {",
        "if factors[row] == E::new(0.0) {",
        Conformance("zero_dead_rows"),
    ),
    mutant(
        "nan-norm-not-refused", "dp-core/src/clipping/factor.rs",
        "select(norm_usable && clip_usable, bounded, 0.0f32)",
        "select(clip_usable, bounded, 0.0f32)",
        Core("clipping", "flat_factor_bounds_every_norm_and_wastes_nothing"),
    ),
    mutant(
        "factor-of-squared-norm", "dp-core/src/clipping/factor.rs",
        "let clipped = select(above, clip / select(above, norm, 1.0f32), 1.0f32);",
        "let clipped = select(above, clip / select(above, norm_sq, 1.0f32), 1.0f32);",
        Core("clipping", "flat_factor_bounds_every_norm_and_wastes_nothing"),
    ),
    mutant(
        "zero-factor-is-live", "dp-kernels/src/live.rs",
        "bits > 0u32 && bits < 0x7f80_0000u32",
        "bits < 0x7f80_0000u32",
        Conformance("dead_examples_never_reach_a_sum"),
    ),
    mutant(
        "dead-example-in-linear-sum", "dp-kernels/src/sum/linear/registers.rs",
        "if is_live::<E>(factor) {\n            let mut column",
        "if factor >= E::new(0.0) {\n            let mut column",
        Conformance("dead_examples_never_reach_a_sum"),
    ),
    mutant(
        "dead-example-in-linear-sum-of-a-group", "dp-kernels/src/sum/linear/registers.rs",
        "if is_live::<E>(factor) {\n                    for token",
        "if factor >= E::new(0.0) {\n                    for token",
        Conformance("dead_examples_never_reach_a_sum"),
    ),
    mutant(
        "dead-example-in-column-sum", "dp-kernels/src/sum/columns.rs",
        "if live {",
        "if live || factor == E::new(0.0) {",
        Conformance("dead_examples_never_reach_a_sum"),
    ),
    mutant(
        "dead-example-in-position-sum", "dp-kernels/src/sum/gradient.rs",
        "if is_live::<E>(factor) {",
        "if factor >= E::new(0.0) {",
        Conformance("dead_examples_never_reach_a_sum"),
    ),
    mutant(
        "dead-example-in-embedding-sum", "dp-kernels/src/sum/embedding.rs",
        "if is_live::<E>(factor) && earlier == row && id < vocabulary {",
        "if factor >= E::new(0.0) && earlier == row && id < vocabulary {",
        Conformance("dead_examples_never_reach_a_sum"),
    ),
    // Weighted sums.
    mutant(
        "linear-sum-unweighted", "dp-kernels/src/sum/linear/registers.rs",
        "panel[live * tile_columns + v] = term * Vector::<E, N>::new(factor);",
        "panel[live * tile_columns + v] = term;",
        Conformance("linear_sums"),
    ),
    mutant(
        "linear-sum-of-a-single-example-unweighted", "dp-kernels/src/sum/linear/registers.rs",
        "&sums,\n                        factor,",
        "&sums,\n                        E::new(1.0),",
        Conformance("linear_sums"),
    ),
    mutant(
        "linear-sum-group-cut-short", "dp-kernels/src/sum/linear/registers.rs",
        "for b in first..last {",
        "for b in first..last - select(last - first > 1, 1usize, 0usize) {",
        Conformance("linear_sums"),
    ),
    mutant(
        "linear-sum-reads-a-of-other-rounding", "dp-kernels/src/outer.rs",
        "let left = Vector::<E, N>::new(E::cast_from(a[a_at + u]));",
        "let bits = f32::cast_from(a[a_at + u]).to_bits() & 0xffff_0000u32;\n            \
         let left = Vector::<E, N>::new(E::cast_from(f32::from_bits(bits)));",
        Conformance("linear_sums"),
    ),
    mutant(
        "linear-sum-overwrites", "dp-kernels/src/sum/linear/registers.rs",
        "Vector::<E, N>::new(scale),\n                out[at],",
        "Vector::<E, N>::new(scale),\n                Vector::<E, N>::new(E::new(0.0)),",
        Conformance("linear_sums"),
    ),
    mutant(
        "column-sum-unweighted", "dp-kernels/src/sum/columns.rs",
        "partials[start + column + i] = sums[i] * Vector::<E, N>::new(factor);",
        "partials[start + column + i] = sums[i];",
        Conformance("column_and_position_sums"),
    ),
    mutant(
        "column-sum-overwrites", "dp-kernels/src/sum/columns.rs",
        "out[i] += sum;",
        "out[i] = sum;",
        Conformance("column_and_position_sums"),
    ),
    mutant(
        "embedding-sum-reads-one-token", "dp-kernels/src/sum/embedding.rs",
        "let at = other * columns as usize + column;",
        "let at = row * columns as usize + column;",
        Conformance("embedding_sums"),
    ),
    mutant(
        "embedding-sum-id-out-of-table", "dp-kernels/src/sum/embedding.rs",
        "if is_live::<E>(factor) && earlier == row && id < vocabulary {",
        "if is_live::<E>(factor) && earlier == row && id + 1u32 < vocabulary {",
        Conformance("embedding_sums"),
    ),
    // Noise.
    mutant(
        "noise-one-block-in-every-lane", "dp-kernels/src/noise/blocks.rs",
        "counters.insert(lane, counter + comptime!(lane as u32));",
        "counters.insert(lane, counter);",
        Conformance("noise_is_the_hosts"),
    ),
    mutant(
        "noise-counter-stride", "dp-kernels/src/noise/blocks.rs",
        "let counter = place.first_block + block;",
        "let counter = place.first_block + block * 2u32;",
        Conformance("noise_is_the_hosts"),
    ),
    mutant(
        "noise-scaled-by-variance", "dp-kernels/src/noise/mod.rs",
        "let noised = fma(normal, Vector::<f32, V>::new(std), sum);",
        "let noised = fma(normal, Vector::<f32, V>::new(std * std), sum);",
        Conformance("noise_is_the_hosts"),
    ),
    mutant(
        "noise-overwrites", "dp-kernels/src/noise/mod.rs",
        "let sum = Vector::<f32, V>::cast_from(target[at]);",
        "let sum = Vector::<f32, V>::new(0.0f32);",
        Conformance("noise_is_the_hosts"),
    ),
    mutant(
        "noise-shard-starts-at-its-block", "dp-kernels/src/noise/blocks.rs",
        "let skip = (draw.first_element % group) as usize;",
        "let skip = 0usize;",
        Conformance("noise_does_not_see_shards"),
    ),
    mutant(
        "noise-high-step-ignored", "dp-kernels/src/noise/blocks.rs",
        "let (low, high) = (draw.step as u32, (draw.step >> 32) as u32);",
        "let (low, high) = (draw.step as u32, 0u32);",
        Conformance("noise_does_not_see_shards"),
    ),
    mutant(
        "noise-tensor-ignored", "dp-kernels/src/noise/wide.rs",
        "start[13] = Vector::<u32, N>::new(tensor);",
        "start[13] = Vector::<u32, N>::new(tensor & 0u32);",
        Conformance("noise_does_not_see_shards"),
    ),
    mutant(
        "noise-sine-for-cosine", "dp-kernels/src/noise/wide.rs",
        "normals[2 * i] = r * cosine[i];",
        "normals[2 * i] = r * sine[i];",
        Conformance("noise_is_the_hosts"),
    ),
    mutant(
        "noise-group-of-one-block-less", "dp-kernels/src/noise/blocks.rs",
        "block / blocks * comptime!((GROUP * per_block(chacha)) as u32) + block % blocks",
        "block / blocks * comptime!((GROUP * per_block(chacha) - 1) as u32) + block % blocks",
        Conformance("noise_is_the_hosts"),
    ),
    mutant(
        "philox-word-with-what-is-above", "dp-kernels/src/noise/wide.rs",
        "let product0 = (x0 & word) * m0;",
        "let product0 = x0 * m0;",
        Conformance("noise_is_the_hosts"),
    ),
    mutant(
        "chacha-of-18-rounds", "dp-core/src/noise/chacha.rs",
        "for _ in 0..10u32 {",
        "for _ in 0..9u32 {",
        Conformance("generator_words"),
    ),
    mutant(
        "sine-never-negative", "dp-core/src/noise/normal.rs",
        "select(sine_negative, -sine, sine),",
        "sine,",
        Core("normal_precision", "cos_sin_is_within_its_budget"),
    ),
    mutant(
        "samplers-tensor-not-refused", "dp-core/src/noise/gaussian.rs",
        "if tensor == RESERVED_TENSOR {",
        "if tensor == RESERVED_TENSOR && len == 0 {",
        Core("noise", "refusals_leave_the_buffer_alone"),
    ),
    // Tied tables, groups, counts, the hardened mode, the fused update.
    mutant(
        "tied-cross-term-dropped", "dp-kernels/src/norm/tied.rs",
        "sum += E::new(2.0) * cross[",
        "sum += E::new(0.0) * cross[",
        Conformance("tied_norms"),
    ),
    mutant(
        "lora-norm-of-b-dropped", "dp-kernels/src/norm/lora.rs",
        "up.add_norm_sq(launch, how, &scratch[of_down..], &norms_sq)",
        "Ok(())",
        Conformance("lora_norms"),
    ),
    mutant(
        "group-refused-alone", "dp-kernels/src/clip/group.rs",
        "live = live && is_live::<E>(factor);",
        "live = is_live::<E>(factor);",
        Conformance("group_clip_factors"),
    ),
    mutant(
        "refused-example-counted", "dp-kernels/src/clip/quantile.rs",
        "indicator_of::<E>(norm_sq, clips[row], live)",
        "indicator_of::<E>(norm_sq, clips[row], there)",
        Conformance("quantile_counts"),
    ),
    mutant(
        "charge-forgets-counts", "dp-core/src/ledger/charge.rs",
        "Some(counts) => counts.gradient_multiplier(sigma).unwrap_or(f64::NAN),",
        "Some(_) => sigma,",
        Core("ledger_counts", "the_noise_is_that_of_theorem_1"),
    ),
    mutant(
        "counts-without-room-charged", "dp-core/src/ledger/charge.rs",
        "Some(counts) if counts.gradient_multiplier(sigma).is_err() =>",
        "Some(counts) if counts.groups() == 0 =>",
        Core("ledger_counts", "counts_with_too_little_noise_are_refused"),
    ),
    mutant(
        "hardened-shard-starts-at-zero", "dp-kernels/src/noise/hardened.rs",
        "discrete_gaussian(state.as_mut_slice(), first_element + i as u32, sigma)",
        "discrete_gaussian(state.as_mut_slice(), i as u32, sigma)",
        Conformance("hardened_release"),
    ),
    mutant(
        "sum-not-zeroed", "dp-kernels/src/update/kernel.rs",
        "if comptime!(form.zero_sum) {",
        "if comptime!(form.zero_sum && !form.zero_sum) {",
        Conformance("private_update"),
    ),
    // The boundary.
    mutant(
        "workspace-a-byte-short", "dp-kernels/src/workspace.rs",
        "filter(|_| available >= needed)",
        "filter(|_| available + 1 >= needed)",
        Conformance("callers_workspace"),
    ),
    mutant(
        "last-word-not-carried", "dp-kernels/src/words.rs",
        "for (place, carried) in words.chunks(CARRIED).enumerate() {",
        "for (place, carried) in words[..words.len() - 1].chunks(CARRIED).enumerate() {",
        Conformance("callers_workspace"),
    ),
    mutant(
        "strides-not-checked", "dp-kernels/src/check.rs",
        "tensor.metadata.is_tiled() || !is_contiguous(",
        "tensor.metadata.is_tiled() && !is_contiguous(",
        Conformance("refusals"),
    ),
];
