//! The wider set of functions named as in `jax.numpy`, against JAX: over element types, at NaN, infinities and zeros, and on empty arrays.

mod support;

use quaxide::{
    linalg::Norm,
    numpy::{ConvolveMode, OutOfBounds, QuantileMethod},
    prelude::*,
};
use support::golden::{F32, F64, Golden, Tolerance};

const F16: Tolerance = Tolerance {
    relative: 2e-3,
    absolute: 1e-3,
};

type Unary = fn(&Array) -> Array;
type Binary = fn(&Array, &Array) -> Array;

const UNARY: &[(&str, Unary)] = &[
    ("sinc", |x| x.sinc()),
    ("log2", |x| x.log2()),
    ("log10", |x| x.log10()),
    ("trunc", |x| x.trunc()),
    ("rint", |x| x.rint()),
    ("round", |x| x.round(0)),
    ("round_1", |x| x.round(1)),
    ("reciprocal", |x| x.reciprocal()),
    ("deg2rad", |x| x.deg2rad()),
    ("rad2deg", |x| x.rad2deg()),
    ("nan_to_num", |x| x.nan_to_num(0.0)),
    ("signbit", |x| x.signbit()),
    ("fabs", |x| x.fabs()),
    ("i0", |x| x.i0()),
    ("angle", |x| x.angle()),
    ("modf_0", |x| x.modf().0),
    ("modf_1", |x| x.modf().1),
    ("frexp_0", |x| x.frexp().0),
    ("frexp_1", |x| x.frexp().1),
    ("spacing", |x| x.spacing()),
    ("isposinf", |x| x.isposinf()),
    ("nansum", |x| x.nansum(())),
    ("nanprod", |x| x.nanprod(())),
    ("nanmax", |x| x.nanmax(())),
    ("nanmin", |x| x.nanmin(())),
    ("nanmean", |x| x.nanmean(())),
    ("nanvar", |x| x.nanvar((), 0)),
    ("nanstd", |x| x.nanstd((), 0)),
    ("nanmedian", |x| x.nanmedian(())),
    ("nanargmax", |x| x.nanargmax(0)),
    ("nanargmin", |x| x.nanargmin(0)),
    ("nancumsum", |x| x.nancumsum(0)),
    ("count_nonzero", |x| x.count_nonzero(())),
    ("median", |x| x.median(())),
    ("ptp", |x| x.ptp(())),
    ("diff", |x| x.diff(1, -1)),
    ("diff_2", |x| x.diff(2, -1)),
    ("nanquantile", |x| {
        x.nanquantile(Array::from([0.1f64, 0.9]), ())
    }),
];

const BINARY: &[(&str, Binary)] = &[
    ("power", |x, y| x.pow(y)),
    ("float_power", |x, y| x.float_power(y)),
    ("fmod", |x, y| x.fmod(y)),
    ("remainder", |x, y| x.modulo(y)),
    ("floor_divide", |x, y| x.floor_divide(y)),
    ("logaddexp", |x, y| x.logaddexp(y)),
    ("logaddexp2", |x, y| x.logaddexp2(y)),
    ("heaviside", |x, y| x.heaviside(y)),
    ("hypot", |x, y| x.hypot(y)),
    ("copysign", |x, y| x.copysign(y)),
    ("nextafter", |x, y| x.nextafter(y)),
    ("fmax", |x, y| x.fmax(y)),
    ("fmin", |x, y| x.fmin(y)),
    ("isclose", |x, y| x.isclose(y, 1e-5, 1e-8, false)),
    ("arctan2", |x, y| x.arctan2(y)),
    ("gcd", |x, y| x.gcd(y)),
    ("lcm", |x, y| x.lcm(y)),
];

