//! Elementary functions of `f64`, rounding for rounding those of XLA's CPU back end where that
//! does not call the system's own library.

use super::horner;

/// The argument at which the exponential leaves the finite numbers.
const EXP_HI: f64 = 709.782_712_893_384;

/// Below this the exponential rounds to zero.
const EXP_LO: f64 = -745.133_219_101_941_2;

/// `2^n`, for `n` in the range of normal exponents.
#[inline(always)]
fn pow2(n: i64) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

/// `e^x`.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x > EXP_HI {
        return f64::INFINITY;
    }
    if x < EXP_LO {
        return 0.0;
    }
    let n = x.mul_add(std::f64::consts::LOG2_E, 0.5).floor();
    let r = (-n).mul_add(0.693_145_751_953_125, x);
    let r = (-n).mul_add(1.428_606_820_309_417_3e-6, r);
    let square = r * r;
    let p = horner(
        square,
        [0.000_126_177_193_074_810_58, 0.030_299_440_770_744_195, 1.0],
    ) * r;
    let q = horner(
        square,
        [
            3.001_985_051_386_644_6e-6,
            0.002_524_483_403_496_841,
            0.227_265_548_208_155_03,
            2.0,
        ],
    );
    let e = (p / (q - p)).mul_add(2.0, 1.0);
    // Two factors, so that a result at either end of the range is rounded once.
    let n = n as i64;
    let half = n / 2;
    e * pow2(n - half) * pow2(half)
}

/// `ln(1 + x)`.
#[inline(always)]
pub(super) fn log1p(x: f64) -> f64 {
    // √2 − 1, the end of the interval of the rational approximation.
    if x.abs() < 0.414_213_562_373_095_03 {
        let square = x * x;
        let denominator = horner(
            x,
            [
                1.0,
                15.062_909_083_469_192,
                83.047_565_967_967_22,
                221.762_398_237_328_57,
                309.098_722_253_120_57,
                216.427_886_144_959_47,
                60.118_660_497_603_84,
            ],
        );
        let numerator = horner(
            x,
            [
                4.527_000_086_244_52e-5,
                0.498_541_028_231_933_75,
                6.578_732_594_206_104,
                29.911_919_328_553_072,
                60.949_667_980_987_79,
                57.112_963_590_585_54,
                20.039_553_499_201_283,
            ],
        );
        let ratio = numerator / denominator;
        x + square.mul_add(-0.5, (x * square) * ratio)
    } else {
        (1.0 + x).ln()
    }
}

/// `tanh x`.
#[inline(always)]
pub(super) fn tanh(x: f64) -> f64 {
    if x.abs() >= 20.0 {
        return 1f64.copysign(x);
    }
    const BOUND: f64 = 17.714_196_154_005_176;
    let x = x.clamp(-BOUND, BOUND);
    let square = x * x;
    let numerator = horner(
        square,
        [
            2.615_800_786_048_223e-23,
            7.653_486_226_874_932e-19,
            3.130_948_823_138_668e-15,
            4.230_391_814_820_918e-12,
            2.461_837_913_129_367_6e-9,
            6.864_436_768_249_707e-7,
            9.383_908_767_426_888e-5,
            0.005_980_971_172_444_116,
            0.151_847_196_402_843_22,
            1.0,
        ],
    );
    let denominator = horner(
        square,
        [
            6.463_747_022_670_968e-21,
            5.782_506_856_739_004e-17,
            1.293_019_623_712_688e-13,
            1.123_643_448_069_622e-10,
            4.492_975_677_839_634e-8,
            8.785_185_266_237_659e-6,
            0.000_829_516_119_271_623_2,
            0.034_374_481_084_504_03,
            0.485_180_529_736_176_04,
            1.0,
        ],
    );
    (x * numerator) / denominator
}

/// `e^x − 1`, which for small `x` is `tanh(x/2) · (e^x + 1)`.
#[inline(always)]
pub(super) fn expm1(x: f64) -> f64 {
    let half = x * 0.5;
    if half.abs() < f64::MIN_POSITIVE {
        x
    } else if x.abs() > 0.5 {
        exp(x) - 1.0
    } else {
        tanh(half) * (exp(x) + 1.0)
    }
}

