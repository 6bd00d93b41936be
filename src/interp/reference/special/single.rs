//! Elementary functions of `f32`, rounding for rounding those of XLA's CPU back end.
//!
//! They are rational and polynomial approximations of Cephes and Eigen, evaluated with fused
//! multiply-adds wherever XLA's code generator contracts a product into a sum. Where XLA flushes
//! denormals to zero, these functions give the gradual result instead.

use super::horner;

/// Above this the exponential is infinite (XLA clamps here, and lets the scaling overflow).
const EXP_HI: f32 = 88.8;

/// Below this the exponential rounds to zero.
const EXP_LO: f32 = -104.0;

/// ln 2 in two parts, the first exact in nine bits.
const LN2_HI: f32 = 355.0 / 512.0;
const LN2_LO: f32 = -2.121_944_4e-4;

/// A float from its bits.
const fn bits(word: u32) -> f32 {
    f32::from_bits(word)
}

/// `2^n`, for `n` in the range of normal exponents.
#[inline(always)]
fn pow2(n: i32) -> f32 {
    bits(((n + 127) as u32) << 23)
}

/// `e^x`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Comparisons instead of `clamp`, so that a NaN stays.
    let x = if x < EXP_LO { EXP_LO } else { x };
    let x = if x > EXP_HI { EXP_HI } else { x };
    let n = x.mul_add(std::f32::consts::LOG2_E, 0.5).floor().min(127.0);
    let r = (-n).mul_add(LN2_HI, x);
    let r = (-n).mul_add(LN2_LO, r);
    let p = horner(
        r,
        [
            bits(0x3950_6967),
            bits(0x3AB7_43CE),
            bits(0x3C08_8908),
            bits(0x3D2A_A9C1),
            bits(0x3E2A_AAAA),
            0.5,
        ],
    );
    let e = 1.0 + p.mul_add(r * r, r);
    // Two factors, so that a result below the normal numbers is rounded once; no branch, so that loops are vectorised.
    // As an integer by way of the bits of 1.5 · 2²³ + n: a conversion that saturates would keep loops from being vectorised.
    let n = (n + 12_582_912.0).to_bits() as i32 - 0x4B40_0000;
    let half = n >> 1;
    e * pow2(half) * pow2(n - half)
}

/// `ln x`.
#[inline(always)]
pub(super) fn log(x: f32) -> f32 {
    // A denormal is brought among the normal numbers.
    let (scaled, shift) = if x < f32::MIN_POSITIVE {
        (x * 8_388_608.0, 23.0)
    } else {
        (x, 0.0)
    };
    let word = scaled.to_bits();
    let mantissa = bits(word & 0x007F_FFFF | 0x3F00_0000);
    let exponent = ((word >> 23) as i32 - 126) as f32 - shift;
    let (exponent, m) = if mantissa < std::f32::consts::FRAC_1_SQRT_2 {
        (exponent - 1.0, (mantissa - 1.0) + mantissa)
    } else {
        (exponent, mantissa - 1.0)
    };
    let square = m * m;
    let cube = square * m;
    let a = horner(m, [bits(0x3D90_21BB), bits(0xBDEB_D1B8), bits(0x3DEF_251A)]);
    let b = horner(m, [bits(0xBDFE_5D4F), bits(0x3E11_E9BF), bits(0xBE2A_AE50)]);
    let c = horner(m, [bits(0x3E4C_CEAC), bits(0xBE7F_FFFC), bits(0x3EAA_AAAA)]);
    let p = a.mul_add(cube, b).mul_add(cube, c);
    let tail = p.mul_add(cube, exponent * LN2_LO);
    let head = square.mul_add(-0.5, m) + tail;
    let result = exponent.mul_add(LN2_HI, head);
    if x > 0.0 && x < f32::INFINITY {
        result
    } else if x == 0.0 {
        f32::NEG_INFINITY
    } else if x == f32::INFINITY {
        x
    } else {
        f32::NAN
    }
}

/// `ln(1 + x)`.
#[inline(always)]
pub(super) fn log1p(x: f32) -> f32 {
    // √2 − 1, the end of the interval of the rational approximation.
    if x.abs() < bits(0x3ED4_13CD) {
        let square = x * x;
        let denominator = horner(
            x,
            [
                1.0,
                bits(0x4171_01AD),
                bits(0x42A6_185B),
                bits(0x435D_C32D),
                bits(0x439A_8CA3),
                bits(0x4358_6D8A),
                bits(0x4270_7982),
            ],
        );
        let numerator = horner(
            x,
            [
                4.527e-5,
                bits(0x3EFF_40C5),
                bits(0x40D2_84FA),
                bits(0x41EF_4B9C),
                bits(0x4273_CC76),
                bits(0x4264_73AD),
                bits(0x41A0_5101),
            ],
        );
        let ratio = numerator / denominator;
        x + square.mul_add(-0.5, (x * square) * ratio)
    } else {
        log(1.0 + x)
    }
}

