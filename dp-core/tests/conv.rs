//! The convolution's reference against the other side of the definition: the loss is linear in the weight, so an
//! element of its gradient is the loss of the convolution by that one element.

use dp_core::reference::{ConvError, ConvLayout, ConvShape, conv_norm_sq, weighted_sum_conv};

/// `<g, convolution of x by a weight that is 1 at one place>`, from the input's side: each input position looks
/// for the output positions that it reaches.
fn element(layout: &ConvLayout, x: &[f32], g: &[f32], [o, i]: [usize; 2], k: [usize; 3]) -> f64 {
    let (input, output) = (layout.input(), layout.output());
    let group = o / layout.group_out();
    let channel = group * layout.group_in() + i;
    let reached = |axis: usize, position: usize| -> Option<usize> {
        let from_start = position + layout.padding()[axis];
        let shifted = from_start.checked_sub(k[axis] * layout.dilation()[axis])?;
        let out = shifted / layout.stride()[axis];
        (shifted.is_multiple_of(layout.stride()[axis]) && out < output[axis]).then_some(out)
    };
    let mut loss = 0.0;
    for d in 0..input[0] {
        for h in 0..input[1] {
            for w in 0..input[2] {
                let (Some(a), Some(b), Some(c)) = (reached(0, d), reached(1, h), reached(2, w))
                else {
                    continue;
                };
                let x = x[((channel * input[0] + d) * input[1] + h) * input[2] + w];
                let g = g[((o * output[0] + a) * output[1] + b) * output[2] + c];
                loss += f64::from(x) * f64::from(g);
            }
        }
    }
    loss
}

fn gradient(layout: &ConvLayout, x: &[f32], g: &[f32]) -> Vec<f64> {
    let [kd, kh, kw] = layout.kernel();
    let mut gradient = Vec::new();
    for o in 0..layout.channels_out() {
        for i in 0..layout.group_in() {
            for k in 0..kd * kh * kw {
                let k = [k / (kh * kw), k / kw % kh, k % kw];
                gradient.push(element(layout, x, g, [o, i], k));
            }
        }
    }
    gradient
}

fn check(layout: &ConvLayout) {
    let numbers = |n: usize, seed: usize| -> Vec<f32> {
        (0..n)
            .map(|i| ((i * 37 + seed * 11 + i * i % 13) % 29) as f32 / 14.0 - 1.0)
            .collect()
    };
    let x_len = layout.channels_in() * layout.input().iter().product::<usize>();
    let g_len = layout.channels_out() * layout.output().iter().product::<usize>();
    let (x, g) = (numbers(2 * x_len, 1), numbers(2 * g_len, 2));
    let gradients = [0, 1].map(|b| {
        let (x, g) = (&x[b * x_len..][..x_len], &g[b * g_len..][..g_len]);
        gradient(layout, x, g)
    });

    let mut norms_sq = [0.25, 0.5];
    conv_norm_sq(layout, &x, &g, &mut norms_sq).unwrap();
    for (b, start) in [(0, 0.25), (1, 0.5)] {
        let want = start + gradients[b].iter().map(|e| e * e).sum::<f64>();
        assert!(
            (f64::from(norms_sq[b]) / want - 1.0).abs() < 1e-6,
            "{layout:?}"
        );
    }

    let mut out = vec![1.0; gradients[0].len()];
    weighted_sum_conv(layout, &x, &g, &[0.5, 0.25], &mut out).unwrap();
    for (i, got) in out.iter().enumerate() {
        let want = 1.0 + 0.5 * gradients[0][i] + 0.25 * gradients[1][i];
        assert!((f64::from(*got) - want).abs() < 1e-5, "{layout:?} {i}");
    }
}

#[test]
fn gradients_are_those_of_the_loss() {
    let one = ConvShape {
        stride: [2],
        padding: [1],
        groups: 2,
        ..ConvShape::new([3])
    };
    check(&one.layout([4, 6], [9]).unwrap());
    let two = ConvShape {
        stride: [2, 1],
        dilation: [1, 2],
        padding: [0, 2],
        ..ConvShape::new([2, 3])
    };
    check(&two.layout([3, 5], [6, 7]).unwrap());
    let three = ConvShape {
        stride: [1, 3, 2],
        dilation: [2, 1, 1],
        padding: [1, 0, 1],
        groups: 3,
        ..ConvShape::new([2, 2, 3])
    };
    check(&three.layout([3, 6], [4, 5, 4]).unwrap());
}

/// Sizes that PyTorch's documentation gives or its formula makes.
#[test]
fn output_sizes_are_known() {
    let size = |shape: ConvShape<2>, input| shape.layout([4, 4], input).unwrap().output();
    let resnet = ConvShape {
        stride: [2, 2],
        padding: [3, 3],
        ..ConvShape::new([7, 7])
    };
    assert_eq!(size(resnet, [224, 224]), [1, 112, 112]);
    let uneven = ConvShape {
        stride: [2, 1],
        padding: [4, 2],
        dilation: [3, 1],
        ..ConvShape::new([3, 5])
    };
    // Conv2d(16, 33, (3, 5), stride=(2, 1), padding=(4, 2), dilation=(3, 1)) of 50 x 100.
    assert_eq!(size(uneven, [50, 100]), [1, 26, 100]);
}

#[test]
fn what_is_no_convolution_is_refused() {
    let new = ConvShape::new;
    assert_eq!(
        new([5]).layout([1, 1], [4]),
        Err(ConvError::TooSmall {
            axis: 0,
            padded: 4,
            span: 5
        })
    );
    let zero = ConvShape {
        stride: [0],
        ..new([1])
    };
    assert_eq!(
        zero.layout([1, 1], [4]),
        Err(ConvError::Zero {
            axis: 0,
            kernel: 1,
            stride: 0,
            dilation: 1
        })
    );
    for groups in [0, 2] {
        let shape = ConvShape { groups, ..new([1]) };
        assert_eq!(
            shape.layout([2, 3], [4]),
            Err(ConvError::Groups {
                groups,
                channels: if groups == 0 { 2 } else { 3 }
            })
        );
    }
    let wide = ConvShape {
        padding: [usize::MAX],
        ..new([1])
    };
    assert_eq!(
        wide.layout([1, 1], [4]),
        Err(ConvError::Overflow { axis: 0 })
    );
    assert_eq!(
        ConvShape::new([1; 4]).layout([1, 1], [1; 4]),
        Err(ConvError::Axes { axes: 4 })
    );
}
