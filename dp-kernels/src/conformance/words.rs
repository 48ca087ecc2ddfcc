//! The generators' raw words on the device: published vectors, to the bit.

use super::bench::Bench;
use super::{CheckError, Row};
use cubecl::prelude::*;
use dp_core::noise::chacha::chacha20_block;
use dp_core::noise::philox::philox4x32x10;

/// RFC 8439, section 2.3.2: key 00 01 .. 1f, counter 1, nonce 00:00:00:09 00:00:00:4a 00:00:00:00.
const CHACHA_IN: [u32; 12] = [
    0x0302_0100,
    0x0706_0504,
    0x0b0a_0908,
    0x0f0e_0d0c,
    0x1312_1110,
    0x1716_1514,
    0x1b1a_1918,
    0x1f1e_1d1c,
    0x0000_0001,
    0x0900_0000,
    0x4a00_0000,
    0x0000_0000,
];
const CHACHA_OUT: [u32; 16] = [
    0xe4e7_f110,
    0x1559_3bd1,
    0x1fdd_0f50,
    0xc471_20a3,
    0xc7f4_d1c7,
    0x0368_c033,
    0x9aaa_2204,
    0x4e6c_d4c3,
    0x4664_82d2,
    0x09aa_9f07,
    0x05d7_c214,
    0xa202_8bd9,
    0xd19c_12b5,
    0xb94e_16de,
    0xe883_d0cb,
    0x4e3c_50a2,
];

/// Random123's `kat_vectors`, philox4x32 10: counter and key of zeros; of all ones; digits of pi.
const PHILOX: [([u32; 6], [u32; 4]); 3] = [
    ([0; 6], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
    (
        [u32::MAX; 6],
        [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
    ),
    (
        [
            0x243f_6a88,
            0x85a3_08d3,
            0x1319_8a2e,
            0x0370_7344,
            0xa409_3822,
            0x299f_31d0,
        ],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ),
];

pub(super) fn known(bench: &Bench) -> Result<Vec<Row>, CheckError> {
    let input = bench.upload_u32(&[12], &CHACHA_IN);
    let output = bench.upload_u32(&[16], &[0; 16]);
    let (count, dim) = bench.tuning().grid(1, 1);
    // SAFETY: the kernels check their bounds.
    let arg = |t: &cubecl::std::tensor::TensorHandle, n| unsafe {
        BufferArg::from_raw_parts(t.handle.clone(), n)
    };
    chacha20_words::launch(
        bench.client(),
        count,
        dim,
        arg(&input, 12),
        arg(&output, 16),
    );
    let got = bench.download_u32(&output)?;
    let mut rows = vec![row("chacha20 words", "RFC 8439 2.3.2", &got, &CHACHA_OUT)];
    for (i, (input, want)) in PHILOX.iter().enumerate() {
        let input = bench.upload_u32(&[6], input);
        let output = bench.upload_u32(&[4], &[0; 4]);
        let (count, dim) = bench.tuning().grid(1, 1);
        philox_words::launch(bench.client(), count, dim, arg(&input, 6), arg(&output, 4));
        let got = bench.download_u32(&output)?;
        rows.push(row(
            "philox4x32-10 words",
            &format!("Random123 {i}"),
            &got,
            want,
        ));
    }
    Ok(rows)
}

fn row(op: &str, shape: &str, got: &[u32], want: &[u32]) -> Row {
    let failure = (got != want).then(|| format!("{got:08x?}, not {want:08x?}"));
    Row::holds(op, "u32", shape, failure)
}

#[cube(launch)]
pub(crate) fn chacha20_words(input: &[u32], output: &mut [u32]) {
    if ABSOLUTE_POS == 0 {
        let (a, b, c, d) = chacha20_block(
            (input[0], input[1], input[2], input[3]),
            (input[4], input[5], input[6], input[7]),
            (input[8], input[9], input[10], input[11]),
        );
        put4(output, 0usize, a);
        put4(output, 4usize, b);
        put4(output, 8usize, c);
        put4(output, 12usize, d);
    }
}

#[cube(launch)]
pub(crate) fn philox_words(input: &[u32], output: &mut [u32]) {
    if ABSOLUTE_POS == 0 {
        let counter = (input[0], input[1], input[2], input[3]);
        put4(output, 0usize, philox4x32x10(counter, input[4], input[5]));
    }
}

#[cube]
fn put4(output: &mut [u32], at: usize, words: (u32, u32, u32, u32)) {
    let (w0, w1, w2, w3) = words;
    output[at] = w0;
    output[at + 1] = w1;
    output[at + 2] = w2;
    output[at + 3] = w3;
}
