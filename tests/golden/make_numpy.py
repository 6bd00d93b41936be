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

out = {name: np.array(y, order="C") for name, y in CASES.items()}
path = os.path.join(os.path.dirname(__file__), "numpy.safetensors")
save_file(out, path)
print(len(out), "cases,", os.path.getsize(path), "bytes")