/// `tanh x`.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    let magnitude = x.abs();
    if magnitude < 4e-4 {
        return x;
    }
    if magnitude >= 20.0 {
        return 1f32.copysign(x);
    }
    const BOUND: f32 = bits(0x40FF_F644);
    let x = x.clamp(-BOUND, BOUND);
    let square = x * x;
    let numerator = horner(
        square,
        [
            bits(0xA59F_25C0),
            bits(0x2A61_337E),
            bits(0xAEBD_37FF),
            bits(0x335C_0041),
            bits(0x3779_434A),
            bits(0x3A27_0DED),
            bits(0x3BA0_59DC),
        ],
    );
    let denominator = horner(
        square,
        [
            bits(0x35A0_D3D8),
            bits(0x38F8_95D6),
            bits(0x3B14_AA05),
            bits(0x3BA0_59DD),
        ],
    );
    (x * numerator) / denominator
}

/// `e^x − 1`, which for small `x` is `tanh(x/2) · (e^x + 1)`.
#[inline(always)]
pub(super) fn expm1(x: f32) -> f32 {
    let half = x * 0.5;
    if half.abs() < f32::MIN_POSITIVE {
        x
    } else if x.abs() > 0.5 {
        exp(x) - 1.0
    } else {
        tanh(half) * (exp(x) + 1.0)
    }
}

/// The logistic function `1 / (1 + e^−x)`.
#[inline(always)]
pub(super) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The error function.
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    if x.abs() >= bits(0x4075_47CB) {
        return 1f32.copysign(x);
    }
    let square = x * x;
    let numerator = horner(
        square,
        [
            bits(0x3970_2D51),
            bits(0x3B5F_5DA2),
            bits(0x3D50_B6EB),
            bits(0x3E3D_A740),
            bits(0x3F90_6EBA),
        ],
    );
    let denominator = horner(
        square,
        [
            bits(0xB3FD_3906),
            bits(0x37C5_88DF),
            bits(0x3A85_6D28),
            bits(0x3C66_87D4),
            bits(0x3DE3_4C21),
            bits(0x3EFE_B44A),
            1.0,
        ],
    );
    (x * numerator) / denominator
}

/// The complementary error function `1 − erf x`.
#[inline(always)]
pub(super) fn erfc(x: f32) -> f32 {
    let magnitude = x.abs();
    let square = x * x;
    if magnitude < 1.0 {
        let p = horner(
            square,
            [
                bits(0x38A4_B519),
                bits(0xBA51_FB80),
                bits(0x3BAA_02D9),
                bits(0xBCDB_FC87),
                bits(0x3DE7_167C),
                bits(0xBEC0_939F),
                bits(0x3F90_6EBA),
            ],
        );
        return (-x).mul_add(p, 1.0);
    }
    let q = 1.0 / square;
    let p = if magnitude < 2.0 {
        horner(
            q,
            [
                2.326_82e-2,
                bits(0xBE0E_0868),
                bits(0x3EBC_CBD0),
                bits(0xBF15_1CF8),
                bits(0x3F1E_F9E3),
                bits(0xBEFD_28C0),
                3.404_88e-1,
                bits(0xBE8C_5880),
                bits(0x3F10_56E6),
            ],
        )
    } else {
        horner(
            q,
            [
                bits(0xC127_A483),
                12.977_2,
                bits(0xC0EF_DB4A),
                bits(0x403A_F1FA),
                bits(0xBF81_F436),
                bits(0x3ED7_FC3E),
                bits(0xBE90_6C5D),
                bits(0x3F10_6EB9),
            ],
        )
    };
    let tail = if square > bits(0x42B1_7218) {
        0.0
    } else {
        (exp(-square) * (1.0 / magnitude)) * p
    };
    if x < 0.0 { 2.0 - tail } else { tail }
}

/// The coefficients of Giles' approximation: for the centre, and for the tails.
const ERF_INV: [[f32; 9]; 2] = [
    [
        bits(0x32F1_6588),
        bits(0x34B8_4B36),
        bits(0xB66C_7357),
        bits(0xB693_5AC1),
        bits(0x3965_32DB),
        bits(0xBAA4_5408),
        bits(0xBB88_E4EF),
        bits(0x3E7C_8F63),
        bits(0x3FC0_2E2F),
    ],
    [
        bits(0xB951_F09B),
        bits(0x38D3_B56B),
        bits(0x3AB0_DC72),
        bits(0xBB70_BDE7),
        bits(0x3BBC_127B),
        bits(0xBBF9_C5D7),
        bits(0x3C1A_A57E),
        bits(0x3F80_36DB),
        bits(0x4035_4F7E),
    ],
];

/// The inverse of the error function: M. Giles, "Approximating the erfinv function" (GPU
/// Computing Gems, 2012).
#[inline(always)]
pub(super) fn erf_inv(x: f32) -> f32 {
    if x.abs() == 1.0 {
        return x * f32::INFINITY;
    }
    let w = -log1p(x * -x);
    let [centre, tails] = ERF_INV;
    let p = if w < 5.0 {
        horner(w - 2.5, centre)
    } else {
        horner(w.sqrt() - 3.0, tails)
    };
    p * x
}
