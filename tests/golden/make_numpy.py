"""Writes numpy.safetensors: what jax.numpy gives for the functions that tests/numpy.rs calls.

Run with the pinned JAX: pip install jax==0.10.2 safetensors; python make_numpy.py
"""
import os

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

assert jax.__version__ == "0.10.2", jax.__version__
X = jnp.asarray(np.sin(np.arange(24, dtype=np.float32)).reshape(2, 3, 4))
M = jnp.asarray(np.cos(np.arange(12, dtype=np.float32)).reshape(3, 4))
V = jnp.asarray([1.0, -2.0, 0.5, 3.0], jnp.float32)
I = jnp.asarray([7, -7, 5, -5], jnp.int32)
J = jnp.asarray([2, 2, -3, -3], jnp.int32)

CASES = {
    "concatenate": jnp.concatenate([X, X * 2], axis=1),
    "stack": jnp.stack([M, M + 1], axis=-1),
    "flip": jnp.flip(X, (0, 2)),
    "roll": jnp.roll(X, 3, axis=2),
    "roll_negative": jnp.roll(X, -1, axis=1),
    "tile": jnp.tile(M, (2, 1, 2)),
    "repeat": jnp.repeat(M, 2, axis=0),
    "swapaxes": jnp.swapaxes(X, 0, 2),
    "moveaxis": jnp.moveaxis(X, 0, -1),
    "pad": jnp.pad(M, ((1, 2), (0, 1)), constant_values=5),
    "squeeze": jnp.squeeze(X[None, :, :, :1]),
    "tril": jnp.tril(X, 1),
    "triu": jnp.triu(X, -1),
    "diag": jnp.diag(V),
    "trace": jnp.trace(M @ M.T),
    "var": jnp.var(X, axis=(0, 2)),
    "std": jnp.std(X),
    "logsumexp": jax.scipy.special.logsumexp(X * 50, axis=-1),
    "argmax": jnp.argmax(X, axis=1),
    "argmin": jnp.argmin(X, axis=-1),
    "any": jnp.any(X > 0.9, axis=2),
    "all": jnp.all(X > -0.9, axis=2),
    "clip": jnp.clip(V, -1, 1),
    "floor_divide": I // J,
    "mod": I % J,
    "float_mod": V % 0.75,
    "logaddexp": jnp.logaddexp(V * 40, V[::-1] * 40),
    "hypot": jnp.hypot(V, V[::-1]),
    "arange": jnp.arange(1.0, 2.0, 0.25),
    "linspace": jnp.linspace(-1.0, 2.0, 7),
    "einsum_matmul": jnp.einsum("ij,kj->ik", M, M),
    "einsum_three": jnp.einsum("bij,kj,b->kib", X, M, V[:2]),
    "einsum_diagonal": jnp.einsum("ii->i", M @ M.T),
    "einsum_implicit": jnp.einsum("bij,ij", X, M),
    "outer": jnp.outer(V, V),
    "tensordot": jnp.tensordot(X, M, 2),
    "matmul_batched": jnp.matmul(X, jnp.swapaxes(X, 1, 2)),
    "matmul_broadcast": jnp.matmul(X, M.T),
    "matmul_vector": jnp.matmul(V, jnp.swapaxes(X, 1, 2)),
    "prod": jnp.prod(X, axis=1),
    "where": jnp.where(X > 0, X, 0),
    "average": jnp.average(M, axis=1, weights=V),
}

