//! Contractions, convolutions, linear algebra.

use super::{Attr, apply, given::Given};
use crate::{
    array::{Array, Dims},
    error::Result,
    trace::op::{
        ContractPrecision, ConvDimensionNumbers, ConvGeneralDilated, DotGeneral, Linalg, Precision,
        Rev, TriangularSolve,
    },
};

impl<'t> Given<'_, '_, 't> {
    pub(super) fn linear(&self) -> Result<Option<Vec<Array>>> {
        let y = match self.name() {
            "dot_general" => self.dot_general()?,
            "dot" => {
                let [x, y] = self.operands()?;
                let op = DotGeneral {
                    lhs_contract: Dims::from_elem(x.ndim().saturating_sub(1), 1),
                    rhs_contract: Dims::from_elem(0, 1),
                    lhs_batch: Dims::new(),
                    rhs_batch: Dims::new(),
                    precision: self.precision(),
                    preferred_element_type: Some(self.out(0)?.dtype),
                };
                apply(op, &[x, y])?
            }
            "convolution" | "dynamic_conv" => self.convolution()?,
            "cholesky" => {
                let [x] = self.operands()?;
                self.cholesky(x, self.flag("lower", false))?
            }
            "triangular_solve" => {
                let [a, b] = self.operands()?;
                let transpose = self.word(&["transpose_a"], 0).unwrap_or("NO_TRANSPOSE");
                let op = TriangularSolve {
                    conjugate_a: transpose == "ADJOINT",
                    left_side: self.flag("left_side", false),
                    lower: self.flag("lower", false),
                    transpose_a: transpose != "NO_TRANSPOSE",
                    unit_diagonal: self.flag("unit_diagonal", false),
                };
                apply(Linalg::TriangularSolve(op), &[a, b])?
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![y]))
    }

    /// What is asked for. That anything will do is not worth saying, and an algorithm is what a device does at least.
    fn precision(&self) -> Option<ContractPrecision> {
        let Some(Attr::List(items)) = self.attr(&["precision", "precision_config"]) else {
            return None;
        };
        let words: Vec<&str> = items.iter().filter_map(Attr::word).collect();
        let anything = ContractPrecision::from(Precision::Default);
        ContractPrecision::from_words(&words).filter(|p| *p != anything)
    }

    fn dot_general(&self) -> Result<Array> {
        let [x, y] = self.operands()?;
        let numbers = self.attr(&["dot_dimension_numbers"]);
        let pair = |pretty: &str, side: &str, generic: &str| -> Result<Dims> {
            match self.op.attr(pretty) {
                Some(a) => self.field(Some(a), side),
                None => self.field(numbers, generic),
            }
        };
        let op = DotGeneral {
            lhs_contract: pair("contracting_dims", "lhs", "lhs_contracting_dimensions")?,
            rhs_contract: pair("contracting_dims", "rhs", "rhs_contracting_dimensions")?,
            lhs_batch: pair("batching_dims", "lhs", "lhs_batching_dimensions")?,
            rhs_batch: pair("batching_dims", "rhs", "rhs_batching_dimensions")?,
            precision: self.precision(),
            preferred_element_type: Some(self.out(0)?.dtype),
        };
        apply(op, &[x, y])
    }

    pub(super) fn cholesky(&self, x: &Array, lower: bool) -> Result<Array> {
        if lower {
            return apply(Linalg::Cholesky, &[x]);
        }
        // The upper triangle of a is the lower one of aᴴ, and aᴴ = l·lᴴ = uᴴ·u.
        let adjoint = |x: &Array| {
            let t = x.swapaxes(-1, -2);
            if x.dtype().is_ok_and(|d| d.is_complex()) {
                t.conj()
            } else {
                t
            }
        };
        let l = apply(Linalg::Cholesky, &[&adjoint(x)])?;
        let u = adjoint(&l);
        u.ok()?;
        Ok(u)
    }

