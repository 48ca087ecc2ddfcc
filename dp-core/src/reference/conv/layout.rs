//! Geometry of a convolution: what is given, and the sizes that follow.

use core::fmt;

/// A convolution's geometry over `N` spatial axes, 1 to 3; every array is by axis, the slowest first.
///
/// Output size of an axis: `(input + 2 padding - dilation (kernel - 1) - 1) / stride + 1`, rounded down. Output
/// position `o` and kernel place `k` meet input position `o stride + k dilation - padding`; outside the input is zero.
///
/// ```
/// use dp_core::reference::ConvShape;
/// let shape = ConvShape { stride: [2, 2], padding: [3, 3], ..ConvShape::new([7, 7]) };
/// assert_eq!(shape.layout([3, 64], [224, 224]).unwrap().output(), [1, 112, 112]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape<const N: usize> {
    /// Places of the kernel.
    pub kernel: [usize; N],
    /// Steps of the kernel over the input.
    pub stride: [usize; N],
    /// Distance of neighbouring places of the kernel.
    pub dilation: [usize; N],
    /// Zeros before and after the input.
    pub padding: [usize; N],
    /// Groups of channels that don't see each other; both channel counts are multiples of it.
    pub groups: usize,
}

impl<const N: usize> ConvShape<N> {
    /// One group, stride and dilation 1, no padding.
    pub const fn new(kernel: [usize; N]) -> Self {
        Self {
            kernel,
            stride: [1; N],
            dilation: [1; N],
            padding: [0; N],
            groups: 1,
        }
    }

    /// Every size of the convolution of `channels` (in, out) over an input of `spatial` size, in three dimensions: one
    /// or two are three whose first axes have size 1.
    ///
    /// # Errors
    /// A [`ConvError`] when the geometry is not one of a convolution, or does not fit the input.
    pub fn layout(
        &self,
        channels: [usize; 2],
        spatial: [usize; N],
    ) -> Result<ConvLayout, ConvError> {
        if N == 0 || N > 3 {
            return Err(ConvError::Axes { axes: N });
        }
        let [channels_in, channels_out] = channels;
        for channels in channels {
            if self.groups == 0 || !channels.is_multiple_of(self.groups) {
                return Err(ConvError::Groups {
                    groups: self.groups,
                    channels,
                });
            }
        }
        let mut layout = ConvLayout {
            channels_in,
            channels_out,
            groups: self.groups,
            input: [1; 3],
            output: [1; 3],
            kernel: [1; 3],
            stride: [1; 3],
            dilation: [1; 3],
            padding: [0; 3],
        };
        for (axis, input) in spatial.into_iter().enumerate() {
            let to = 3 - N + axis;
            layout.input[to] = input;
            layout.kernel[to] = self.kernel[axis];
            layout.stride[to] = self.stride[axis];
            layout.dilation[to] = self.dilation[axis];
            layout.padding[to] = self.padding[axis];
            layout.output[to] = self.output_size(axis, input)?;
        }
        Ok(layout)
    }

    fn output_size(&self, axis: usize, input: usize) -> Result<usize, ConvError> {
        let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
        let (dilation, padding) = (self.dilation[axis], self.padding[axis]);
        if kernel == 0 || stride == 0 || dilation == 0 {
            return Err(ConvError::Zero {
                axis,
                kernel,
                stride,
                dilation,
            });
        }
        let span = (kernel - 1)
            .checked_mul(dilation)
            .and_then(|n| n.checked_add(1));
        let padded = padding.checked_mul(2).and_then(|n| n.checked_add(input));
        let (Some(span), Some(padded)) = (span, padded) else {
            return Err(ConvError::Overflow { axis });
        };
        if padded < span {
            return Err(ConvError::TooSmall { axis, padded, span });
        }
        Ok((padded - span) / stride + 1)
    }
}

/// Every size of one convolution, checked: what [`ConvShape::layout`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvLayout {
    channels_in: usize,
    channels_out: usize,
    groups: usize,
    input: [usize; 3],
    output: [usize; 3],
    kernel: [usize; 3],
    stride: [usize; 3],
    dilation: [usize; 3],
    padding: [usize; 3],
}

impl ConvLayout {
    /// Size of the input, by axis.
    pub const fn input(&self) -> [usize; 3] {
        self.input
    }

    /// Size of the output, by axis.
    pub const fn output(&self) -> [usize; 3] {
        self.output
    }

    /// Size of the kernel, by axis.
    pub const fn kernel(&self) -> [usize; 3] {
        self.kernel
    }

    /// Steps of the kernel, by axis.
    pub const fn stride(&self) -> [usize; 3] {
        self.stride
    }

    /// Distance of neighbouring places of the kernel, by axis.
    pub const fn dilation(&self) -> [usize; 3] {
        self.dilation
    }

    /// Zeros before and after the input, by axis.
    pub const fn padding(&self) -> [usize; 3] {
        self.padding
    }

    /// Groups of channels.
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// Input channels of one group.
    pub const fn group_in(&self) -> usize {
        self.channels_in / self.groups
    }

    /// Output channels of one group.
    pub const fn group_out(&self) -> usize {
        self.channels_out / self.groups
    }

    /// Input channels of all groups.
    pub const fn channels_in(&self) -> usize {
        self.channels_in
    }

    /// Output channels of all groups.
    pub const fn channels_out(&self) -> usize {
        self.channels_out
    }

    /// The input position along `axis` that output position `o` meets at kernel place `k`, unless it is padding.
    pub fn meets(&self, axis: usize, o: usize, k: usize) -> Option<usize> {
        let padded = o * self.stride[axis] + k * self.dilation[axis];
        padded
            .checked_sub(self.padding[axis])
            .filter(|i| *i < self.input[axis])
    }
}

/// A geometry that is not one of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvError {
    /// Not one to three spatial axes.
    Axes {
        /// Axes given.
        axes: usize,
    },
    /// A channel count is no multiple of the groups, or there are no groups.
    Groups {
        /// Groups.
        groups: usize,
        /// Input or output channels.
        channels: usize,
    },
    /// A kernel, stride or dilation of 0.
    Zero {
        /// The axis.
        axis: usize,
        /// Its kernel.
        kernel: usize,
        /// Its stride.
        stride: usize,
        /// Its dilation.
        dilation: usize,
    },
    /// The padded input is smaller than what the kernel spans.
    TooSmall {
        /// The axis.
        axis: usize,
        /// Input and padding.
        padded: usize,
        /// `dilation (kernel - 1) + 1`.
        span: usize,
    },
    /// A size beyond what memory can address.
    Overflow {
        /// The axis.
        axis: usize,
    },
}

impl fmt::Display for ConvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Axes { axes } => write!(f, "{axes} spatial axes, not 1 to 3"),
            Self::Groups { groups, channels } => {
                write!(f, "{channels} channels do not divide into {groups} groups")
            }
            Self::Zero {
                axis,
                kernel,
                stride,
                dilation,
            } => write!(
                f,
                "axis {axis}: kernel {kernel}, stride {stride} and dilation {dilation} must be at least 1"
            ),
            Self::TooSmall { axis, padded, span } => write!(
                f,
                "axis {axis}: the input is {padded} with its padding, the kernel spans {span}"
            ),
            Self::Overflow { axis } => write!(f, "axis {axis}: the sizes overflow"),
        }
    }
}

impl core::error::Error for ConvError {}
