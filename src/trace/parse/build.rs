//! Primitives from their names and parameters.

use super::value::{Value, misfit};
use crate::{
    array::{Aval, DType, Dims, Scalar},
    error::{Error, Result},
    trace::{Jaxpr, Program, op::*},
};
use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

/// An equation whose primitive is asked for.
pub(super) struct Build<'a, 't> {
    pub(super) name: &'t str,
    pub(super) params: Vec<(&'t str, Value<'t>)>,
    pub(super) operands: &'a [&'a Aval],
    pub(super) results: &'a [&'a Aval],
}

impl<'t> Build<'_, 't> {
    fn get(&self, key: &str) -> Option<&Value<'t>> {
        self.params.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    fn is_absent(&self, key: &str) -> bool {
        self.get(key).is_none_or(Value::is_none)
    }

    fn with<T>(&self, key: &str, f: impl FnOnce(&Value<'t>) -> Option<T>) -> Result<T> {
        self.get(key)
            .and_then(f)
            .ok_or_else(|| misfit(self.name, key))
    }

    fn number(&self, key: &str) -> Result<usize> {
        self.with(key, |v| usize::try_from(v.int()?).ok())
    }

    fn flag(&self, key: &str) -> Result<bool> {
        self.with(key, |v| match v {
            Value::Number(Scalar::Bool(b)) => Some(*b),
            _ => None,
        })
    }

    fn dims(&self, key: &str) -> Result<Dims> {
        self.with(key, dims)
    }

    fn dtype(&self, key: &str) -> Result<DType> {
        self.with(key, dtype)
    }

    fn optional_dtype(&self, key: &str) -> Result<Option<DType>> {
        match self.get(key) {
            None => Ok(None),
            Some(v) if v.is_none() => Ok(None),
            Some(_) => self.dtype(key).map(Some),
        }
    }

    fn precision(&self) -> Result<Option<ContractPrecision>> {
        let Some(v) = self.get("precision").filter(|v| !v.is_none()) else {
            return Ok(None);
        };
        let words = match v {
            Value::Word(w) => vec![*w],
            Value::List(all) => all
                .iter()
                .filter_map(|v| match v {
                    Value::Word(w) => Some(*w),
                    _ => None,
                })
                .collect(),
            _ => vec![],
        };
        let found = ContractPrecision::from_words(&words);
        found
            .map(Some)
            .ok_or_else(|| misfit(self.name, "precision"))
    }

    fn float(&self, key: &str) -> Result<f64> {
        self.with(key, |v| match v {
            Value::Number(x) => x.as_f64(),
            _ => None,
        })
    }

    fn text(&self, key: &str) -> Result<Arc<str>> {
        self.with(key, |v| match v {
            Value::Word(w) => Some(Arc::from(*w)),
            _ => None,
        })
    }

    /// How many operands are arrays that a function captured; JAX does not write that there are none.
    fn captured(&self) -> Result<usize> {
        match self.get("num_consts") {
            None => Ok(0),
            Some(_) => self.number("num_consts"),
        }
    }

    fn program(&self, key: &str) -> Result<Program> {
        self.with(key, |v| match v {
            Value::Program(p) => Some(p.clone()),
            _ => None,
        })
    }

    /// A list of lists of whole numbers, each of this length.
    fn tuples<const N: usize>(&self, key: &str) -> Result<Vec<[i64; N]>> {
        self.with(key, |v| {
            let item = |v: &Value<'t>| -> Option<[i64; N]> {
                let all: Option<Vec<i64>> = v
                    .list()?
                    .iter()
                    .map(|v| i64::try_from(v.int()?).ok())
                    .collect();
                all?.try_into().ok()
            };
            v.list()?.iter().map(item).collect()
        })
    }

    fn padding(&self) -> Result<Padding> {
        let pairs = self.tuples::<2>("padding")?;
        Ok(pairs
            .iter()
            .map(|[a, b]| (*a as isize, *b as isize))
            .collect())
    }

    fn window(&self) -> Result<Window> {
        let mut w = Window::new(
            self.dims("window_dimensions")?,
            self.dims("window_strides")?,
        );
        w.padding = self.padding()?;
        if self.get("base_dilation").is_some() {
            w.base_dilation = self.dims("base_dilation")?;
            w.window_dilation = self.dims("window_dilation")?;
        }
        Ok(w)
    }

    fn largest(&self) -> Result<bool> {
        self.with("select_prim", |v| match v {
            Value::Word("ge") => Some(true),
            Value::Word("le") => Some(false),
            _ => None,
        })
    }

    fn mode(&self) -> Result<GatherScatterMode> {
        self.with("mode", |v| match v {
            Value::Word(w) => Some(match w.rsplit('.').next()? {
                "CLIP" => GatherScatterMode::Clip,
                "FILL_OR_DROP" => GatherScatterMode::FillOrDrop,
                "PROMISE_IN_BOUNDS" => GatherScatterMode::PromiseInBounds,
                _ => return None,
            }),
            // As a number, too, in some versions.
            _ => None,
        })
    }

    fn scatter_numbers(&self) -> Result<ScatterDimensionNumbers> {
        self.with("dimension_numbers", |v| {
            let part = |name: &str| dims(v.field(name)?);
            Some(ScatterDimensionNumbers {
                update_window_dims: part("update_window_dims")?,
                inserted_window_dims: part("inserted_window_dims")?,
                scatter_dims_to_operand_dims: part("scatter_dims_to_operand_dims")?,
                operand_batching_dims: part("operand_batching_dims")?,
                scatter_indices_batching_dims: part("scatter_indices_batching_dims")?,
            })
        })
    }

    fn reduction(&self, reducer: Reducer) -> Result<Op> {
        let axes = self.dims("axes")?;
        Ok(Reduce { reducer, axes }.into())
    }

    fn windowed(&self, reducer: WindowReducer) -> Result<Op> {
        let window = self.window()?;
        Ok(ReduceWindow { reducer, window }.into())
    }

    fn cumulative(&self, kind: CumulativeKind) -> Result<Op> {
        Ok(Cumulative {
            kind,
            axis: self.number("axis")?,
            reverse: self.flag("reverse")?,
        }
        .into())
    }

    fn scatter(&self, kind: ScatterKind) -> Result<Op> {
        let program = self.get("update_jaxpr").filter(|v| !v.is_none());
        let (dimension_numbers, mode) = (self.scatter_numbers()?, self.mode()?);
        let indices_are_sorted = self.flag("indices_are_sorted")?;
        let unique_indices = self.flag("unique_indices")?;
        if kind == ScatterKind::Set && program.is_some() {
            return Ok(ScatterBy {
                dimension_numbers,
                indices_are_sorted,
                mode,
                unique_indices,
                update_jaxpr: self.program("update_jaxpr")?,
            }
            .into());
        }
        Ok(Scatter {
            indices_are_sorted,
            mode,
            unique_indices,
            dtype: self.operands.first().map_or(DType::F32, |a| a.dtype),
            ..Scatter::new(kind, dimension_numbers)
        }
        .into())
    }

    /// Psum and its kin name one axis.
    fn axis(&self, key: &str) -> Result<Arc<str>> {
        self.with(key, |v| match v {
            Value::Word(w) => Some(Arc::from(*w)),
            Value::List(all) => match &all[..] {
                [Value::Word(w)] => Some(Arc::from(*w)),
                _ => None,
            },
            _ => None,
        })
    }

    fn collective(&self, across: Across) -> Result<Op> {
        let axis = self.axis("axes")?;
        Ok(Collective { across, axis }.into())
    }

    /// The number of examples that an `all_to_all` exchanges between, by the types.
    fn parties(&self) -> Result<usize> {
        let (split, concat) = (self.number("split_axis")?, self.number("concat_axis")?);
        let size = |avals: &[&Aval], i: usize| avals.first().and_then(|a| a.shape.get(i).copied());
        let found = if self.flag("tiled")? {
            let (before, after) = (size(self.operands, concat), size(self.results, concat));
            after.and_then(|n| n.checked_div(before?))
        } else {
            size(self.operands, split)
        };
        found.ok_or_else(|| misfit(self.name, "split_axis"))
    }

    fn plain(&self) -> Option<Op> {
        if self.params.iter().any(|(k, _)| *k != "accuracy") {
            return None;
        }
        let unary = Unary::PLAIN.iter().find(|u| u.name() == self.name);
        let binary = Binary::PLAIN.iter().find(|b| b.name() == self.name);
        let special = Special::PLAIN.iter().find(|s| s.name() == self.name);
        unary
            .map(|u| (*u).into())
            .or_else(|| binary.map(|b| (*b).into()))
            .or_else(|| special.map(|s| (*s).into()))
    }

    /// The primitive.
    pub(super) fn op(&self) -> Result<Op> {
        // What newer versions say of accuracy and of placement says nothing of values.
        if let Some(op) = self.plain() {
            return Ok(op);
        }
        let result = || {
            let first = self.results.first().copied();
            first.ok_or_else(|| Error::format(format!("`{}` without a result", self.name)))
        };
        Ok(match self.name {
            "round" => match self.number("rounding_method")? {
                0 => Unary::Round(RoundingMethod::AwayFromZero).into(),
                _ => Unary::Round(RoundingMethod::ToNearestEven).into(),
            },
            "reduce_precision" => {
                let bits = |key: &str| self.with(key, |v| u8::try_from(v.int()?).ok());
                Unary::ReducePrecision {
                    exponent_bits: bits("exponent_bits")?,
                    mantissa_bits: bits("mantissa_bits")?,
                }
                .into()
            }
            "integer_pow" => IntegerPow {
                y: self.with("y", |v| i32::try_from(v.int()?).ok())?,
            }
            .into(),
            "select_n" => SelectN.into(),
            "stop_gradient" => StopGradient.into(),
            "copy" => Copied.into(),
            "optimization_barrier" => OptimizationBarrier.into(),
            "dynamic_update_slice" => DynamicUpdateSlice.into(),
            "clamp" => Clamp.into(),
            "threefry2x32" => Threefry2x32.into(),
            "convert_element_type" => ConvertElementType {
                new_dtype: self.dtype("new_dtype")?,
                weak_type: self.flag("weak_type")?,
            }
            .into(),
            "transpose" => Transpose {
                permutation: self.dims("permutation")?,
            }
            .into(),
            "broadcast_in_dim" => BroadcastInDim {
                shape: result()?.shape.clone(),
                broadcast_dimensions: match self.get("broadcast_dimensions") {
                    None => Dims::new(),
                    Some(_) => self.dims("broadcast_dimensions")?,
                },
            }
            .into(),
            "reshape" => Reshape {
                new_sizes: self.dims("new_sizes")?,
            }
            .into(),
            "iota" => Iota {
                dtype: self.dtype("dtype")?,
                shape: self.dims("shape")?,
                dimension: self.number("dimension")?,
            }
            .into(),
            "reduce_sum" => self.reduction(Reducer::Sum)?,
            "reduce_prod" => self.reduction(Reducer::Prod)?,
            "reduce_max" => self.reduction(Reducer::Max)?,
            "reduce_min" => self.reduction(Reducer::Min)?,
            "reduce_and" => self.reduction(Reducer::And)?,
            "reduce_or" => self.reduction(Reducer::Or)?,
            "reduce_xor" => self.reduction(Reducer::Xor)?,
            "argmax" => self.reduction(Reducer::Argmax(self.dtype("index_dtype")?))?,
            "argmin" => self.reduction(Reducer::Argmin(self.dtype("index_dtype")?))?,
            "dot_general" => {
                let part = |i: usize, k: usize| {
                    self.with("dimension_numbers", |v| {
                        dims(v.list()?.get(i)?.list()?.get(k)?)
                    })
                };
                DotGeneral {
                    lhs_contract: part(0, 0)?,
                    rhs_contract: part(0, 1)?,
                    lhs_batch: part(1, 0)?,
                    rhs_batch: part(1, 1)?,
                    precision: self.precision()?,
                    preferred_element_type: self.optional_dtype("preferred_element_type")?,
                }
                .into()
            }
            "ragged_dot_general" if self.is_absent("group_offset") => {
                let field = |name: &str| {
                    self.with("ragged_dot_dimension_numbers", |v| dims(v.field(name)?))
                };
                let part = |i: usize, k: usize| {
                    self.with("ragged_dot_dimension_numbers", |v| {
                        let pairs = v.field("dot_dimension_numbers")?;
                        dims(pairs.list()?.get(i)?.list()?.get(k)?)
                    })
                };
                let single = |name: &str| match field(name)?[..] {
                    [] => Ok(None),
                    [a] => Ok(Some(a)),
                    _ => Err(misfit(self.name, "ragged_dot_dimension_numbers")),
                };
                RaggedDotGeneral {
                    dot: DotGeneral {
                        lhs_contract: part(0, 0)?,
                        rhs_contract: part(0, 1)?,
                        lhs_batch: part(1, 0)?,
                        rhs_batch: part(1, 1)?,
                        precision: self.precision()?,
                        preferred_element_type: self.optional_dtype("preferred_element_type")?,
                    },
                    lhs_ragged: single("lhs_ragged_dimensions")?
                        .ok_or_else(|| misfit(self.name, "ragged_dot_dimension_numbers"))?,
                    rhs_group: single("rhs_group_dimensions")?,
                }
                .into()
            }
            "squeeze" => Squeeze {
                dimensions: self.dims("dimensions")?,
            }
            .into(),
            "slice" => Slice {
                start_indices: self.dims("start_indices")?,
                limit_indices: self.dims("limit_indices")?,
                strides: match self.get("strides") {
                    Some(v) if !v.is_none() => Some(self.dims("strides")?),
                    _ => None,
                },
            }
            .into(),
            "dynamic_slice" => DynamicSlice {
                slice_sizes: self.dims("slice_sizes")?,
            }
            .into(),
            "concatenate" => Concatenate {
                dimension: self.number("dimension")?,
            }
            .into(),
            "pad" => Pad {
                padding_config: self
                    .tuples::<3>("padding_config")?
                    .iter()
                    .map(|[l, h, i]| (*l, *h, *i))
                    .collect(),
            }
            .into(),
            "rev" => Rev {
                dimensions: self.dims("dimensions")?,
            }
            .into(),
            "bitcast_convert_type" => BitcastConvertType {
                new_dtype: self.dtype("new_dtype")?,
            }
            .into(),
            "gather" => Gather {
                dimension_numbers: self.with("dimension_numbers", |v| {
                    let part = |name: &str| dims(v.field(name)?);
                    Some(GatherDimensionNumbers {
                        offset_dims: part("offset_dims")?,
                        collapsed_slice_dims: part("collapsed_slice_dims")?,
                        start_index_map: part("start_index_map")?,
                        operand_batching_dims: part("operand_batching_dims")?,
                        start_indices_batching_dims: part("start_indices_batching_dims")?,
                    })
                })?,
                fill_value: match self.get("fill_value") {
                    Some(Value::Number(x)) => Some(*x),
                    _ => None,
                },
                indices_are_sorted: self.flag("indices_are_sorted")?,
                mode: self.mode()?,
                slice_sizes: self.dims("slice_sizes")?,
                unique_indices: self.flag("unique_indices")?,
            }
            .into(),
            "scatter" => self.scatter(ScatterKind::Set)?,
            "scatter-add" => self.scatter(ScatterKind::Add)?,
            "scatter-sub" => self.scatter(ScatterKind::Sub)?,
            "scatter-mul" => self.scatter(ScatterKind::Mul)?,
            "scatter-min" => self.scatter(ScatterKind::Min)?,
            "scatter-max" => self.scatter(ScatterKind::Max)?,
            "sort" if self.get("comparator").is_some() => SortBy {
                comparator: self.program("comparator")?,
                dimension: self.number("dimension")?,
                is_stable: self.flag("is_stable")?,
            }
            .into(),
            "sort" => Sort {
                dimension: self.number("dimension")?,
                is_stable: self.flag("is_stable")?,
                num_keys: self.number("num_keys")?,
            }
            .into(),
            "top_k" => TopK {
                axis: self.number("axis")?,
                k: self.number("k")?,
            }
            .into(),
            "cumsum" => self.cumulative(CumulativeKind::Sum)?,
            "cumprod" => self.cumulative(CumulativeKind::Prod)?,
            "cummax" => self.cumulative(CumulativeKind::Max)?,
            "cummin" => self.cumulative(CumulativeKind::Min)?,
            "cumlogsumexp" => self.cumulative(CumulativeKind::LogSumExp)?,
            "split" => SplitAlong {
                axis: self.number("axis")?,
                sizes: self.dims("sizes")?,
            }
            .into(),
            "stack" => Stack {
                axis: self.number("axis")?,
            }
            .into(),
            "unstack" => Unstack {
                axis: self.number("axis")?,
            }
            .into(),
            "tile" => Tile {
                reps: self.dims("reps")?,
            }
            .into(),
            "fft" => Fft {
                fft_lengths: self.dims("fft_lengths")?,
                fft_type: match self.number("fft_type")? {
                    0 => FftType::Fft,
                    1 => FftType::Ifft,
                    2 => FftType::Rfft,
                    _ => FftType::Irfft,
                },
            }
            .into(),
            "conv_general_dilated" => {
                let spec = |name: &str| self.with("dimension_numbers", |v| dims(v.field(name)?));
                ConvGeneralDilated {
                    batch_group_count: self.number("batch_group_count")?,
                    dimension_numbers: ConvDimensionNumbers {
                        lhs_spec: spec("lhs_spec")?,
                        rhs_spec: spec("rhs_spec")?,
                        out_spec: spec("out_spec")?,
                    },
                    feature_group_count: self.number("feature_group_count")?,
                    lhs_dilation: self.dims("lhs_dilation")?,
                    padding: self.padding()?,
                    precision: self.precision()?,
                    preferred_element_type: self.optional_dtype("preferred_element_type")?,
                    rhs_dilation: self.dims("rhs_dilation")?,
                    window_strides: self.dims("window_strides")?,
                }
                .into()
            }
            "reduce_window_sum" => self.windowed(WindowReducer::Sum)?,
            "reduce_window_prod" => self.windowed(WindowReducer::Prod)?,
            "reduce_window_max" => self.windowed(WindowReducer::Max)?,
            "reduce_window_min" => self.windowed(WindowReducer::Min)?,
            "select_and_gather_add" => SelectAndGatherAdd {
                largest: self.largest()?,
                window: self.window()?,
            }
            .into(),
            "select_and_scatter_add" => SelectAndScatterAdd {
                largest: self.largest()?,
                window: self.window()?,
            }
            .into(),
            "reduce" => ReduceBy {
                dimensions: self.dims("dimensions")?,
                jaxpr: self.program("jaxpr")?,
            }
            .into(),
            "reduce_window" => ReduceWindowBy {
                jaxpr: self.program("jaxpr")?,
                window: self.window()?,
            }
            .into(),
            "select_and_scatter" => SelectAndScatter {
                select_jaxpr: self.program("select_jaxpr")?,
                scatter_jaxpr: self.program("scatter_jaxpr")?,
                window: self.window()?,
            }
            .into(),
            "cholesky" => Linalg::Cholesky.into(),
            "lu" => Linalg::Lu.into(),
            "triangular_solve" => Linalg::TriangularSolve(TriangularSolve {
                conjugate_a: self.flag("conjugate_a")?,
                left_side: self.flag("left_side")?,
                lower: self.flag("lower")?,
                transpose_a: self.flag("transpose_a")?,
                unit_diagonal: self.flag("unit_diagonal")?,
            })
            .into(),
            "qr" => Linalg::Qr {
                full_matrices: self.flag("full_matrices")?,
                pivoting: self.flag("pivoting")?,
            }
            .into(),
            "eigh" => Linalg::Eigh {
                lower: self.flag("lower")?,
            }
            .into(),
            "svd" => Linalg::Svd {
                compute_uv: self.flag("compute_uv")?,
                full_matrices: self.flag("full_matrices")?,
            }
            .into(),
            "eig" => Factor::Eig {
                left: self.flag("compute_left_eigenvectors")?,
                right: self.flag("compute_right_eigenvectors")?,
            }
            .into(),
            "hessenberg" => Factor::Hessenberg.into(),
            "schur" => Factor::Schur {
                vectors: self.flag("compute_schur_vectors")?,
            }
            .into(),
            "tridiagonal" => Factor::Tridiagonal {
                lower: self.flag("lower")?,
            }
            .into(),
            "tridiagonal_solve" => Factor::TridiagonalSolve.into(),
            "geqrf" => Factor::Geqrf.into(),
            "geqp3" => Factor::Geqp3.into(),
            "ormqr" => Factor::Ormqr {
                left: self.flag("left")?,
                transpose: self.flag("transpose")?,
            }
            .into(),
            "householder_product" => Factor::HouseholderProduct.into(),
            "lu_pivots_to_permutation" => Factor::PivotsToPermutation {
                size: self.number("permutation_size")?,
            }
            .into(),
            "symmetric_product" => Factor::SymmetricProduct {
                alpha: self.float("alpha")?,
                beta: self.float("beta")?,
            }
            .into(),
            "cholesky_update" => Factor::CholeskyUpdate.into(),
            "all_to_all" => Exchange {
                parts: Parts::AllToAll {
                    split_axis: self.number("split_axis")?,
                    concat_axis: self.number("concat_axis")?,
                    tiled: self.flag("tiled")?,
                },
                axis: self.axis("axis_name")?,
                axis_size: self.parties()?,
            }
            .into(),
            "ppermute" => Exchange {
                parts: Parts::Permute {
                    perm: self
                        .tuples::<2>("perm")?
                        .iter()
                        .map(|[a, b]| Some((usize::try_from(*a).ok()?, usize::try_from(*b).ok()?)))
                        .collect::<Option<_>>()
                        .ok_or_else(|| misfit(self.name, "perm"))?,
                },
                axis: self.axis("axis_name")?,
                axis_size: 0,
            }
            .into(),
            "pbroadcast" => Exchange {
                parts: Parts::Broadcast {
                    source: self.number("source")?,
                },
                axis: self.axis("axis_name")?,
                axis_size: 0,
            }
            .into(),
            "random_gamma" => RandomGamma {
                log_space: self.flag("log_space")?,
            }
            .into(),
            "rng_bit_generator" => RngBitGenerator {
                algorithm: match &*self.text("algorithm")? {
                    "RNG_DEFAULT" => RandomAlgorithm::Default,
                    "RNG_THREE_FRY" => RandomAlgorithm::ThreeFry,
                    "RNG_PHILOX" => RandomAlgorithm::Philox,
                    _ => return Err(misfit(self.name, "algorithm")),
                },
                dtype: self.dtype("dtype")?,
                shape: self.dims("shape")?,
            }
            .into(),
            "jit" | "pjit" => Jit {
                name: self.text("name")?,
                jaxpr: self.program("jaxpr")?,
            }
            .into(),
            "checkpoint" | "remat" | "remat2" => Checkpoint {
                differentiated: self.flag("differentiated")?,
                jaxpr: self.program("jaxpr")?,
            }
            .into(),
            "scan" => Scan {
                jaxpr: self.program("jaxpr")?,
                length: self.number("length")?,
                num_carry: self.number("num_carry")?,
                num_consts: self.number("num_consts")?,
                reverse: self.flag("reverse")?,
                unroll: self.number("unroll")?,
            }
            .into(),
            "while" => While {
                body_jaxpr: self.program("body_jaxpr")?,
                body_nconsts: self.number("body_nconsts")?,
                cond_jaxpr: self.program("cond_jaxpr")?,
                cond_nconsts: self.number("cond_nconsts")?,
            }
            .into(),
            "cond" => Cond {
                branches: self.with("branches", |v| {
                    let program = |v: &Value<'t>| match v {
                        Value::Program(p) => Some(p.clone()),
                        _ => None,
                    };
                    v.list()?.iter().map(program).collect()
                })?,
            }
            .into(),
            "psum" => self.collective(Across::Sum)?,
            "pmax" => self.collective(Across::Max)?,
            "pmin" => self.collective(Across::Min)?,
            "axis_index" => AxisIndex {
                axis: self.axis("axis_name")?,
            }
            .into(),
            "all_gather" | "reduce_scatter" => {
                let gathers = self.name == "all_gather";
                let tiled = self.flag("tiled")?;
                let parts = if gathers {
                    Parts::AllGather {
                        dimension: self.number("all_gather_dimension")?,
                        tiled,
                    }
                } else {
                    Parts::ReduceScatter {
                        dimension: self.number("scatter_dimension")?,
                        tiled,
                    }
                };
                Exchange {
                    parts,
                    axis: self.axis("axis_name")?,
                    axis_size: self.number("axis_size")?,
                }
                .into()
            }
            "component" => {
                let what = self.text("value")?;
                // What is described alike is the same value.
                let mut hasher = std::hash::DefaultHasher::new();
                what.hash(&mut hasher);
                Component {
                    value: hasher.finish(),
                    field: self.with("field", |v| match v {
                        Value::Word("definition") => Some(None),
                        v => u32::try_from(v.int()?).ok().map(Some),
                    })?,
                    allow_materialise: false,
                    what,
                }
                .into()
            }
            // What JAX says of sums in derivatives, of devices and of names says nothing of values.
            "add_any" => Binary::Add.into(),
            "name" | "device_put" | "sharding_constraint" if self.operands.len() == 1 => {
                Copied.into()
            }
            "closed_call" | "core_call" | "call" | "core_closed_call" => Jit {
                name: Arc::from(self.name),
                jaxpr: self.program("call_jaxpr")?,
            }
            .into(),
            "approx_top_k" if self.flag("is_max_k")? => TopK {
                axis: self.with("reduction_dimension", |v| {
                    let n = self.operands.first()?.ndim() as i128;
                    let axis = v.int()?;
                    usize::try_from(if axis < 0 { axis + n } else { axis }).ok()
                })?,
                k: self.number("k")?,
            }
            .into(),
            // The text has the names of the rules alone.
            "custom_jvp_call" => CustomJvp {
                name: self.text("name")?,
                call_jaxpr: self.program("call_jaxpr")?,
                jvp: self.text("jvp")?,
                rule: Jaxpr::default().into(),
                num_consts: self.captured()?,
                no_rule: None,
            }
            .into(),
            "custom_vjp_call" => CustomVjp {
                name: self.text("name")?,
                call_jaxpr: self.program("call_jaxpr")?,
                fwd_name: self.text("fwd")?,
                fwd: Jaxpr::default().into(),
                bwd_name: self.text("bwd")?,
                bwd: Jaxpr::default().into(),
                num_consts: self.captured()?,
                no_rule: None,
            }
            .into(),
            "custom_lin" => CustomLinear {
                name: self.text("bwd")?,
                bwd: Jaxpr::default().into(),
                num_res: self.number("num_res")?,
                out_avals: self.results.iter().map(|a| (*a).clone()).collect(),
            }
            .into(),
            "custom_linear_solve" => {
                let part = |name: &str| -> Result<Option<Captured>> {
                    let jaxpr = self.with("jaxprs", |v| match v.field(name)? {
                        Value::Program(p) => Some(Some(p.clone())),
                        v => v.is_none().then_some(None),
                    })?;
                    let num_consts = self.with("const_lengths", |v| {
                        usize::try_from(v.field(name)?.int()?).ok()
                    })?;
                    Ok(jaxpr.map(|jaxpr| Captured { jaxpr, num_consts }))
                };
                let needed = |name: &str| part(name)?.ok_or_else(|| misfit(self.name, "jaxprs"));
                CustomLinearSolve {
                    matvec: needed("matvec")?,
                    vecmat: part("vecmat")?,
                    solve: needed("solve")?,
                    transpose_solve: part("transpose_solve")?,
                }
                .into()
            }
            other => return Err(Error::format(format!("there is no primitive `{other}`"))),
        })
    }
}

fn dims(v: &Value<'_>) -> Option<Dims> {
    v.list()?
        .iter()
        .map(|v| usize::try_from(v.int()?).ok())
        .collect()
}

fn dtype(v: &Value<'_>) -> Option<DType> {
    let Value::Word(name) = v else {
        return None;
    };
    DType::ALL.into_iter().find(|d| d.name() == *name)
}

/// Is a primitive one of several operands that meet element by element?
pub(super) fn is_elementwise(name: &str) -> bool {
    Binary::PLAIN.iter().any(|b| b.name() == name)
        || Special::PLAIN.iter().any(|s| s.name() == name)
        || matches!(name, "select_n" | "clamp")
}
