"""Programs that JAX exports, with inputs and with what JAX gives, for `quaxide check`.

Run with the pinned JAX:

    pip install jax==0.10.2 absl-py
    python tests/golden/against_jax.py OUT [--kind harness|random|edges] [--seed 0] [--count 2000] [--only REGEX] [--shard 0/1] [--text exported|lowered|generic]
    quaxide check --interp reference OUT/*.mlir

`harness` is every case of JAX's own list of uses of its primitives (jax._src.internal_test_util.test_harnesses): thousands,
over every primitive, element type and parameter. `edges` is elementwise functions where they are special. `random` makes programs of several primitives from a seed, which stands in
the name of the file: --only takes the name and makes that program again.

Every program expects what JAX gave on this machine's CPU. Integers and booleans are equal. Elementwise functions are
within 3 units in the last place; what sums, in whatever order, is close in relation to the largest element.
"""
import argparse
import os
import re
import sys
import zlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax

assert jax.__version__ == "0.10.2", jax.__version__
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")

NAMES = {
    "bool": "i1", "int2": "i2", "int4": "i4", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "uint2": "ui2", "uint4": "ui4", "uint8": "ui8", "uint16": "ui16", "uint32": "ui32", "uint64": "ui64",
    "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64",
    "complex64": "complex<f32>", "complex128": "complex<f64>",
    "float8_e4m3fn": "f8E4M3FN", "float8_e5m2": "f8E5M2", "float8_e4m3b11fnuz": "f8E4M3B11FNUZ",
    "float8_e4m3fnuz": "f8E4M3FNUZ", "float8_e5m2fnuz": "f8E5M2FNUZ", "float8_e3m4": "f8E3M4",
    "float8_e4m3": "f8E4M3", "float8_e8m0fnu": "f8E8M0FNU", "float4_e2m1fn": "f4E2M1FN",
}


def tensor(x):
    return "tensor<" + "".join(f"{n}x" for n in x.shape) + NAMES[x.dtype.name] + ">"


def constant(x):
    """An array as a constant of StableHLO, to the bit."""
    x = np.asarray(x)
    if x.size == 0:
        return f"dense<> : {tensor(x)}"
    if x.dtype == np.bool_:
        flat = ["true" if b else "false" for b in x.ravel()]
        if x.ndim == 0:
            return f"dense<{flat[0]}> : {tensor(x)}"

        def nest(shape, at):
            if not shape:
                return flat[at]
            step = int(np.prod(shape[1:], dtype=int))
            return "[" + ", ".join(nest(shape[1:], at + i * step) for i in range(shape[0])) + "]"

        return f"dense<{nest(x.shape, 0)}> : {tensor(x)}"
    return f'dense<"0x{np.ascontiguousarray(x).tobytes().hex().upper()}"> : {tensor(x)}'


# What is one number for one number, and is computed to a few units in the last place.
ELEMENTWISE = set(
    """abs acos acosh add asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil clamp complex conj convert_element_type
    cos cosh digamma div erf erf_inv erfc exp exp2 expm1 floor imag integer_pow is_finite lgamma log log1p logistic max min
    mul neg nextafter pow real reduce_precision rem round rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan tanh
    igamma igammac regularized_incomplete_beta add_any bitcast_convert_type broadcast_in_dim concatenate copy device_put
    dynamic_slice dynamic_update_slice gather iota pad reshape rev slice sort squeeze top_k transpose approx_top_k scatter
    scatter_max scatter_min reduce_max reduce_min reduce_window_max reduce_window_min cummax cummin select_and_gather_add
    argmax argmin polygamma zeta random_uniform""".split()
)


def expectation(y, close):
    """How an expected result is compared: the call's name and attributes. `close` is whether results are within a few units
    in the last place, or how far they may be apart in relation to the largest."""
    if y.dtype.name in ("bool",) or not (jnp.issubdtype(y.dtype, jnp.inexact)):
        return "expect_eq", "has_side_effect = true"
    if close is True:
        return "expect_close", "has_side_effect = true, min_ulp_difference = 0 : i64, max_ulp_difference = 3 : i64"
    finite = np.abs(y[np.isfinite(y)]).astype(np.float64) if y.size else np.zeros(1)
    eps = float(jnp.finfo(y.dtype).eps)
    top = max(float(finite.max()) if finite.size else 0.0, 1.0)
    return "expect_almost_eq", f"has_side_effect = true, tolerance = {(close or 32 * eps) * top:.6e} : f64"