# Functions of one array and of two, over element types; with NaN, infinities, both zeros and the edges of the type.
FLOATS = [-2.5, -1.0, -0.0, 0.0, 0.5, 1.5, 3.0, np.nan, np.inf, -np.inf, 1e-4, 7.25]
OTHERS = [2.0, -0.75, 1.0, 0.0, np.nan, 0.5, -2.0, 1.0, np.inf, 3.0, 2.0, -1.5]
INTS = [-7, -2, 0, 1, 3, 8, 12, 100]
DIVISORS = [3, -2, 5, 0, -3, 12, 8, 7]
TYPES = {
    "f32": (np.float32, FLOATS, OTHERS), "f64": (np.float64, FLOATS, OTHERS), "f16": (np.float16, FLOATS, OTHERS),
    "i32": (np.int32, INTS, DIVISORS), "i64": (np.int64, INTS, DIVISORS), "i8": (np.int8, INTS, DIVISORS),
}
UNARY = {
    "sinc": jnp.sinc, "log2": jnp.log2, "log10": jnp.log10, "trunc": jnp.trunc, "rint": jnp.rint, "round": jnp.round,
    "round_1": lambda x: jnp.round(x, 1), "reciprocal": jnp.reciprocal, "deg2rad": jnp.deg2rad, "rad2deg": jnp.rad2deg,
    "nan_to_num": jnp.nan_to_num, "signbit": jnp.signbit, "fabs": jnp.fabs, "i0": jnp.i0, "angle": jnp.angle,
    "modf_0": lambda x: jnp.modf(x)[0], "modf_1": lambda x: jnp.modf(x)[1], "frexp_0": lambda x: jnp.frexp(x)[0],
    "frexp_1": lambda x: jnp.frexp(x)[1], "spacing": jnp.spacing, "isposinf": jnp.isposinf, "nansum": jnp.nansum,
    "nanprod": jnp.nanprod, "nanmax": jnp.nanmax, "nanmin": jnp.nanmin, "nanmean": jnp.nanmean, "nanvar": jnp.nanvar,
    "nanstd": jnp.nanstd, "nanmedian": jnp.nanmedian, "nanargmax": lambda x: jnp.nanargmax(x).astype(jnp.int32), "nanargmin": lambda x: jnp.nanargmin(x).astype(jnp.int32),
    "nancumsum": jnp.nancumsum, "count_nonzero": lambda x: jnp.count_nonzero(x).astype(jnp.int32), "median": jnp.median, "ptp": jnp.ptp, "diff": jnp.diff,
    "diff_2": lambda x: jnp.diff(x, 2), "nanquantile": lambda x: jnp.nanquantile(x, jnp.array([0.1, 0.9])),
}
BINARY = {
    "power": jnp.power, "float_power": jnp.float_power, "fmod": jnp.fmod, "remainder": jnp.remainder,
    "floor_divide": jnp.floor_divide, "logaddexp": jnp.logaddexp, "logaddexp2": jnp.logaddexp2, "heaviside": jnp.heaviside,
    "hypot": jnp.hypot, "copysign": jnp.copysign, "nextafter": jnp.nextafter, "fmax": jnp.fmax, "fmin": jnp.fmin,
    "isclose": jnp.isclose, "arctan2": jnp.arctan2,
}
INTEGERS = {"gcd": jnp.gcd, "lcm": jnp.lcm}
for short, (dtype, x, y) in TYPES.items():
    with jax.enable_x64(short.endswith("64")):
        x, y = jnp.asarray(x, dtype), jnp.asarray(y, dtype)
        CASES |= {f"{name}/{short}": f(x) for name, f in UNARY.items() if short != "f16" or name not in ("nanvar", "nanstd", "spacing")}
        CASES |= {f"{name}/{short}": f(x, y) for name, f in BINARY.items()}
        if short.startswith("i"):
            CASES |= {f"{name}/{short}": f(x, y) for name, f in INTEGERS.items()}