/// The logistic function `1 / (1 + e^−x)`.
#[inline(always)]
pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// `c₀ + c₁ x + c₂ x² + …`, summed by pairs: `(c₀ + c₁ x) + x² (c₂ + c₃ x) + …`.
fn paired<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let (x2, x4) = (x * x, (x * x) * (x * x));
    let powers = [1.0, x2, x4, x4 * x2, x4 * x4];
    let pairs = coefficients.chunks(2).zip(powers);
    pairs
        .map(|(pair, power)| match *pair {
            [a, b] => power * (a + x * b),
            [a] => power * a,
            _ => 0.0,
        })
        .reduce(|sum, term| sum + term)
        .unwrap_or_default()
}

/// The error function: the rational approximations of Sun's fdlibm, in the order of operations of glibc, which XLA calls.
pub(super) fn erf(x: f64) -> f64 {
    let magnitude = x.abs();
    if x.is_nan() {
        return x;
    }
    // The ends of the intervals are those of fdlibm, which compares high words.
    if magnitude < 0.843_75 {
        if magnitude < 2f64.powi(-28) {
            const SLOPE: f64 = 0.128_379_167_095_512_6;
            return x + SLOPE * x;
        }
        let square = x * x;
        let ratio = paired(
            square,
            [
                0.128_379_167_095_512_56,
                -0.325_042_107_247_001_5,
                -0.028_481_749_575_598_51,
                -0.005_770_270_296_489_442,
                -2.376_301_665_665_016_3e-5,
            ],
        ) / paired(
            square,
            [
                1.0,
                0.397_917_223_959_155_35,
                0.065_022_249_988_767_3,
                0.005_081_306_281_875_766,
                0.000_132_494_738_004_321_64,
                -3.960_228_278_775_368e-6,
            ],
        );
        return x + x * ratio;
    }
    let positive = if magnitude < 1.25 {
        let s = magnitude - 1.0;
        let ratio = paired(
            s,
            [
                -0.002_362_118_560_752_659_4,
                0.414_856_118_683_748_33,
                -0.372_207_876_035_701_3,
                0.318_346_619_901_161_75,
                -0.110_894_694_282_396_68,
                0.035_478_304_325_618_236,
                -0.002_166_375_594_868_791,
            ],
        ) / paired(
            s,
            [
                1.0,
                0.106_420_880_400_844_23,
                0.540_397_917_702_171,
                0.071_828_654_414_196_27,
                0.126_171_219_808_761_64,
                0.013_637_083_912_029_05,
                0.011_984_499_846_799_107,
            ],
        );
        0.845_062_911_510_467_5 + ratio
    } else if magnitude < 6.0 {
        let s = 1.0 / (magnitude * magnitude);
        let ratio = if magnitude < f64::from_bits(0x4006_DB6E_0000_0000) {
            paired(
                s,
                [
                    -0.009_864_944_034_847_148,
                    -0.693_858_572_707_181_8,
                    -10.558_626_225_323_291,
                    -62.375_332_450_326_006,
                    -162.396_669_462_573_47,
                    -184.605_092_906_711_04,
                    -81.287_435_506_306_6,
                    -9.814_329_344_169_145,
                ],
            ) / paired(
                s,
                [
                    1.0,
                    19.651_271_667_439_257,
                    137.657_754_143_519_04,
                    434.565_877_475_229_23,
                    645.387_271_733_267_9,
                    429.008_140_027_567_83,
                    108.635_005_541_779_44,
                    6.570_249_770_319_282,
                    -0.060_424_415_214_858_1,
                ],
            )
        } else {
            paired(
                s,
                [
                    -0.009_864_942_924_700_1,
                    -0.799_283_237_680_523,
                    -17.757_954_917_754_752,
                    -160.636_384_855_821_92,
                    -637.566_443_368_389_6,
                    -1_025.095_131_611_077_2,
                    -483.519_191_608_651_4,
                ],
            ) / paired(
                s,
                [
                    1.0,
                    30.338_060_743_482_46,
                    325.792_512_996_573_9,
                    1_536.729_586_084_437,
                    3_199.858_219_508_595_5,
                    2_553.050_406_433_164_4,
                    474.528_541_206_955_37,
                    -22.440_952_446_585_82,
                ],
            )
        };
        // The square of the upper half of the digits is exact.
        let head = f64::from_bits(magnitude.to_bits() & !0xFFFF_FFFF);
        let rest = (head - magnitude) * (head + magnitude) + ratio;
        1.0 - (-head * head - 0.562_5).exp() * rest.exp() / magnitude
    } else {
        1.0
    };
    positive.copysign(x)
}

