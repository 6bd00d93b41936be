"""The cost of dispatch beside Quax: `cargo bench --bench dispatch` and the same programs in Quax, in one run.

    python3 -m venv target/peers/dispatch
    target/peers/dispatch/bin/pip install jax==0.10.2 equinox==0.13.8 quax==0.4.6
    target/peers/dispatch/bin/python benches/peers/dispatch.py

Prints a line for each program: microseconds here and there, and how many times longer Quax takes. `--bench PATH` takes a built benchmark.
"""

import json
import pathlib
import subprocess
import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import quax
from quax.examples import lora, named, prng, sparse, structured_matrices, unitful, zero

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = jr.PRNGKey(0)


def cases():
    w, x = jr.normal(KEY, (12, 10)), jr.normal(KEY, (10,))
    square = jr.normal(KEY, (10, 10))
    product = lambda w, x: jax.lax.dot_general(w, x, (((1,), (0,)), ((), ())))
    energy = lambda m, v: m * v**2
    kept = jnp.argwhere(square > 1.0)
    bcoo = sparse.BCOO(square[kept[:, 0], kept[:, 1]], kept, (10, 10), allow_materialise=False)
    out, into = named.Axis(12), named.Axis(10)
    band = structured_matrices.TridiagonalMatrix(
        lower_diag=x[1:], main_diag=x, upper_diag=x[1:], allow_materialise=False
    )
    speed = {unitful.meters: 1, unitful.seconds: -1}
    return [
        ("dense", product, w, x),
        ("lora", product, lora.LoraArray(w, rank=2, key=KEY), x),
        ("unitful", energy, unitful.Unitful(x, unitful.kilograms), unitful.Unitful(x, speed)),
        ("named", product, named.NamedArray(w, (out, into), False), named.NamedArray(x, (into,), False)),
        ("sparse", lambda s, x: s * x, bcoo, square),
        ("zero", lambda z, x: z * x + x, zero.Zero((10,), jnp.float32), x),
        ("tridiagonal", product, band, x),
        ("prng", lambda a, b: jnp.where(True, a, b), prng.ThreeFry(0), prng.ThreeFry(1)),
    ]


def least(f, calls):
    """Microseconds a call, the best of some rounds."""
    jax.block_until_ready(f())
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(calls):
            y = f()
        jax.block_until_ready(jax.tree_util.tree_leaves(y))
        best = min(best, (time.perf_counter() - start) / calls)
    return best * 1e6


def here(name):
    """What criterion measured, in microseconds."""
    path = ROOT / "target/criterion" / name / "new/estimates.json"
    return json.loads(path.read_text())["median"]["point_estimate"] / 1e3


def main():
    command = ["cargo", "bench", "--bench", "dispatch", "--"]
    if "--bench" in sys.argv:
        command = [sys.argv[sys.argv.index("--bench") + 1], "--bench"]
    subprocess.run(command + ["--noplot", "--measurement-time", "2", "--warm-up-time", "1"],
                   cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    print(f"{'program':<24}{'quaxide µs':>12}{'quax µs':>12}{'ratio':>9}")
    for name, f, a, b in cases():
        eager = quax.quaxify(f)
        jitted = eqx.filter_jit(eager)
        for how, g, calls in (("quaxify", eager, 50), ("jit", jitted, 500)):
            theirs = least(lambda: g(a, b), calls)
            ours = here(f"{how} {name}")
            print(f"{how + ' ' + name:<24}{ours:>12.2f}{theirs:>12.2f}{theirs / ours:>9.1f}")


if __name__ == "__main__":
    main()