    /// `[b, 0, 1, f]` as places: of the two named axes, then of the spatial ones in order.
    fn layout(&self, a: Option<&Attr<'t>>, names: [&str; 2]) -> Result<Dims> {
        let wrong =
            || self.wrong("`dim_numbers` names axes as [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]");
        let Some(Attr::List(items)) = a else {
            return Err(wrong());
        };
        let place =
            |wanted: &dyn Fn(&Attr<'t>) -> bool| items.iter().position(wanted).ok_or_else(wrong);
        let mut spec = Dims::new();
        for name in names {
            spec.push(place(&|a| matches!(a, Attr::Word(w) if *w == name))?);
        }
        for i in 0..items.len().saturating_sub(2) {
            spec.push(place(&|a| a.int() == Some(i as i64))?);
        }
        Ok(spec)
    }

    fn convolution(&self) -> Result<Array> {
        let (Some(x), Some(kernel)) = (self.x.first(), self.x.get(1)) else {
            return Err(self.wrong("it takes an array and a kernel"));
        };
        let numbers = self.attr(&["dim_numbers", "dimension_numbers"]);
        let part = |name: &str| numbers.and_then(|a| a.field(name));
        let dimension_numbers = ConvDimensionNumbers {
            lhs_spec: self.layout(part("lhs"), ["b", "f"])?,
            rhs_spec: self.layout(part("rhs"), ["o", "i"])?,
            out_spec: self.layout(part("out"), ["b", "f"])?,
        };
        let spatial = x.ndim().saturating_sub(2);
        let window = self.op.attr("window");
        let each = |short: &str, long: &str| -> Result<Dims> {
            let given = match window.and_then(|w| w.field(short)) {
                Some(_) => self.field(window, short)?,
                None => self.dims(&[long])?,
            };
            Ok(if given.is_empty() {
                Dims::from_elem(1, spatial)
            } else {
                given
            })
        };
        let pad = match window.and_then(|w| w.field("pad")) {
            Some(a) => a.ints(),
            None => self.ints(&["padding"])?,
        };
        let padding = match self.x.get(2) {
            None => self.pairs(pad, spatial)?,
            Some(_) => return Err(self.unsupported("padding that is computed")),
        };
        let reversal = match window.and_then(|w| w.field("reverse")) {
            Some(a) => Some(a),
            None => self.op.attr("window_reversal"),
        };
        let reversed: Vec<bool> = match reversal {
            Some(Attr::List(items)) => items.iter().map(|a| a.bool().unwrap_or(false)).collect(),
            Some(Attr::Dense(d)) => d.elements.item().map_or_else(
                || d.elements.to_vec::<bool>().unwrap_or_default(),
                |one| vec![one == crate::array::Scalar::Bool(true); spatial],
            ),
            _ => vec![],
        };
        let axes: Dims = dimension_numbers
            .rhs_spec
            .iter()
            .skip(2)
            .zip(&reversed)
            .filter(|(_, r)| **r)
            .map(|(d, _)| *d)
            .collect();
        let kernel = if axes.is_empty() {
            kernel.clone()
        } else {
            apply(Rev { dimensions: axes }, &[kernel])?
        };
        let count = |name: &str| -> Result<usize> {
            match self.op.attr(name) {
                Some(_) => self.number(&[name]),
                None => Ok(1),
            }
        };
        let op = ConvGeneralDilated {
            batch_group_count: count("batch_group_count")?,
            dimension_numbers,
            feature_group_count: count("feature_group_count")?,
            lhs_dilation: each("lhs_dilate", "lhs_dilation")?,
            padding: padding
                .iter()
                .map(|(a, b)| (*a as isize, *b as isize))
                .collect(),
            precision: self.precision(),
            preferred_element_type: Some(self.out(0)?.dtype),
            rhs_dilation: each("rhs_dilate", "rhs_dilation")?,
            window_strides: each("stride", "window_strides")?,
        };
        apply(op, &[x, &kernel])
    }
}
