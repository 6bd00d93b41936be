"""Writes jaxprs.txt and functions_jaxprs.txt: what jax.make_jaxpr prints for the lax-level functions, and for those of jax.nn and
jax.numpy, of tests/jaxpr_text.rs.

Run with the pinned JAX: pip install jax==0.10.2; python make_jaxprs.py
"""
import os

import jax
import jax.numpy as jnp
from jax import lax

assert jax.__version__ == "0.10.2", jax.__version__
X = jnp.ones((3, 4), jnp.float32)

CASES = {
    "sin": lax.sin,
    "neg": lax.neg,
    "exp": lax.exp,
    "log": lax.log,
    "tanh": lax.tanh,
    "logistic": lax.logistic,
    "rsqrt": lax.rsqrt,
    "erf": lax.erf,
    "abs": lax.abs,
    "is_finite": lax.is_finite,
    "round": lax.round,
    "stop_gradient": lax.stop_gradient,
    "integer_pow": lambda x: lax.integer_pow(x, 3),
    "chain": lambda x: lax.mul(lax.add(lax.sin(x), x), lax.exp(x)),
    "literal": lambda x: x * 2.0,
    "rsub": lambda x: 1 - x,
    "pow": lambda x: x**1.5,
    "compare": lambda x: lax.gt(x, x),
    "max": lambda x: lax.max(x, x),
    "rem": lambda x: lax.rem(x, x),
    "nextafter": lambda x: lax.nextafter(x, x),
    "select_n": lambda x: lax.select_n(lax.gt(x, x), x, x),
    "clamp": lambda x: lax.clamp(0.0, x, 1.0),
    "convert": lambda x: lax.convert_element_type(x, jnp.int32),
    "bitcast": lambda x: lax.bitcast_convert_type(x, jnp.int32),
    "transpose": lambda x: lax.transpose(x, (1, 0)),
    "reshape": lambda x: lax.reshape(x, (12,)),
    "squeeze": lambda x: lax.squeeze(lax.slice(x, (0, 0), (1, 4)), (0,)),
    "slice_strides": lambda x: lax.slice(x, (0, 1), (3, 4), (2, 1)),
    "broadcast_in_dim": lambda x: lax.broadcast_in_dim(x, (3, 1, 4), (0, 2)),
    "full": lambda x: lax.full((3,), 2.0),
    "iota": lambda x: lax.broadcasted_iota(jnp.int32, (3, 4), 1),
    "concatenate": lambda x: lax.concatenate([x, x], 0),
    "pad": lambda x: lax.pad(x, 0.0, ((1, 1, 0), (0, 0, 1))),
    "rev": lambda x: lax.rev(x, (0,)),
    "dynamic_slice": lambda x: lax.dynamic_slice(x, (1, 2), (2, 2)),
    "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, lax.slice(x, (0, 0), (1, 4)), (1, 0)),
    "reductions": lambda x: (
        lax.reduce_sum_p.bind(x, axes=(0,), out_sharding=None),
        lax.argmax(x, 0, jnp.int32),
    ),
    "dot_general": lambda x: lax.dot_general(x, x, (((1,), (1,)), ((), ()))),
    "dot_batched": lambda x: lax.dot_general(x, x, (((), ()), ((0,), (0,)))),
    "sort": lambda x: lax.sort(x),
    "top_k": lambda x: lax.top_k(x, 2),
    "cumsum": lambda x: lax.cumsum(x, 1),
    "jit": lambda x: jax.jit(lambda y: lax.sin(y) + x)(x),
}

@jax.jit
def square_plus(x):
    return x * x + 1


@jax.jit
def powers(x):
    for _ in range(12):
        x = x * x
    return x


def twice(x):
    wave = jax.jit(lambda y: lax.sin(y))
    other = jax.jit(lambda y: lax.cos(y))
    return wave(square_plus(x)) + other(square_plus(wave(other(x))))


FUNCTIONS = {
    "called_twice": lambda x: square_plus(x) + square_plus(x + 1),
    "called_twice_each": twice,
    "called_in_scan": lambda x: lax.scan(lambda c, y: (square_plus(square_plus(c)) + y, c), x[0], x)[1],
    "called_once_and_long": lambda x: powers(x),
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "log_sigmoid": jax.nn.log_sigmoid,
    "soft_sign": jax.nn.soft_sign,
    "gelu": jax.nn.gelu,
    "celu": jax.nn.celu,
    "hard_silu": jax.nn.hard_silu,
    "mish": jax.nn.mish,
    "squareplus": jax.nn.squareplus,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "dot": lambda x: jnp.dot(x, x.T),
    "matmul": lambda x: x @ x.T,
    "einsum": lambda x: jnp.einsum("ij,kj->ik", x, x),
    "tensordot": lambda x: jnp.tensordot(x, x, 2),
    "inner": lambda x: jnp.inner(x, x),
    "vdot": lambda x: jnp.vdot(x, x),
    "power": lambda x: x**3,
    "mean": lambda x: jnp.mean(x, 0),
    "associative_scan": lambda x: lax.associative_scan(lax.add, x, axis=1),
    "associative_scan_reverse": lambda x: lax.associative_scan(lax.mul, x, reverse=True),
    "map": lambda x: lax.map(lax.sin, x),
    "scan_unroll": lambda x: lax.scan(lambda c, y: (c + y, c), x[0], x, unroll=2)[1],
    "dynamic_slice_in_dim": lambda x: lax.dynamic_slice_in_dim(x, lax.convert_element_type(x[0, 0], jnp.int32), 2, 1),
    "batch_matmul": lambda x: lax.batch_matmul(x, lax.transpose(x, (1, 0))),
    "lax_select": lambda x: lax.select(lax.gt(x, 0.0), x, lax.neg(x)),
    "lax_clamp": lambda x: lax.clamp(0.0, x, 1.0),
    "expand_dims": lambda x: lax.expand_dims(x, (0, 3)),
    "collapse": lambda x: lax.collapse(x, 0, 2),
    "lax_dot": lambda x: lax.dot(x, lax.transpose(x, (1, 0))),
    "fft": lambda x: lax.fft(x, lax.FftType.RFFT, (4,)),
    "conv_transpose": lambda x: lax.conv_transpose(lax.reshape(x, (1, 12, 1)), lax.reshape(lax.slice(x, (0, 0), (3, 1)), (3, 1, 1)), (2,), "SAME"),
    "sort_key_val": lambda x: lax.sort_key_val(x, lax.neg(x), 0),
    "reduce_precision": lambda x: lax.reduce_precision(x, 5, 10),
    "sum_int8": lambda x: jnp.sum(lax.convert_element_type(x, jnp.int8)),
}

path = os.path.join(os.path.dirname(__file__), "jaxprs.txt")
with open(path, "w") as f:
    for name, function in CASES.items():
        f.write(f"== {name}\n{jax.make_jaxpr(function)(X)}\n")
path = os.path.join(os.path.dirname(__file__), "functions_jaxprs.txt")
with open(path, "w") as f:
    for name, function in FUNCTIONS.items():
        f.write(f"== {name}\n{jax.make_jaxpr(function)(X)}\n")
print(len(CASES) + len(FUNCTIONS), "programs")
