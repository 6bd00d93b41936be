//! What contractions are asked to be accurate to. It says how accurate a result is at least: on a processor, where products of full
//! precision cost no more, it changes no result.

use std::fmt;

/// How accurately a device that multiplies in short formats is to use an operand: `lax.Precision`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Precision {
    /// As is fastest.
    #[default]
    Default,
    /// Better, at some cost.
    High,
    /// In the operand's full precision.
    Highest,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::Default => "Precision.DEFAULT",
            Precision::High => "Precision.HIGH",
            Precision::Highest => "Precision.HIGHEST",
        })
    }
}

macro_rules! algorithms {
    ($($Name:ident $name:literal $doc:literal;)*) => {
        /// Formats of the products and of the sum of a contraction: `lax.DotAlgorithmPreset`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum DotAlgorithm { $(#[doc = $doc] $Name,)* }

        impl DotAlgorithm {
            /// Every one.
            pub const ALL: &'static [DotAlgorithm] = &[$(DotAlgorithm::$Name),*];
            /// As `jax.lax` calls it.
            pub fn name(self) -> &'static str {
                match self { $(DotAlgorithm::$Name => $name,)* }
            }
        }
    };
}

algorithms! {
    Default "DEFAULT" "As is fastest.";
    AnyF8AnyF8F32 "ANY_F8_ANY_F8_F32" "Numbers of 8 bits, summed in `f32`.";
    AnyF8AnyF8F32FastAccum "ANY_F8_ANY_F8_F32_FAST_ACCUM" "Numbers of 8 bits, summed in less than `f32`.";
    AnyF8AnyF8Any "ANY_F8_ANY_F8_ANY" "Numbers of 8 bits, summed in the result's type.";
    AnyF8AnyF8AnyFastAccum "ANY_F8_ANY_F8_ANY_FAST_ACCUM" "Numbers of 8 bits, summed in less than the result's type.";
    F16F16F16 "F16_F16_F16" "`f16` throughout.";
    F16F16F32 "F16_F16_F32" "Products of `f16`, summed in `f32`.";
    Bf16Bf16Bf16 "BF16_BF16_BF16" "`bf16` throughout.";
    Bf16Bf16F32 "BF16_BF16_F32" "Products of `bf16`, summed in `f32`.";
    Bf16Bf16F32X3 "BF16_BF16_F32_X3" "Each number as two of `bf16`, three products of them summed in `f32`.";
    Bf16Bf16F32X6 "BF16_BF16_F32_X6" "Each number as three of `bf16`, six products of them summed in `f32`.";
    Bf16Bf16F32X9 "BF16_BF16_F32_X9" "Each number as three of `bf16`, nine products of them summed in `f32`.";
    Tf32Tf32F32 "TF32_TF32_F32" "Products of numbers with 10 bits behind the point, summed in `f32`.";
    Tf32Tf32F32X3 "TF32_TF32_F32_X3" "Each number as two of `tf32`, three products of them summed in `f32`.";
    F32F32F32 "F32_F32_F32" "`f32` throughout.";
    F64F64F64 "F64_F64_F64" "`f64` throughout.";
}

/// What a contraction is asked for: a precision of each operand, or an algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContractPrecision {
    /// A precision of the left operand, and one of the right.
    Operands(Precision, Precision),
    /// An algorithm.
    Algorithm(DotAlgorithm),
}

impl From<Precision> for ContractPrecision {
    fn from(p: Precision) -> Self {
        ContractPrecision::Operands(p, p)
    }
}

impl From<DotAlgorithm> for ContractPrecision {
    fn from(a: DotAlgorithm) -> Self {
        ContractPrecision::Algorithm(a)
    }
}

/// As `jax.make_jaxpr` prints it.
impl fmt::Display for ContractPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContractPrecision::Operands(a, b) => write!(f, "({a}, {b})"),
            ContractPrecision::Algorithm(a) => f.write_str(a.name()),
        }
    }
}

impl ContractPrecision {
    /// From the words that stand for the precisions of the operands, whatever stands in front of a dot (`Precision.HIGHEST`), or
    /// from the name of an algorithm. `None` for others.
    pub(crate) fn from_words(words: &[&str]) -> Option<ContractPrecision> {
        let one = |w: &str| match w.rsplit('.').next()? {
            "DEFAULT" => Some(Precision::Default),
            "HIGH" => Some(Precision::High),
            "HIGHEST" => Some(Precision::Highest),
            _ => None,
        };
        match words {
            [a, b] => Some(ContractPrecision::Operands(one(a)?, one(b)?)),
            [name] => DotAlgorithm::ALL
                .iter()
                .find(|a| Some(a.name()) == name.rsplit('.').next())
                .map(|a| ContractPrecision::Algorithm(*a)),
            _ => None,
        }
    }
}
