"""Golden random numbers: what `jax.random` draws, for `tests/random.rs`.

    python -m venv .venv && .venv/bin/pip install jax==0.10.2
    .venv/bin/python tests/golden/make_random.py > tests/golden/random.txt

Made on an x86-64 CPU with fused multiply-add, whose generated code the Rust functions follow.
One line a case: its name, its element type, its shape, a checksum over the bits of all elements
(the sum modulo 2^64 of each element's bits times an odd weight 2i + 1; a complex number is two
elements), and the bits of the first eight.
"""

import jax
import jax.numpy as jnp
import numpy as np

R = jax.random
assert jax.__version__ == "0.10.2" and jax.config.jax_threefry_partitionable
KEY = R.key(42)
N = 10007
FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = [s + str(w) for s in ("int", "uint") for w in (8, 16, 32, 64)]


def emit(name, x):
    x = np.asarray(x)
    dtype = x.dtype.name
    if x.dtype.kind == "c":
        flat = x.ravel().view(x.real.dtype)
    elif x.dtype.kind == "b":
        flat = x.ravel().astype(np.uint8)
    else:
        flat = x.ravel()
    bits = flat.view(f"uint{8 * flat.dtype.itemsize}").astype(np.uint64)
    weights = 2 * np.arange(bits.size, dtype=np.uint64) + 1
    checksum = int((bits * weights).sum(dtype=np.uint64))
    shape = ",".join(map(str, x.shape)) or "-"
    print(name, dtype, shape, f"{checksum:x}", *(f"{int(b):x}" for b in bits[:8]))


def wide(dtype):
    return jax.enable_x64(dtype.endswith("64") or dtype == "complex128")


def case(name, dtypes, draw, shape=(N,)):
    for dtype in dtypes:
        with wide(dtype):
            emit(name, draw(KEY, shape, jnp.dtype(dtype)))


with jax.enable_x64(True):
    emit("split", R.key_data(R.split(KEY, 5)))
    emit("split_shape", R.key_data(R.split(KEY, (2, 3))))
    emit("fold_in", R.key_data(R.fold_in(KEY, 2**31 + 7)))
    emit("seed", R.key_data(R.key(2**35 + 11)))

case("bits", INTEGERS[4:], R.bits)
case("bits_matrix", INTEGERS[4:], R.bits, (3, 5))
case("bits_scalar", INTEGERS[4:], R.bits, ())
case("uniform", FLOATS, R.uniform)
case("uniform_range", FLOATS, lambda k, s, d: R.uniform(k, s, d, -0.3, 2.9))
case("uniform_offset", FLOATS, lambda k, s, d: R.uniform(k, s, d, 100.0, 101.3))
case("normal", FLOATS, R.normal)
case("normal", ["complex64", "complex128"], R.normal)
case("truncated_normal", FLOATS, lambda k, s, d: R.truncated_normal(k, d.type(-1.5), d.type(2), s, d))
case("exponential", FLOATS, R.exponential)
case("gumbel", FLOATS, R.gumbel)
case("laplace", FLOATS, R.laplace)
case("logistic", FLOATS, R.logistic)
case("cauchy", FLOATS, R.cauchy)
case("rademacher", ["int32", "float32", "int8", "int64", "float64"], R.rademacher)
for dtype in FLOATS:
    case("bernoulli_" + dtype, [dtype], lambda k, s, d: R.bernoulli(k, d.type(0.3), s))
for low, high in [(0, 10), (-5, 100), (0, 127), (7, 8), (9, 3)]:
    case(f"randint {low} {high}".replace(" ", "_"), INTEGERS, lambda k, s, d: R.randint(k, s, max(low, np.iinfo(d).min), high, d))
for dtype in INTEGERS:
    with jax.enable_x64(True):
        info = np.iinfo(dtype)
        high = np.array(int(info.max), dtype)
        emit("randint_full", R.randint(KEY, (N,), np.array(int(info.min), dtype), high, dtype))
        if dtype not in ("int64", "uint64"):
            emit("randint_whole", R.randint(KEY, (N,), int(info.min), int(info.max) + 1, dtype))

