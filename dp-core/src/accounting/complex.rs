//! The little complex arithmetic that the contour needs.

/// A complex number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Complex {
    pub re: f64,
    pub im: f64,
}

impl Complex {
    pub const ZERO: Self = Self { re: 0.0, im: 0.0 };
    pub const ONE: Self = Self { re: 1.0, im: 0.0 };

    pub const fn new(re: f64, im: f64) -> Self {
        Self { re, im }
    }

    pub fn add(self, other: Self) -> Self {
        Self::new(self.re + other.re, self.im + other.im)
    }

    pub fn mul(self, other: Self) -> Self {
        Self::new(
            self.re * other.re - self.im * other.im,
            self.re * other.im + self.im * other.re,
        )
    }

    pub fn scale(self, factor: f64) -> Self {
        Self::new(self.re * factor, self.im * factor)
    }

    pub fn abs(self) -> f64 {
        libm::hypot(self.re, self.im)
    }

    /// `self / other`; `other` is not zero and neither is near the ends of the range.
    pub fn div(self, other: Self) -> Self {
        let norm = other.re * other.re + other.im * other.im;
        self.mul(Self::new(other.re, -other.im)).scale(1.0 / norm)
    }

    /// `e^self`.
    pub fn exp(self) -> Self {
        let (sin, cos) = libm::sincos(self.im);
        Self::new(cos, sin).scale(libm::exp(self.re))
    }

    /// `e^self - 1`, without loss for small arguments.
    pub fn exp_m1(self) -> Self {
        let growth = libm::expm1(self.re);
        Self::new(growth, 0.0).add(expi_m1(self.im).scale(1.0 + growth))
    }

    /// `log(1 + self)`, principal branch, without loss for small arguments.
    pub fn ln_1p(self) -> Self {
        if self.re < -0.5 {
            return Self::new(1.0 + self.re, self.im).ln();
        }
        let norm = self.re * (2.0 + self.re) + self.im * self.im;
        Self::new(0.5 * libm::log1p(norm), libm::atan2(self.im, 1.0 + self.re))
    }

    /// `log(self)`, principal branch.
    pub fn ln(self) -> Self {
        Self::new(libm::log(self.abs()), libm::atan2(self.im, self.re))
    }
}

/// `e^{i x} - 1` without loss for small `x`.
pub(super) fn expi_m1(x: f64) -> Complex {
    let (s, c) = libm::sincos(0.5 * x);
    Complex::new(-2.0 * s * s, 2.0 * s * c)
}
