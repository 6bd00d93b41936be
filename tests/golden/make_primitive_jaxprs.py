"""Writes primitive_jaxprs.txt: what jax.make_jaxpr prints for the primitives of tests/primitives_text.rs.

Run with the pinned JAX: pip install jax==0.10.2; python make_primitive_jaxprs.py
"""
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax._src.lax import windowed_reductions as wr
from jax.lax import linalg

assert jax.__version__ == "0.10.2", jax.__version__
X = jnp.ones((4, 4), jnp.float32)
ZERO = np.float32(0)
integers = lambda x: lax.convert_element_type(x, jnp.int32)
complexes = lambda x: lax.complex(x, x)
ROWS = lax.ScatterDimensionNumbers((1,), (0,), (0,))
AT = jnp.array([[1], [3]], jnp.int32)

SIZES = jnp.array([1, 2], jnp.int32)
CONTRACTING = lax.RaggedDotDimensionNumbers(
    dot_dimension_numbers=(([0], [0]), ([], [])), lhs_ragged_dimensions=[0], rhs_group_dimensions=[]
)

CASES = {
    "split": lambda x: lax.split(x, (1, 3), 0),
    "stack": lambda x: lax.stack([x, x], 1),
    "unstack": lambda x: lax.unstack(x, 1),
    "tile": lambda x: lax.tile(x, (2, 3)),
    "copy": lambda x: jnp.copy(x),
    "optimization_barrier": lambda x: lax.optimization_barrier((x, x)),
    "reduce_precision": lambda x: lax.reduce_precision(x, 5, 3),
    "round_even": lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN),
    "exp2": lax.exp2,
    "mulhi": lambda x: lax.mulhi(integers(x), integers(x)),
    "shifts": lambda x: lax.shift_right_logical(integers(x), integers(x)),
    "fft": lambda x: lax.fft_p.bind(complexes(x), fft_type=lax.FftType.FFT, fft_lengths=(4, 4)),
    "rfft": lambda x: lax.fft_p.bind(x, fft_type=lax.FftType.RFFT, fft_lengths=(4,)),
    "irfft": lambda x: lax.fft_p.bind(complexes(x), fft_type=lax.FftType.IRFFT, fft_lengths=(6,)),
    "rng_bit_generator": lambda x: lax.rng_bit_generator(lax.convert_element_type(x[0], jnp.uint32), (5,)),
    "reduce_sum": lambda x: lax.reduce_sum(x, (0,)),
    "reduce_prod": lambda x: lax.reduce_prod(x, (0,)),
    "reduce_max": lambda x: lax.reduce_max(x, (0, 1)),
    "reduce_and": lambda x: lax.reduce_and(integers(x), (0,)),
    "reduce_xor": lambda x: lax.reduce_xor(integers(x), (1,)),
    "argmin": lambda x: lax.argmin(x, 1, jnp.int32),
    "cummax": lambda x: lax.cummax(x, 0, reverse=True),
    "cumlogsumexp": lambda x: lax.cumlogsumexp(x, 0),
    "reduce_window": lambda x: lax.reduce_window(x, ZERO, lambda a, b: a * b + 1, (1, 2), (1, 2), "VALID"),
    "reduce_window_max": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 2), "SAME"),
    "select_and_scatter": lambda x: wr._select_and_scatter(x, lax.ge, (1, 2), (1, 2), ((0, 0), (0, 0)), lax.slice(x, (0, 0), (4, 2)), ZERO, lax.add),
    "scatter_apply": lambda x: lax.scatter_apply(x, AT, lambda s: s * 2 + 1, ROWS, update_shape=(2, 4)),
    "scatter_add": lambda x: lax.scatter_add(x, AT, lax.slice(x, (0, 0), (2, 4)), ROWS),
    "igamma": lambda x: lax.igamma(x, x),
    "betainc": lambda x: lax.betainc(x, x, x),
    "zeta": lambda x: lax.zeta(x, x),
    "polygamma": lambda x: lax.polygamma(x, x),
    "bessel": lambda x: lax.bessel_i1e(lax.bessel_i0e(x)),
    "eig": lambda x: linalg.eig(x, compute_left_eigenvectors=False),
    "hessenberg": linalg.hessenberg,
    "tridiagonal": lambda x: linalg.tridiagonal(x),
    "householder_product": lambda x: linalg.householder_product(x, lax.reduce_max(x, (0,))),
    "symmetric_product": lambda x: linalg.symmetric_product(x, x, alpha=2.0),
    "triangular_solve": lambda x: linalg.triangular_solve(x, x, left_side=True, lower=True),
    "lu": lambda x: linalg.lu(x),
    "svd": lambda x: linalg.svd(x, full_matrices=False)[1],
    "qr": lambda x: linalg.qr(x, full_matrices=False),
    "qr_pivoting": lambda x: linalg.qr(x, pivoting=True),
    "ragged_dot": lambda x: lax.ragged_dot(x, lax.reshape(x, (2, 4, 2)), SIZES),
    "ragged_dot_contracting": lambda x: lax.ragged_dot_general(x, x, SIZES, CONTRACTING, precision=lax.Precision.HIGHEST),
}

path = os.path.join(os.path.dirname(__file__), "primitive_jaxprs.txt")
with open(path, "w") as f:
    for name, function in CASES.items():
        f.write(f"== {name}\n{jax.make_jaxpr(function)(X)}\n")
print(len(CASES), "programs")
