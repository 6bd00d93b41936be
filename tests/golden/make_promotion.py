"""Writes promotion.txt: the element types that jax.numpy's functions give for every pair of element types.

Run with the pinned JAX: pip install jax==0.10.2; python make_promotion.py

64-bit types are enabled. `~` marks weak types, `-` a refusal. Python's numbers (`~i32`, `~f32`, `~c64`; `bool` is never weak) take
JAX's 64-bit defaults there; they are written as the 32-bit ones that they are without, and so are weak results. `?` stands where JAX
loses a number's weakness on the way into a function of its own, so that the answer says nothing.
"""
import os

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "standard")
import jax.numpy as jnp

assert jax.__version__ == "0.10.2", jax.__version__
SHORT = {
    "bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16",
    "uint32": "u32", "uint64": "u64", "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64",
    "complex64": "c64", "complex128": "c128",
}
WEAK = {"~i64": "~i32", "~f64": "~f32", "~c128": "~c64"}
OPERANDS = {short: jnp.ones((2,), long) for long, short in SHORT.items()}
OPERANDS |= {"~i32": 1, "~f32": 1.0, "~c64": 1.0 + 0j}
BINARY = {
    "add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "div": jnp.true_divide, "pow": jnp.power,
    "floor_divide": jnp.floor_divide, "modulo": jnp.remainder, "fmod": jnp.fmod, "maximum": jnp.maximum,
    "arctan2": jnp.arctan2, "logaddexp": jnp.logaddexp, "hypot": jnp.hypot, "float_power": jnp.float_power,
    "copysign": jnp.copysign, "heaviside": jnp.heaviside, "eq": jnp.equal, "lt": jnp.less, "and": jnp.bitwise_and,
    "shl": jnp.left_shift, "shr": jnp.right_shift, "gcd": jnp.gcd, "logical_and": jnp.logical_and,
    "select": lambda x, y: jnp.where(jnp.array([True, False]), x, y), "dot": jnp.dot,
}
UNARY = {
    "neg": jnp.negative, "abs": jnp.abs, "sign": jnp.sign, "square": jnp.square, "floor": jnp.floor, "round": jnp.round,
    "sin": jnp.sin, "sqrt": jnp.sqrt, "exp2": jnp.exp2, "log2": jnp.log2, "reciprocal": jnp.reciprocal, "sinc": jnp.sinc,
    "deg2rad": jnp.deg2rad, "isfinite": jnp.isfinite, "signbit": jnp.signbit, "trunc": jnp.trunc, "real": jnp.real,
    "angle": jnp.angle, "nan_to_num": jnp.nan_to_num, "i0": jnp.i0, "sum": jnp.sum, "prod": jnp.prod, "mean": jnp.mean,
    "var": jnp.var, "max": jnp.max, "any": jnp.any, "ptp": jnp.ptp, "cumsum": lambda x: jnp.cumsum(jnp.ravel(x)), "median": jnp.median,
    "nansum": jnp.nansum, "nanmean": jnp.nanmean, "diff": jnp.diff, "logsumexp": jax.nn.logsumexp, "relu": jax.nn.relu,
    "softmax": jax.nn.softmax, "gelu": jax.nn.gelu, "softplus": jax.nn.softplus, "norm": jnp.linalg.norm,
}


# These take numbers as arrays of the default type.
STRONG = ("hypot", "heaviside", "gcd", "dot", "pow", "logaddexp")


def kind(f, *x):
    try:
        y = jax.eval_shape(lambda: f(*x))
    except (TypeError, ValueError, NotImplementedError):
        return "-"
    text = "~" * bool(y.weak_type) + SHORT[y.dtype.name]
    return "bool" if text == "~bool" else WEAK.get(text, text)


lines = []
for name, f in BINARY.items():
    for left, x in OPERANDS.items():
        def unclear(right):
            weak = "~" in left + right or "u64" in (left, right) and "i" in (left[0], right[0])
            return name in STRONG and weak and left != right and not (name in ("pow", "dot", "logaddexp") and "~" not in left + right)

        lines.append(" ".join([name, left, *("?" if unclear(r) else kind(f, x, y) for r, y in OPERANDS.items())]))
small = {k: v for k, v in OPERANDS.items() if k not in ("i64", "u64", "f64", "c128")}
for name, f in UNARY.items():
    found = {k: kind(f, x) for k, x in OPERANDS.items()}
    # Sums of small integers take the default integer.
    with jax.enable_x64(False):
        found |= {k: kind(f, v) for k, v in small.items()}
    if name in ("softmax", "softplus"):
        found["bool"] = "?"
    lines.append(" ".join([name, *(found[k] for k in OPERANDS)]))
path = os.path.join(os.path.dirname(__file__), "promotion.txt")
with open(path, "w") as out:
    out.write("# made by make_promotion.py: function, left type, and the result for each right type; then function, and its results\n")
    out.write("operands " + " ".join(OPERANDS) + "\n")
    out.write("\n".join(lines) + "\n")
print(len(lines), "lines,", os.path.getsize(path), "bytes")