def self_checking(text, inputs, expected, close):
    """A module whose @main gives the inputs to the program, and compares."""
    text = re.sub(r"func\.func public @main\(", "func.func private @program(", text)
    text = re.sub(r'sym_name = "main"', 'sym_name = "program"', text)
    lines = ["  func.func public @main() {"]
    for i, x in enumerate(inputs):
        lines.append(f"    %in{i} = stablehlo.constant {constant(x)}")
    for i, y in enumerate(expected):
        lines.append(f"    %want{i} = stablehlo.constant {constant(y)}")
    names = ", ".join(f"%in{i}" for i in range(len(inputs)))
    types = ", ".join(tensor(np.asarray(x)) for x in inputs)
    results = ", ".join(tensor(y) for y in expected)
    count = f":{len(expected)}" if len(expected) > 1 else ""
    lines.append(f"    %got{count} = func.call @program({names}) : ({types}) -> ({results})")
    for i, y in enumerate(expected):
        got = f"%got#{i}" if count else "%got"
        how, attributes = expectation(y, close)
        lines.append(
            f"    stablehlo.custom_call @check.{how}({got}, %want{i}) {{{attributes}}} : ({tensor(y)}, {tensor(y)}) -> ()"
        )
    lines += ["    return", "  }"]
    at = text.index("func.func") if '"func.func"' not in text else text.index('"func.func"')
    at = text.rindex("\n", 0, at) + 1
    return text[:at] + "\n".join(lines) + "\n" + text[at:]


def written(f, args, kind):
    """The program as text."""
    jitted = jax.jit(f, keep_unused=True)
    if kind == "exported":
        return export.export(jitted)(*args).mlir_module()
    lowered = jitted.lower(*args)
    if kind == "lowered":
        return lowered.as_text()
    return lowered.compiler_ir("stablehlo").operation.get_asm(print_generic_op_form=True)


