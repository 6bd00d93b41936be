"""Golden texts of arrays: `str` and `repr` of JAX arrays, for `tests/display.rs`.

    python -m venv .venv && .venv/bin/pip install jax==0.10.2
    .venv/bin/python tests/golden/make_display.py > tests/golden/display.txt

A case is a line `== dtype shape`, a line of numbers (two for each complex one) or `arange` or `thirds`, and the two texts,
each behind a line `--`.
"""

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
rng = np.random.default_rng(0)


def case(dtype, shape, numbers):
    size = int(np.prod(shape))
    if numbers == "arange":
        flat = np.arange(size)
    elif numbers == "thirds":
        flat = np.arange(size) / 3
    else:
        flat = np.array(numbers, dtype=object)
    if "complex" in dtype:
        flat = np.array([complex(a, b) for a, b in zip(flat[::2], flat[1::2])])
    x = jnp.asarray(flat.astype(dtype).reshape(shape))
    spec = numbers if isinstance(numbers, str) else " ".join(repr(float(n)) for n in numbers)
    print("==", dtype, ",".join(map(str, shape)) or "-")
    print(spec)
    print("--")
    print(str(x))
    print("--")
    # Where the type does not fit on the last line, NumPy begins another; JAX writes the spaces and forgets the line.
    print(repr(x).replace("],      dtype", "],\n      dtype"))


for dtype in ["float32", "float64", "float16"]:
    case(dtype, (), [1])
    case(dtype, (), [0.1])
    case(dtype, (3,), [1, 2, 3])
    case(dtype, (3,), [0.5, -1.25, 100])
    case(dtype, (4,), [0, 0, 0, 0])
    case(dtype, (4,), [1, float("nan"), float("inf"), -2])
    case(dtype, (3,), [1, -float("inf"), 2.5])
    case(dtype, (2,), [float("nan"), float("nan")])
    case(dtype, (2,), [float("inf"), -float("inf")])
    case(dtype, (3,), [1e-5, 1, 2])
    case(dtype, (3,), [1e-7, 2.5e-7, float("nan")])
    case(dtype, (2, 3), [1, 2.5, 3, -4, 5.125, 6])
    case(dtype, (30,), "arange")
    case(dtype, (30,), "thirds")
    case(dtype, (2, 2, 3), "thirds")
    case(dtype, (0,), [])
    case(dtype, (2, 0), [])
    case(dtype, (1, 1, 1), [7])
    case(dtype, (1001,), "arange")
    case(dtype, (40, 30), "thirds")
    for n in [3, 8, 12]:
        case(dtype, (n,), rng.normal(size=n).astype(dtype).astype(float).tolist())
        case(dtype, (n,), (rng.normal(size=n) * 100).astype(dtype).astype(float).tolist())
        case(dtype, (n,), rng.uniform(size=n).astype(dtype).astype(float).tolist())
for dtype in ["float32", "float64"]:
    case(dtype, (2,), [1e8, 1])
    case(dtype, (2,), [1e10, 1.5e-10])
    case(dtype, (2,), [99999999, 99999999])
    case(dtype, (2,), [1e30, 2e30])
    case(dtype, (3,), [16777216, 0.25, 1e5])
case("float64", (2,), [1e300, -1e-300])
case("float64", (2,), [1e100, 1])
for dtype in ["int32", "int64", "uint8", "int8"]:
    case(dtype, (), [7])
    case(dtype, (3,), [1, 20, 100])
    case(dtype, (4, 5), "arange")
    case(dtype, (60,), "arange")
case("int32", (3,), [-1, 20, -100])
case("int32", (2, 3, 4), "arange")
case("int32", (2000,), "arange")
case("int32", (3, 4, 100), "arange")
case("int32", (0, 3), [])
case("bool", (), [1])
case("bool", (3,), [1, 0, 1])
case("bool", (2, 2), [1, 0, 1, 1])
case("bool", (40,), [i % 3 == 0 for i in range(40)])
for dtype in ["complex64", "complex128"]:
    case(dtype, (), [1, 2])
    case(dtype, (), [0, -1.5])
    case(dtype, (2,), [1, 2, 3.5, -4])
    case(dtype, (2,), [1, -12, 30.25, -4])
    case(dtype, (2,), [1e-6, 1, 1, 1e9])
    case(dtype, (2,), [float("nan"), 1, 1, float("inf")])
    case(dtype, (8,), rng.normal(size=16).astype("float32").astype(float).tolist())