/// The centre, `w < 6.25`.
const ERF_INV_CENTRE: [f64; 23] = [
    -3.644_412_064_017_82e-21,
    -1.685_059_138_182_016_6e-19,
    1.285_848_071_525_64e-18,
    1.115_787_767_802_518_1e-17,
    -1.333_171_662_854_621e-16,
    2.097_276_787_596_856_2e-17,
    6.637_638_134_358_324e-15,
    -4.054_566_272_975_207e-14,
    -8.151_934_197_605_472e-14,
    2.633_509_315_308_232_3e-12,
    -1.297_513_325_345_353_2e-11,
    -5.415_412_054_294_628e-11,
    1.051_212_273_321_532_3e-9,
    -4.112_633_980_346_984e-9,
    -2.907_036_995_788_200_5e-8,
    4.234_787_782_793_240_4e-7,
    -1.365_469_200_083_467_9e-6,
    -1.388_252_336_278_646_9e-5,
    0.000_186_734_208_034_057_14,
    -0.000_740_702_534_166_267,
    -0.006_033_670_871_430_149,
    0.240_158_182_425_589_62,
    1.653_654_562_683_102_7,
];

/// `6.25 ≤ w < 16`.
const ERF_INV_MIDDLE: [f64; 19] = [
    2.213_737_692_177_578_7e-9,
    9.075_656_193_888_539e-8,
    -2.751_740_629_706_454_5e-7,
    1.823_962_921_438_922_8e-8,
    1.502_740_396_890_982_8e-6,
    -4.013_867_526_981_546e-6,
    2.923_444_908_995_544_6e-6,
    1.247_530_448_167_177_9e-5,
    -4.731_822_900_905_573_4e-5,
    6.828_485_145_957_318e-5,
    2.403_111_038_709_789_4e-5,
    -0.000_355_037_520_362_847_5,
    0.000_953_289_379_737_380_5,
    -0.001_688_275_556_023_504_7,
    0.002_491_442_096_107_851,
    -0.003_751_208_507_569_241,
    0.005_370_914_553_590_064,
    1.005_258_967_694_159_2,
    3.083_885_610_492_220_8,
];

/// The far tails, `w ≥ 16`.
const ERF_INV_TAILS: [f64; 17] = [
    -2.710_992_061_643_857_3e-11,
    -2.555_641_816_996_525e-10,
    1.507_657_269_350_054_8e-9,
    -3.789_465_440_126_737e-9,
    7.615_701_208_078_34e-9,
    -1.496_002_662_714_924e-8,
    2.914_795_345_090_108e-8,
    -6.771_199_775_845_234e-8,
    2.290_048_222_802_665_5e-7,
    -9.929_827_294_231_7e-7,
    4.526_062_597_223_154e-6,
    -1.968_177_810_553_167e-5,
    7.599_527_703_001_776e-5,
    -0.000_215_030_119_300_444_77,
    -0.000_138_719_318_336_231_22,
    1.010_300_464_864_534_4,
    4.849_906_401_408_584,
];

/// The inverse of the error function: M. Giles, "Approximating the erfinv function" (GPU
/// Computing Gems, 2012).
#[inline(always)]
pub(super) fn erf_inv(x: f64) -> f64 {
    if x.abs() == 1.0 {
        return x * f64::INFINITY;
    }
    let w = -log1p(x * -x);
    let p = if w < 6.25 {
        horner(w - 3.125, ERF_INV_CENTRE)
    } else if w < 16.0 {
        horner(w.sqrt() - 3.25, ERF_INV_MIDDLE)
    } else {
        horner(w.sqrt() - 5.0, ERF_INV_TAILS)
    };
    x * p
}
