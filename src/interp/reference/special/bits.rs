//! What is defined on the bits of a float, at the width of the type.

/// Floats of which the bits are known.
pub trait Bits: Sized {
    /// The number next to `from` in the direction of `to`: `to` itself if the two are equal, NaN if either is.
    #[must_use]
    fn next_after(from: Self, to: Self) -> Self;

    /// Rounded to nearest even as a float of fewer bits, in which numbers below the normal ones are zero. A NaN stays one.
    #[must_use]
    fn reduce_precision(x: Self, exponent_bits: u8, mantissa_bits: u8) -> Self;
}

macro_rules! bits {
    ($($float:ty, $word:ty, $mantissa:literal, $exponent:literal;)*) => {$(
        impl Bits for $float {
            fn next_after(from: Self, to: Self) -> Self {
                if from.is_nan() || to.is_nan() {
                    return <$float>::NAN;
                }
                if from == to {
                    return to;
                }
                let zero = <$float>::from_bits(0);
                if from == zero {
                    return <$float>::from_bits(1).copysign(to);
                }
                // Away from zero the bits, read as an integer, go up by one.
                let outward = (from < to) == (from > zero);
                let bits = from.to_bits();
                <$float>::from_bits(if outward { bits + 1 } else { bits - 1 })
            }

            fn reduce_precision(x: Self, exponent_bits: u8, mantissa_bits: u8) -> Self {
                const EXPONENT: $word = ((1 << $exponent) - 1) << $mantissa;
                let sign = x.to_bits() & (1 << ($mantissa + $exponent));
                if x.is_nan() && mantissa_bits == 0 {
                    // A NaN is what it is by its mantissa.
                    return <$float>::INFINITY.copysign(x);
                }
                if x.is_nan() {
                    return x;
                }
                let mut bits = x.to_bits() & !sign;
                if mantissa_bits < $mantissa {
                    let last: $word = 1 << ($mantissa - mantissa_bits);
                    let odd = (bits & last) / last;
                    // A carry into the exponent is as it should be.
                    bits = (bits + ((last >> 1) - 1) + odd) & !(last - 1);
                }
                if exponent_bits < $exponent {
                    let bias: $word = (1 << ($exponent - 1)) - 1;
                    let reach: $word = (1 << (exponent_bits.max(1) - 1)) - 1;
                    let exponent = bits & EXPONENT;
                    if exponent > (bias + reach) << $mantissa {
                        bits = EXPONENT;
                    } else if exponent <= (bias - reach) << $mantissa {
                        bits = 0;
                    }
                }
                <$float>::from_bits(bits | sign)
            }
        }
    )*};
}

bits! {
    f32, u32, 23, 8;
    f64, u64, 52, 11;
    half::f16, u16, 10, 5;
    half::bf16, u16, 7, 8;
}