def plain(tree):
    """The leaves as NumPy arrays; random keys as their words."""
    out = []
    for x in jax.tree_util.tree_leaves(tree):
        if jnp.issubdtype(getattr(x, "dtype", np.float64), jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        out.append(np.asarray(x))
    return out


def save(folder, name, f, args, close, kind):
    args = [a if hasattr(a, "dtype") else np.asarray(a) for a in args]
    text = written(f, args, kind)
    expected = plain(jax.jit(f)(*args))
    inputs = [np.asarray(x) for x in jax.tree_util.tree_leaves(args)]
    if not expected:
        return False
    with open(os.path.join(folder, name + ".mlir"), "w") as file:
        file.write(self_checking(text, inputs, expected, close))
    return True


def apart(name, ys):
    """Factors are determined up to phases, and eigenvalues up to their order: what does not depend on that."""
    if name == "svd" and len(ys) == 3:
        # What completes the factors is not determined by the matrix.
        s, u, vh = ys
        ys = [s, u[..., : s.shape[-1]], vh[..., : s.shape[-1], :]]
    return [jnp.abs(y) for y in ys]


def spectrum(given):
    def of(ys, *args):
        w, *vectors = ys
        moments = [jnp.sum(w), jnp.sum(w**2), jnp.sum(w**3) / 10]
        # Each column is an eigenvector: what is left is nothing.
        a = args[0]
        right = vectors[-1] if given.get("compute_right_eigenvectors") and vectors else None
        if right is not None:
            moments.append(a @ right - right * w[..., None, :])
        return moments

    return of


def settled(h):
    """What a harness computes, without what is up to those who compute it."""
    name, given = h.group_name, h.params

    def only(keep):
        return lambda *args: keep(jax.tree_util.tree_leaves(h.dyn_fun(*args)), *args)

    if name in ("svd", "eigh"):
        return only(lambda ys, *_: apart(name, ys))
    if name == "eig":
        return only(spectrum(given))
    if name == "approx_top_k":
        # Of equal elements any may be taken.
        return only(lambda ys, *_: ys[:1])
    if name == "sort" and not given.get("is_stable", True):
        return only(lambda ys, *_: ys[: given.get("num_keys", 1)])
    return h.dyn_fun


def harnesses():
    from jax._src.internal_test_util import test_harnesses

    seen = {}
    for h in test_harnesses.all_harnesses:
        if not h.filter("cpu"):
            continue
        name = re.sub(r"[^A-Za-z0-9_=,.-]", "_", h.fullname)[:150]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            name = f"{name}_{seen[name]}"

        def make(h=h):
            args = h.dyn_args_maker(np.random.RandomState(zlib.adler32(h.fullname.encode())))
            close = h.group_name in ELEMENTWISE
            if h.group_name in ("eig", "eigh", "svd") and h.dtype is not None:
                close = 2.0**14 * float(jnp.finfo(h.dtype).eps)
            return settled(h), args, close

        yield name, make


def at_random(seed, count):
    import random_programs

    for seed in range(seed, seed + count):

        def make(seed=seed):
            program, args, precision = random_programs.make(seed)
            return program, args, 2.0**14 * precision

        yield f"random_{seed:06}", make


EDGES = {
    "f": [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.5, 3.0, -3.0, 7.25, -11.5, 30.0, -80.0, 200.0, 1e-3, -1e-6, 6e-8,
          1e4, -6e4, 1e-30, 3e38, np.inf, -np.inf, np.nan, np.pi, -np.pi / 2, 0.1],
    "c": [0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 3.0, 1e-3, 40.0, np.inf, -np.inf, np.nan],
}


def edge_values(dtype):
    d = np.dtype(dtype)
    if d == np.bool_:
        return np.array([False, True])
    if d.kind in "iu":
        info = np.iinfo(d)
        some = [info.min, info.min + 1, -2, -1, 0, 1, 2, 3, 7, d.itemsize * 8 - 1, d.itemsize * 8, 100, info.max - 1, info.max]
        return np.array(sorted({int(i) for i in some if info.min <= i <= info.max}), dtype)
    if d.kind == "c":
        return np.array([complex(a, b) for a in EDGES["c"] for b in EDGES["c"]]).astype(d)
    with np.errstate(all="ignore"):
        return np.array(EDGES["f"]).astype(d)


def edges():
    """Elementwise functions of every type at the edges: zeros, infinities, NaNs, branch cuts, the ends of integers."""
    floats = ["float16", jnp.bfloat16, "float32", "float64"]
    integers = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
    unary = """abs acos acosh asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil cos cosh digamma erf erfc erf_inv exp exp2 expm1
        floor is_finite lgamma log log1p logistic neg rsqrt sign sin sinh sqrt square tan tanh""".split()
    of_complex = """abs acos acosh asin asinh atan atanh conj cos cosh exp exp2 expm1 imag log log1p logistic neg real rsqrt sign sin
        sinh sqrt square tan tanh""".split()
    binary = "add atan2 div eq ge gt igamma igammac le lt max min mul ne nextafter pow rem sub zeta".split()
    of_integers = """add bitwise_and bitwise_or bitwise_xor div eq ge max min mul rem shift_left shift_right_arithmetic
        shift_right_logical sub""".split()

    def one(name, f, dtypes, pairs=False):
        for d in dtypes:
            x = edge_values(d)
            if name in ("igamma", "igammac"):
                # Of two such numbers JAX's loop sums ones until an f32 tells no further one: eight million rounds.
                x = x[~(np.isfinite(x) & (np.abs(x.astype(np.float64)) > 1e30))]
            args = (np.repeat(x, len(x)), np.tile(x, len(x))) if pairs else (x,)
            # Those two leave JAX as loops, in which what a logarithm rounds is multiplied.
            close = 2.0**12 * float(jnp.finfo(d).eps) if name in ("igamma", "igammac") else True
            yield f"edge_{name}_{np.dtype(d).name}", lambda f=f, args=args, close=close: (f, args, close)

    for name in unary:
        yield from one(name, getattr(lax, name), floats)
    for name in of_complex:
        yield from one(name, getattr(lax, name), ["complex64", "complex128"])
    for name in ["abs", "bitwise_not", "clz", "neg", "population_count", "sign"]:
        yield from one(name, getattr(lax, name), integers)
    for name in binary:
        yield from one(name, getattr(lax, name), floats, True)
    for name in ["add", "sub", "mul", "div", "pow", "eq"]:
        yield from one(name, getattr(lax, name), ["complex64"], True)
    for name in of_integers:
        yield from one(name, getattr(lax, name), integers, True)
    for y in (-3, -1, 0, 1, 2, 5):
        yield from one(f"integer_pow_{y}", lambda x, y=y: lax.integer_pow(x, y), floats + ["complex64"] + (integers if y >= 0 else []))
    for how in (lax.RoundingMethod.AWAY_FROM_ZERO, lax.RoundingMethod.TO_NEAREST_EVEN):
        yield from one(f"round_{how.name}", lambda x, how=how: lax.round(x, how), floats)
    for e, m in ((5, 10), (8, 7), (2, 1), (4, 3), (11, 52)):
        yield from one(f"reduce_precision_{e}_{m}", lambda x, e=e, m=m: lax.reduce_precision(x, e, m), floats)
    every = floats + integers + ["bool", "complex64", "complex128"]
    for to in every:
        to = np.dtype(to)
        yield from one(f"convert_to_{to.name}", lambda x, to=to: lax.convert_element_type(x, to), every)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("out")
    arguments.add_argument("--kind", default="harness", choices=["harness", "random", "edges"])
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--count", type=int, default=10**9)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--shard", default="0/1")
    arguments.add_argument("--text", default="exported", choices=["exported", "lowered", "generic"])
    given = arguments.parse_args()
    os.makedirs(given.out, exist_ok=True)
    shard, shards = map(int, given.shard.split("/"))
    made, refused = 0, []
    kinds = {"harness": harnesses, "edges": edges, "random": lambda: at_random(given.seed, given.count)}
    source = kinds[given.kind]()
    for i, (name, make) in enumerate(source):
        if i % shards != shard or not re.search(given.only, name):
            continue
        try:
            f, args, close = make()
            made += save(given.out, name, f, args, close, given.text)
        except Exception as e:
            refused.append(name)
            print(f"{name}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:300], file=sys.stderr)
        if made >= given.count:
            break
    print(f"{made} programs, {len(refused)} that JAX itself refuses")


if __name__ == "__main__":
    main()
