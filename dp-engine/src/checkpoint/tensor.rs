use std::borrow::Cow;

use safetensors::{Dtype, View};

/// A named tensor as bytes: row-major, little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// Name, unique within its part.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// The elements.
    pub bytes: Cow<'a, [u8]>,
}

impl Tensor<'_> {
    /// An f32 tensor.
    #[must_use]
    pub fn from_f32(name: impl Into<String>, shape: Vec<usize>, values: &[f32]) -> Tensor<'static> {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Tensor {
            name: name.into(),
            dtype: Dtype::F32,
            shape,
            bytes: Cow::Owned(bytes),
        }
    }

    /// The elements of an f32 tensor, or `None` for another type.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let words = self.bytes.as_chunks::<4>().0;
        (self.dtype == Dtype::F32)
            .then(|| words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    /// Bytes that the type and shape call for, or `None` where that is no whole number that fits.
    pub(super) fn expected_bytes(&self) -> Option<usize> {
        let elements = self
            .shape
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d))?;
        let bits = elements.checked_mul(self.dtype.bitsize())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

/// A tensor as the safetensors crate wants to see it.
pub(super) struct Viewed<'a, 'b>(pub(super) &'a Tensor<'b>);

impl View for Viewed<'_, '_> {
    fn dtype(&self) -> Dtype {
        self.0.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0.bytes)
    }

    fn data_len(&self) -> usize {
        self.0.bytes.len()
    }
}