W = jnp.asarray([0.5, 2.0, -1.0, 4.0, 1.0], jnp.float32)
A, B = jnp.arange(6.0).reshape(2, 3), jnp.asarray([[1.0, -1.0, 2.0], [0.5, 0.0, 3.0]])
S = jnp.asarray([3, 1, 4, 1, 5, 9, 2, 6], jnp.int32)
Z = jnp.zeros((0, 3))
CASES |= {
    "vstack": jnp.vstack([V, W[:4]]), "hstack": jnp.hstack([A, B]), "dstack": jnp.dstack([A, B]),
    "column_stack": jnp.column_stack([V, W[:4]]), "array_split": jnp.array_split(W, 3)[1], "rot90": jnp.rot90(A),
    "rot90_3": jnp.rot90(X, 3, (1, 2)), "resize": jnp.resize(A, (3, 5)), "insert": jnp.insert(W, 2, 9.0),
    "delete": jnp.delete(A, jnp.asarray([1]), axis=1), "block": jnp.block([[A, B], [B, A]]), "kron": jnp.kron(A, B),
    "inner": jnp.inner(A, B), "vdot": jnp.vdot(A, B), "vecdot": jnp.vecdot(A, B), "matvec": jnp.matvec(A, B[0]),
    "vecmat": jnp.vecmat(V[:2], A), "cross": jnp.cross(A, B), "cross_2": jnp.cross(A[:, :2], B[:, :2]), "cross_23": jnp.cross(A[:, :2], B),
    "convolve": jnp.convolve(V, W), "convolve_same": jnp.convolve(V, W, mode="same"), "convolve_valid": jnp.convolve(W, V[:2], mode="valid"),
    "correlate": jnp.correlate(V, W), "correlate_full": jnp.correlate(W, V, mode="full"), "trapezoid": jnp.trapezoid(X, dx=0.5, axis=1),
    "trapezoid_at": jnp.trapezoid(W, W * 2), "ediff1d": jnp.ediff1d(A, to_begin=jnp.asarray([9.0])), "gradient": jnp.gradient(X, 2.0, axis=-1),
    "gradient_at": jnp.gradient(A, jnp.asarray([0.0, 1.0, 3.0]), axis=1),
    "interp": jnp.interp(jnp.asarray([-1.0, 0.0, 0.5, 2.5, 9.0]), jnp.asarray([0.0, 1.0, 3.0]), jnp.asarray([5.0, 7.0, 1.0])),
    "unwrap": jnp.unwrap(jnp.asarray([0.0, 3.0, 6.5, 0.5, -3.0])), "bartlett": jnp.bartlett(7), "blackman": jnp.blackman(7),
    "hamming": jnp.hamming(7), "hanning": jnp.hanning(7), "kaiser": jnp.kaiser(7, 3.0), "cov": jnp.cov(M), "cov_0": jnp.cov(M, ddof=0),
    "cov_weighted": jnp.cov(M, aweights=jnp.asarray([1.0, 2.0, 3.0, 4.0])), "corrcoef": jnp.corrcoef(M),
    "histogram": jnp.histogram(X, 5)[0], "histogram_edges": jnp.histogram(X, 5)[1], "histogram_density": jnp.histogram(X, 4, (-0.5, 1.0), density=True)[0],
    "histogram2d": jnp.histogram2d(V, W[:4], (2, 3))[0].astype(jnp.float32), "digitize": jnp.digitize(X, jnp.asarray([-0.5, 0.0, 0.5])),
    "digitize_down": jnp.digitize(X, jnp.asarray([0.5, 0.0, -0.5]), right=True), "polyval": jnp.polyval(V, W), "polyadd": jnp.polyadd(V, W),
    "polysub": jnp.polysub(W, V), "polymul": jnp.polymul(V, W), "polydiv_0": jnp.polydiv(W, V[:3])[0], "polydiv_1": jnp.polydiv(W, V[:3])[1][2:],
    "polyder": jnp.polyder(W, 2), "polyint": jnp.polyint(W, 2), "poly": jnp.poly(V), "polyfit": jnp.polyfit(jnp.arange(5.0), W, 2),
    "vander": jnp.vander(V, 3), "vander_up": jnp.vander(V, 4, increasing=True), "diag_up": jnp.diag(V, 1), "diag_down": jnp.diag(M, -1),
    "diagonal": jnp.diagonal(X, 1, 1, 2), "diagonal_far": jnp.diagonal(A, 5), "trace_axes": jnp.trace(X, -1, 2, 1), "tri": jnp.tri(3, 4, 1),
    "tril_indices": jnp.tril_indices(3, 1, 4)[1], "triu_indices": jnp.triu_indices(4)[0], "meshgrid": jnp.meshgrid(V, W)[1],
    "indices": jnp.indices((2, 3)), "ravel_multi_index": jnp.ravel_multi_index((S % 3, S % 4), (3, 4), mode="clip"),
    "unravel_index": jnp.unravel_index(S, (2, 5))[1], "logspace": jnp.logspace(0.0, 2.0, 5), "geomspace": jnp.geomspace(1.0, 16.0, 5),
    "select_list": jnp.select([V < 0, V > 1], [V * 2, V * 3], 7.0), "piecewise": jnp.piecewise(V, [V < 0, V > 1], [lambda x: -x, lambda x: x * 2]),
    "choose": jnp.choose(I % 3, [I, J, I * 10], mode="clip"), "put_along_axis": jnp.put_along_axis(A, jnp.asarray([[1], [-1]]), 9.0, 1, inplace=False),
    "put": jnp.put(V, jnp.asarray([0, -1]), jnp.asarray([5.0, 6.0]), inplace=False), "packbits": jnp.packbits(S > 3), "packbits_axis": jnp.packbits(X > 0, axis=0),
    "unpackbits": jnp.unpackbits(S.astype(jnp.uint8), count=50), "isin": jnp.isin(S, jnp.asarray([1, 9])), "lexsort": jnp.lexsort((S, S % 2)),
    "unique_first": jnp.unique(S, size=9, return_index=True)[1], "unique_inverse": jnp.unique(S, return_inverse=True)[1],
    "unique_counts": jnp.unique(S, return_counts=True)[1], "union1d": jnp.union1d(S, S + 5), "setdiff1d": jnp.setdiff1d(S, S + 1),
    "setxor1d": jnp.setxor1d(S, S + 1), "intersect1d": jnp.intersect1d(S, S + 1), "argwhere": jnp.argwhere(A > 2), "flatnonzero": jnp.flatnonzero(A > 2),
    "extract": jnp.extract(A > 2, A), "fill_diagonal": jnp.fill_diagonal(A, 8.0, inplace=False), "average_full": jnp.average(A, weights=B + 2),
    "var_ddof": jnp.var(X, axis=1, ddof=1), "std_ddof": jnp.std(X, ddof=2), "quantile_lower": jnp.quantile(W, 0.3, method="lower"),
    "quantile_nearest": jnp.quantile(W, 0.4, method="nearest"), "quantile_axes": jnp.quantile(X, jnp.asarray([0.2, 0.7]), axis=(0, 2)),
    "ldexp": jnp.ldexp(W, jnp.asarray([3, -2, 0, 10, -140])), "empty_sum": jnp.sum(Z, 0), "empty_prod": jnp.prod(Z), "empty_mean": jnp.mean(Z, 1),
    "empty_concat": jnp.concatenate([Z, A]), "empty_any": jnp.any(Z > 0), "norm_1": jnp.linalg.norm(M, 1), "norm_inf": jnp.linalg.norm(M, jnp.inf),
    "norm_2": jnp.linalg.norm(M, 2), "norm_nuc": jnp.linalg.norm(M, "nuc"), "norm_m1": jnp.linalg.norm(M, -1), "vector_norm_3": jnp.linalg.norm(X, 3, axis=1),
    "vector_norm_0": jnp.linalg.norm(X, 0, axis=-1), "vector_norm_minf": jnp.linalg.norm(X, -jnp.inf, axis=0), "matrix_norm": jnp.linalg.matrix_norm(X),
    "cond": jnp.linalg.cond(A), "cond_1": jnp.linalg.cond(M[:, :3] + jnp.eye(3), 1), "matrix_rank": jnp.linalg.matrix_rank(M @ M.T - jnp.eye(3)),
    "matrix_power": jnp.linalg.matrix_power(M[:, :3], 5), "matrix_power_m2": jnp.linalg.matrix_power(M[:, :3] + jnp.eye(3), -2),
    "multi_dot": jnp.linalg.multi_dot([V[:2], A, M]), "lstsq": jnp.linalg.lstsq(M.T, V)[0], "lstsq_rest": jnp.linalg.lstsq(M.T, V)[1],
    "lstsq_s": jnp.linalg.lstsq(M.T, V)[3], "pinv": jnp.linalg.pinv(M), "tensorinv": jnp.linalg.tensorinv((jnp.eye(6) * 2 + 1).reshape(2, 3, 3, 2), 2),
    "tensorsolve": jnp.linalg.tensorsolve((jnp.eye(6) * 2 + 1).reshape(2, 3, 3, 2), A), "slogdet": jnp.linalg.slogdet(M[:, :3] + jnp.eye(3))[1],
}