#[test]
fn elementwise_functions_equal_jax() {
    let golden = Golden::open("numpy");
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let floats = Array::from([
        -2.5, -1.0, -0.0, 0.0, 0.5, 1.5, 3.0, nan, inf, -inf, 1e-4, 7.25,
    ]);
    let others = Array::from([
        2.0, -0.75, 1.0, 0.0, nan, 0.5, -2.0, 1.0, inf, 3.0, 2.0, -1.5,
    ]);
    let integers = Array::from([-7i64, -2, 0, 1, 3, 8, 12, 100]);
    let divisors = Array::from([3i64, -2, 5, 0, -3, 12, 8, 7]);
    let mut wrong = vec![];
    for (dtype, tolerance) in [
        (DType::F32, F32),
        (DType::F64, F64),
        (DType::F16, F16),
        (DType::I32, F32),
        (DType::I64, F64),
        (DType::I8, F32),
    ] {
        let (x, y) = match dtype.is_float() {
            true => (floats.astype(dtype), others.astype(dtype)),
            false => (integers.astype(dtype), divisors.astype(dtype)),
        };
        let mut check = |name: &str, found: &Array| {
            let key = format!("{name}/{}", dtype.short_name());
            if golden.has(&key) {
                let compared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    golden.check(&key, found, tolerance)
                }));
                if let Err(e) = compared {
                    wrong.push(e.downcast_ref::<String>().cloned().unwrap_or_default());
                }
            } else {
                // What JAX was not asked.
                assert!(
                    dtype == DType::F16 || ["gcd", "lcm"].contains(&name),
                    "{key}"
                );
            }
        };
        for (name, f) in UNARY {
            check(name, &f(&x));
        }
        for (name, f) in BINARY {
            check(name, &f(&x, &y));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn x() -> Array {
    Array::new(
        [2, 3, 4],
        (0..24).map(|i| (i as f32).sin()).collect::<Vec<f32>>(),
    )
}

fn m() -> Array {
    Array::new(
        [3, 4],
        (0..12).map(|i| (i as f32).cos()).collect::<Vec<f32>>(),
    )
}

fn cases() -> Vec<(&'static str, Array)> {
    let (x, m) = (&x(), &m());
    let v = &Array::from([1.0f32, -2.0, 0.5, 3.0]);
    let w = &Array::from([0.5f32, 2.0, -1.0, 4.0, 1.0]);
    let w4 = &w.slice_in_dim(0, 4, 0);
    let a = &Array::arange(6, DType::F32).reshape([2, 3]);
    let b = &Array::from([[1.0f32, -1.0, 2.0], [0.5, 0.0, 3.0]]);
    let s = &Array::from([3i32, 1, 4, 1, 5, 9, 2, 6]);
    let i = &Array::from([7i32, -7, 5, -5]);
    let j = &Array::from([2i32, 2, -3, -3]);
    let z = &Array::zeros([0, 3], DType::F32);
    let g = &Array::arange(96, DType::F32).sin().reshape([2, 3, 4, 4]);
    let k = &Array::arange(80, DType::F32).cos().reshape([2, 5, 2, 4]);
    let attend = nn::dot_product_attention;
    let two = |x: &Array| x.slice_in_dim(0, 2, -1);
    let square = &m.slice_in_dim(0, 3, 1);
    let eye = &Array::eye(3, DType::F32);
    let six = Array::eye(6, DType::F32) * 2.0 + 1.0;
    let six = &six.reshape([2, 3, 3, 2]);
    let row = |x: &Array| x.slice_in_dim(0, 1, 0).squeeze(0);
    let lstsq = linalg::lstsq(&m.t(), v, 4.0 * f64::from(f32::EPSILON)).unwrap();
    let unique = numpy::unique_all(s, None).unwrap();
    let (quotient, rest) = numpy::polydiv(w, &v.slice_in_dim(0, 3, 0)).unwrap();
    let histogram =
        |x: &Array, bins, range, density| numpy::histogram(x, bins, range, None, density).unwrap();
    let edges = Array::from([-0.5f32, 0.0, 0.5]);
    vec![
        ("vstack", numpy::vstack(&[v, w4])),
        ("hstack", numpy::hstack(&[a, b])),
        ("dstack", numpy::dstack(&[a, b])),
        ("column_stack", numpy::column_stack(&[v, w4])),
        (
            "array_split",
            numpy::array_split(w, 3, 0).unwrap()[1].clone(),
        ),
        ("rot90", numpy::rot90(a, 1, (0, 1))),
        ("rot90_3", numpy::rot90(x, 3, (1, 2))),
        ("resize", numpy::resize(a, [3, 5])),
        ("insert", numpy::insert(w, 2, &Array::from([9f32]), 0)),
        ("delete", numpy::delete(a, &[1], 1)),
        ("block", numpy::block(&[&[a, b], &[b, a]])),
        ("kron", numpy::kron(a, b)),
        ("inner", numpy::inner(a, b)),
        ("vdot", numpy::vdot(a, b)),
        ("vecdot", numpy::vecdot(a, b, -1)),
        ("matvec", numpy::matvec(a, &row(b))),
        ("vecmat", numpy::vecmat(&two(v), a)),
        ("cross", numpy::cross(a, b, -1)),
        ("cross_2", numpy::cross(&two(a), &two(b), -1)),
        ("cross_23", numpy::cross(&two(a), b, -1)),
        ("convolve", numpy::convolve(v, w, ConvolveMode::Full)),
        ("convolve_same", numpy::convolve(v, w, ConvolveMode::Same)),
        (
            "convolve_valid",
            numpy::convolve(w, &two(v), ConvolveMode::Valid),
        ),
        ("correlate", numpy::correlate(v, w, ConvolveMode::Valid)),
        ("correlate_full", numpy::correlate(w, v, ConvolveMode::Full)),
        ("trapezoid", numpy::trapezoid(x, 0.5, 1)),
        ("trapezoid_at", numpy::trapezoid_at(w, &(w * 2.0), -1)),
        (
            "ediff1d",
            numpy::ediff1d(a, Some(&Array::from([9f32])), None),
        ),
        ("gradient", numpy::gradient(x, &Array::from(2.0), -1)),
        (
            "gradient_at",
            numpy::gradient(a, &Array::from([0f32, 1., 3.]), 1),
        ),
        (
            "interp",
            numpy::interp(
                &Array::from([-1f32, 0., 0.5, 2.5, 9.]),
                &Array::from([0f32, 1., 3.]),
                &Array::from([5f32, 7., 1.]),
            ),
        ),
        (
            "unwrap",
            numpy::unwrap(
                &Array::from([0f32, 3., 6.5, 0.5, -3.]),
                std::f64::consts::TAU,
                -1,
            ),
        ),
        ("bartlett", numpy::bartlett(7)),
        ("blackman", numpy::blackman(7)),
        ("hamming", numpy::hamming(7)),
        ("hanning", numpy::hanning(7)),
        ("kaiser", numpy::kaiser(7, 3.0)),
        ("cov", numpy::cov(m, 1)),
        ("cov_0", numpy::cov(m, 0)),
        (
            "cov_weighted",
            numpy::cov_weighted(m, &Array::from([1f32, 2., 3., 4.]), 1),
        ),
        ("corrcoef", numpy::corrcoef(m)),
        ("histogram", histogram(x, 5, None, false).0),
        ("histogram_edges", histogram(x, 5, None, false).1),
        (
            "histogram_density",
            histogram(x, 4, Some((-0.5, 1.0)), true).0,
        ),
        (
            "histogram2d",
            numpy::histogram2d(v, w4, [2, 3], None, None).unwrap().0,
        ),
        ("digitize", numpy::digitize(x, &edges, false)),
        ("digitize_down", numpy::digitize(x, &edges.flip(()), true)),
        ("polyval", numpy::polyval(v, w)),
        ("polyadd", numpy::polyadd(v, w)),
        ("polysub", numpy::polysub(w, v)),
        ("polymul", numpy::polymul(v, w)),
        ("polydiv_0", quotient),
        ("polydiv_1", rest.slice_in_dim(2, 5, 0)),
        ("polyder", numpy::polyder(w, 2)),
        ("polyint", numpy::polyint(w, 2)),
        ("poly", numpy::poly(v)),
        (
            "polyfit",
            numpy::polyfit(&Array::arange(5, DType::F32), w, 2),
        ),
        ("vander", numpy::vander(v, 3, false)),
        ("vander_up", numpy::vander(v, 4, true)),
        ("diag_up", numpy::diag(v, 1)),
        ("diag_down", numpy::diag(m, -1)),
        ("diagonal", numpy::diagonal(x, 1, 1, 2)),
        ("diagonal_far", numpy::diagonal(a, 5, 0, 1)),
        ("trace_axes", numpy::trace(x, -1, 2, 1)),
        ("tri", numpy::tri(3, 4, 1, DType::F32)),
        ("tril_indices", numpy::tril_indices(3, 1, 4)[1].clone()),
        ("triu_indices", numpy::triu_indices(4, 0, 4)[0].clone()),
        ("meshgrid", numpy::meshgrid(&[v, w]).unwrap()[1].clone()),
        ("indices", numpy::indices([2, 3], DType::I32)),
        (
            "ravel_multi_index",
            numpy::ravel_multi_index(&[&s.modulo(3), &s.modulo(4)], [3, 4]),
        ),
        (
            "unravel_index",
            numpy::unravel_index(s, [2, 5]).unwrap()[1].clone(),
        ),
        ("logspace", numpy::logspace(0.0, 2.0, 5, 10.0, DType::F32)),
        ("geomspace", numpy::geomspace(1.0, 16.0, 5, DType::F32)),
        (
            "select_list",
            numpy::select(&[&v.lt(0), &v.gt(1)], &[&(v * 2), &(v * 3)], 7.0),
        ),
        (
            "piecewise",
            numpy::piecewise(v, &[&v.lt(0), &v.gt(1)], &[&|x| -x, &|x| x * 2]),
        ),
        (
            "choose",
            numpy::choose(&i.modulo(3), &[i, j, &(i * 10)], OutOfBounds::Clip),
        ),
        (
            "put_along_axis",
            a.put_along_axis(&Array::from([[1i32], [-1]]), 9.0, 1),
        ),
        (
            "put",
            v.put(&Array::from([0i32, -1]), Array::from([5f32, 6.])),
        ),
        ("packbits", s.gt(3).packbits(-1)),
        ("packbits_axis", x.gt(0).packbits(0)),
        ("unpackbits", s.astype(DType::U8).unpackbits(50, -1)),
        ("isin", s.isin(&Array::from([1i32, 9]))),
        ("lexsort", numpy::lexsort(&[s, &s.modulo(2)], -1)),
        ("unique_first", numpy::unique_all(s, 9).unwrap()[1].clone()),
        ("unique_inverse", unique[2].clone()),
        ("unique_counts", unique[3].clone()),
        ("union1d", numpy::union1d(s, &(s + 5), None)),
        ("setdiff1d", numpy::setdiff1d(s, &(s + 1)).unwrap()),
        ("setxor1d", numpy::setxor1d(s, &(s + 1)).unwrap()),
        ("intersect1d", numpy::intersect1d(s, &(s + 1)).unwrap()),
        ("argwhere", a.gt(2).argwhere(None)),
        ("flatnonzero", a.gt(2).flatnonzero(None)),
        ("extract", a.extract(&a.gt(2))),
        ("fill_diagonal", a.fill_diagonal(8.0)),
        ("average_full", numpy::average(a, &(b + 2), ())),
        ("var_ddof", x.var_ddof(1, 1)),
        ("std_ddof", x.std_ddof((), 2)),
        (
            "quantile_lower",
            w.quantile_by(0.3, (), QuantileMethod::Lower),
        ),
        (
            "quantile_nearest",
            w.quantile_by(0.4, (), QuantileMethod::Nearest),
        ),
        (
            "quantile_axes",
            x.quantile(Array::from([0.2f32, 0.7]), [0, 2]),
        ),
        ("ldexp", w.ldexp(&Array::from([3i32, -2, 0, 10, -140]))),
        ("empty_sum", z.sum(0)),
        ("empty_prod", z.prod(())),
        ("empty_mean", z.mean(1)),
        ("empty_concat", numpy::concatenate(&[z, a], 0)),
        ("empty_any", z.gt(0).any(())),
        ("norm_1", linalg::norm_over(m, 1, ())),
        ("norm_inf", linalg::norm_over(m, f64::INFINITY, ())),
        ("norm_2", linalg::norm_over(m, 2, ())),
        ("norm_nuc", linalg::norm_over(m, Norm::Nuc, ())),
        ("norm_m1", linalg::norm_over(m, -1, ())),
        ("vector_norm_3", linalg::norm_over(x, 3, 1)),
        ("vector_norm_0", linalg::norm_over(x, 0, -1)),
        (
            "vector_norm_minf",
            linalg::norm_over(x, f64::NEG_INFINITY, 0),
        ),
        ("matrix_norm", linalg::matrix_norm(x, Norm::Fro)),
        ("cond", linalg::cond(a, 2)),
        ("cond_1", linalg::cond(&(square + eye), 1)),
        (
            "matrix_rank",
            linalg::matrix_rank(&(m.dot(&m.t()) - eye), None),
        ),
        ("matrix_power", linalg::matrix_power(square, 5)),
        ("matrix_power_m2", linalg::matrix_power(&(square + eye), -2)),
        ("multi_dot", linalg::multi_dot(&[&two(v), a, m])),
        ("lstsq", lstsq[0].clone()),
        ("lstsq_rest", lstsq[1].clone()),
        ("lstsq_s", lstsq[3].clone()),
        ("pinv", linalg::pinv(m)),
        ("tensorinv", linalg::tensorinv(six, 2)),
        ("tensorsolve", linalg::tensorsolve(six, a, &[])),
        ("einsum_dots", numpy::einsum("...ij,kj->...ik", &[x, m])),
        (
            "einsum_broadcast",
            numpy::einsum(
                "...i,...i",
                &[&g.index((.., .., 0)), &x.slice_in_dim(0, 1, 0)],
            ),
        ),
        ("einsum_implicit_dots", numpy::einsum("i...,i...", &[x, x])),
        (
            "einsum_middle",
            numpy::einsum("b...j,...j->...b", &[&g.index((.., 0)), &m.expand_dims(1)]),
        ),
        (
            "roots",
            numpy::roots(&Array::from([1f32, -6., 11., -6.]))
                .real()
                .sort(0),
        ),
        ("cumulative_sum", numpy::cumulative_sum(a, 1, true)),
        (
            "apply_along_axis",
            numpy::apply_along_axis(|v: &Array| numpy::outer(v, &v.slice_in_dim(0, 2, 0)), 1, x),
        ),
        ("rollaxis", numpy::rollaxis(g, 3, 1)),
        (
            "trim_zeros",
            numpy::trim_zeros(&Array::from([0i32, 0, 1, 0, 2, 0])).unwrap(),
        ),
        ("log1mexp", nn::log1mexp(&Array::from([0.1f32, 1.0, 20.0]))),
        ("logmeanexp", nn::logmeanexp(x, 1)),
        (
            "attention",
            attend(g, &(g * 2), &(g + 1), &nn::DotProduct::new()),
        ),
        (
            "attention_groups",
            attend(g, k, &(k + 1), &nn::DotProduct::new().causal()),
        ),
        (
            "attention_options",
            attend(
                g,
                &(g * 2),
                g,
                &nn::DotProduct::new()
                    .bias(&x.expand_dims(1).slice_in_dim(0, 3, 3))
                    .mask(&x.gt(0).expand_dims(1).slice_in_dim(0, 3, 3))
                    .scale(0.3),
            ),
        ),
        (
            "slogdet",
            linalg::slogdet(&(square + eye)).unwrap()[1].clone(),
        ),
    ]
}

#[test]
fn functions_of_arrays_equal_jax() {
    let golden = Golden::open("numpy");
    let near = Tolerance {
        relative: 1e-4,
        absolute: 3e-5,
    };
    let mut wrong = vec![];
    for (name, found) in cases() {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            golden.check(name, &found, near)
        }));
        if let Err(e) = result {
            wrong.push(e.downcast_ref::<String>().cloned().unwrap_or_default());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
