"""Makes `prng.txt` beside this file: what jax.random draws with each of its implementations, bit for bit.

    python3.11 -m venv /tmp/golden
    /tmp/golden/bin/pip install jax==0.10.2
    JAX_PLATFORMS=cpu /tmp/golden/bin/python tests/golden/make_prng.py

A line holds the implementation, what was drawn with `jax.random.key(7)`, and the words of it: keys, bits, or the bits of floats.
"""

import pathlib

import jax
import jax.random as jr
import numpy as np

assert jax.__version__ == "0.10.2"
lines = []
for impl in ["threefry2x32", "rbg", "unsafe_rbg"]:
    key = jr.key(7, impl=impl)
    drawn = {
        "key": jr.key_data(key),
        "split": jr.key_data(jr.split(key, 3)),
        "split_2x2": jr.key_data(jr.split(key, (2, 2))),
        "fold_in": jr.key_data(jr.fold_in(key, 5)),
        "bits": jr.bits(key, (5,)),
        "bits_2x3": jr.bits(key, (2, 3)),
        "uniform": jr.uniform(key, (4,)),
        "normal": jr.normal(key, (4,)),
        "normal_of_split": jr.normal(jr.split(key)[1], (3,)),
    }
    for name, x in drawn.items():
        words = np.asarray(x).reshape(-1).view(np.uint32)
        lines.append(" ".join([impl, name, *map(str, words)]))
(pathlib.Path(__file__).parent / "prng.txt").write_text("\n".join(lines) + "\n")