G = jnp.sin(jnp.arange(96.0)).reshape(2, 3, 4, 4)
K = jnp.cos(jnp.arange(80.0)).reshape(2, 5, 2, 4)
attend = jax.nn.dot_product_attention
CASES |= {
    "einsum_dots": jnp.einsum("...ij,kj->...ik", X, M), "einsum_broadcast": jnp.einsum("...i,...i", G[:, :, 0], X[:1]),
    "einsum_implicit_dots": jnp.einsum("i...,i...", X, X), "einsum_middle": jnp.einsum("b...j,...j->...b", G[:, 0], M[:, None]),
    "roots": jnp.sort(jnp.roots(jnp.asarray([1.0, -6.0, 11.0, -6.0])).real), "cumulative_sum": jnp.cumulative_sum(A, axis=1, include_initial=True),
    "apply_along_axis": jnp.apply_along_axis(lambda v: jnp.outer(v, v[:2]), 1, X), "rollaxis": jnp.rollaxis(G, 3, 1),
    "trim_zeros": jnp.trim_zeros(jnp.asarray([0, 0, 1, 0, 2, 0])), "log1mexp": jax.nn.log1mexp(jnp.asarray([0.1, 1.0, 20.0])),
    "logmeanexp": jax.nn.logmeanexp(X, axis=1), "attention": attend(G, G * 2, G + 1), "attention_groups": attend(G, K, K + 1, is_causal=True),
    "attention_options": attend(G, G * 2, G, bias=X[:, None, :, :3], mask=(X > 0)[:, None, :, :3], scale=0.3),
}

out = {name: np.array(y, order="C") for name, y in CASES.items()}
path = os.path.join(os.path.dirname(__file__), "numpy.safetensors")
save_file(out, path)
print(len(out), "cases,", os.path.getsize(path), "bytes")