case("permutation", ["int32"], lambda k, s, d: R.permutation(k, 1000))
case("permutation_large", ["int32"], lambda k, s, d: R.permutation(k, 3000))
GRID = np.arange(60, dtype=np.float32).reshape(4, 5, 3)
emit("permutation_axis0", R.permutation(KEY, GRID))
emit("permutation_axis1", R.permutation(KEY, GRID, axis=1))
emit("permutation_independent", R.permutation(KEY, GRID, axis=1, independent=True))
emit("choice", R.choice(KEY, 50, (N,)))
emit("choice_array", R.choice(KEY, GRID, (6, 2), axis=1))
emit("choice_no_replace", R.choice(KEY, 50, (20,), replace=False))
P = np.array([0.1, 0.2, 0.05, 0.4, 0.25], np.float32)
emit("choice_p", R.choice(KEY, 5, (N,), p=P))
emit("choice_p_no_replace", R.choice(KEY, 5, (3,), replace=False, p=P))
LOGITS = np.log(np.arange(1, 13, dtype=np.float32)).reshape(3, 4)
emit("categorical", R.categorical(KEY, LOGITS))
emit("categorical_axis0", R.categorical(KEY, LOGITS, axis=0))
emit("categorical_many", R.categorical(KEY, LOGITS, shape=(1000, 3)))
emit("categorical_no_replace", R.categorical(KEY, LOGITS, shape=(2, 3), replace=False))

M = 1000
case("gamma", ["float32", "float64"], lambda k, s, d: R.gamma(k, d.type(2.5), s, d), (M,))
case("gamma_small", ["float32", "float64"], lambda k, s, d: R.gamma(k, d.type(0.3), s, d), (M,))
case("loggamma", ["float32", "float64"], lambda k, s, d: R.loggamma(k, d.type(0.3), s, d), (M,))
case("beta", ["float32", "float64"], lambda k, s, d: R.beta(k, d.type(2), d.type(0.7), s, d), (M,))
case("dirichlet", ["float32"], lambda k, s, d: R.dirichlet(k, jnp.array([1, 2, 0.5], d), s, d), (M,))
case("chisquare", ["float32", "float64"], lambda k, s, d: R.chisquare(k, d.type(3), shape=s, dtype=d), (M,))
case("t", ["float32", "float64"], lambda k, s, d: R.t(k, d.type(3), s, d), (M,))
case("pareto", ["float32", "float64"], lambda k, s, d: R.pareto(k, d.type(3), s, d), (M,))
case("weibull_min", ["float32", "float64"], lambda k, s, d: R.weibull_min(k, d.type(2), d.type(1.5), s, d), (M,))
case("rayleigh", ["float32", "float64"], lambda k, s, d: R.rayleigh(k, d.type(2), s, d), (M,))
case("maxwell", ["float32", "float64"], R.maxwell, (M,))
case("double_sided_maxwell", ["float32"], lambda k, s, d: R.double_sided_maxwell(k, d.type(1), d.type(2), s, d), (M,))
case("wald", ["float32", "float64"], lambda k, s, d: R.wald(k, d.type(1.5), s, d), (M,))
case("generalized_normal", ["float64"], lambda k, s, d: R.generalized_normal(k, 1.5, s, d), (M,))
case("ball", ["float64"], lambda k, s, d: R.ball(k, 3, 1.5, s[:1], d), (M, 3))
case("lognormal", ["float32", "float64"], lambda k, s, d: R.lognormal(k, d.type(0.5), s, d), (M,))
case("triangular", ["float32", "float64"], lambda k, s, d: R.triangular(k, d.type(-1), d.type(0.25), d.type(2), s, d), (M,))
case("poisson", ["int32"], lambda k, s, d: R.poisson(k, jnp.float32(3.5), s, d), (M,))
case("poisson_large", ["int32"], lambda k, s, d: R.poisson(k, jnp.float32(77.0), s, d), (M,))
case("geometric", ["int32"], lambda k, s, d: R.geometric(k, jnp.float32(0.2), s, d), (M,))
case("poisson_small", ["int32"], lambda k, s, d: R.poisson(k, jnp.float32(0.3), s, d), (M,))
case("f", ["float32", "float64"], lambda k, s, d: R.f(k, d.type(3), d.type(5), s, d), (M,))
case("binomial", ["float32", "float64"], lambda k, s, d: R.binomial(k, 12, d.type(0.3), s, d), (M,))
case("binomial_large", ["float32", "float64"], lambda k, s, d: R.binomial(k, 200, d.type(0.7), s, d), (M,))
case("multinomial", ["float32"], lambda k, s, d: R.multinomial(k, 50, jnp.array([[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.5, 0]], d)), (2, 4))
MEAN, COV = [1, -1, 0.5], [[2, 0.5, 0], [0.5, 1, 0.3], [0, 0.3, 1.5]]
case("multivariate_normal", ["float32", "float64"], lambda k, s, d: R.multivariate_normal(k, jnp.array(MEAN, d), jnp.array(COV, d), s[:1], d), (M, 3))
case("orthogonal", ["float32", "float64"], lambda k, s, d: R.orthogonal(k, 4, s[:1], d), (5, 4, 4))
case("orthogonal_wide", ["float64"], lambda k, s, d: R.orthogonal(k, 3, s[:1], d, m=5), (5, 3, 5))
