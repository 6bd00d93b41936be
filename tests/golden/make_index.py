"""Makes the golden values for indexing, order, windows and linear algebra beside this file.

    python3.11 -m venv /tmp/golden
    /tmp/golden/bin/pip install jax==0.10.2 safetensors==0.8.0
    JAX_PLATFORMS=cpu /tmp/golden/bin/python tests/golden/make_index.py

README.md beside this file says what each key holds.
"""

import importlib.metadata
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
PINNED = {"jax": "0.10.2"}
for package, version in PINNED.items():
    found = importlib.metadata.version(package)
    assert found == version, f"{package} is {found}, but the values are made with {version}"

arrays = {}


def wave(shape, k=0.7, at=0.3):
    """Distinct numbers between -2 and 2 without a pattern that an error could hide behind."""
    n = int(np.prod(shape))
    return (2 * np.sin(k * np.arange(n) * (1 + 0.01 * np.arange(n)) + at)).reshape(shape).astype(np.float32)


def weights(shape):
    n = int(np.prod(shape))
    return np.cos(1.3 * np.arange(n)).reshape(shape).astype(np.float32)


def case(name, f, *inputs, grad=True):
    """The inputs, the outputs, and the gradient of the outputs' weighted sum for every input of floats."""
    inputs = [jnp.asarray(x) for x in inputs]
    for i, x in enumerate(inputs):
        arrays[f"{name}/in{i}"] = np.asarray(x)
    outs = f(*inputs)
    outs = outs if isinstance(outs, (tuple, list)) else (outs,)
    for i, y in enumerate(outs):
        arrays[f"{name}/out{i}"] = np.asarray(y)
    floats = [i for i, x in enumerate(inputs) if x.dtype == np.float32]
    if not grad or not floats:
        return

    def loss(*inputs):
        outs = f(*inputs)
        outs = outs if isinstance(outs, (tuple, list)) else (outs,)
        return sum((y * weights(y.shape)).sum() for y in outs if y.dtype == np.float32)

    for i, g in zip(floats, jax.grad(loss, argnums=tuple(floats))(*inputs)):
        arrays[f"{name}/grad{i}"] = np.asarray(g)


def rows(i):
    return np.asarray(i, np.int32)


# Gather and scatter, in every mode: some windows reach outside.
X = wave((4, 5))
AT = rows([[0, 1], [3, 4], [2, -1], [2, 1], [7, 0], [0, 1]])
POINTS = lax.GatherDimensionNumbers(offset_dims=(), collapsed_slice_dims=(0, 1), start_index_map=(0, 1))
WINDOWS = lax.GatherDimensionNumbers(offset_dims=(0, 2), collapsed_slice_dims=(), start_index_map=(1, 0))
BATCHED = lax.GatherDimensionNumbers(
    offset_dims=(1,),
    collapsed_slice_dims=(),
    start_index_map=(1,),
    operand_batching_dims=(0,),
    start_indices_batching_dims=(1,),
)
MODES = {"clip": "clip", "fill": "fill", "promise": "promise_in_bounds"}
for label, mode in MODES.items():
    inside = np.clip(AT, 0, [3, 4]).astype(np.int32) if label == "promise" else AT
    windows = np.clip(inside, 0, [2, 2]).astype(np.int32) if label == "promise" else AT
    case(f"gather/points/{label}", lambda x, i: lax.gather(x, i, POINTS, (1, 1), mode=mode, fill_value=0.5), X, inside)
    case(f"gather/windows/{label}", lambda x, i: lax.gather(x, i, WINDOWS, (2, 3), mode=mode, fill_value=0.5), X, windows)
    for kind in ["set", "add", "sub", "mul", "min", "max"]:
        scatter = {"set": lax.scatter}.get(kind) or getattr(lax, f"scatter_{kind}")
        numbers = lax.ScatterDimensionNumbers((), (0, 1), (0, 1))
        unique = inside[:3] if kind in ("set", "mul") else inside
        case(
            f"scatter/{kind}/{label}",
            lambda x, i, u: scatter(x, i, u, numbers, mode=mode, unique_indices=kind in ("set", "mul")),
            X,
            unique,
            wave((len(unique),), at=1.1),
            # JAX's derivative of a minimum leaves out what clipping moves inside.
            grad=not (kind in ("min", "max") and label == "clip"),
        )
        numbers = lax.ScatterDimensionNumbers((0, 2), (), (1, 0))
        apart = rows([[0, 0], [2, 2], [9, 0]])
        if label == "promise":
            apart = apart[:2]
        case(
            f"scatter_windows/{kind}/{label}",
            lambda x, i, u: scatter(x, i, u, numbers, mode=mode, unique_indices=kind in ("set", "mul")),
            X,
            apart,
            wave((2, len(apart), 3), at=1.1),
            # Clipping moves a window onto another one, and see above.
            grad=label != "clip" or kind in ("add", "sub"),
        )
case("gather/batched", lambda x, i: lax.gather(x, i, BATCHED, (1, 2), mode="clip"), X, rows([[[0], [1], [4], [2]], [[3], [3], [0], [1]]]))
case(
    "scatter/batched",
    lambda x, i, u: lax.scatter_add(x, i, u, lax.ScatterDimensionNumbers((1,), (), (1,), (0,), (1,)), mode="clip"),
    X,
    rows([[[0], [1], [4], [2]], [[3], [3], [0], [1]]]),
    wave((2, 2, 4), at=0.9),
)

# Order.
for axis in (0, 1):
    case(f"sort/{axis}", lambda x: lax.sort(x, dimension=axis), X)
    case(f"argsort/{axis}", lambda x: jnp.argsort(x, axis=axis), X, grad=False)
    for kind in ("sum", "prod", "max", "min", "logsumexp"):
        for reverse in (False, True):
            case(f"cum{kind}/{axis}/{int(reverse)}", lambda x: getattr(lax, f"cum{kind}")(x, axis, reverse), X)
case("sort/special", lambda x: lax.sort(x), np.float32([np.nan, 0.0, -0.0, -np.inf, 3, -np.nan, np.inf, -2]), grad=False)
case("sort/keys", lambda a, b, c: lax.sort((a, b, c), num_keys=2), rows([3, 1, 3, 2, 1, 1]), wave((6,)), wave((6,), at=2.0))
case("top_k", lambda x: lax.top_k(x, 3), X)
case("top_k/special", lambda x: lax.top_k(x, 4)[0], np.float32([np.nan, 1, np.inf, 1, -2, 1]), grad=False)
case("median", lambda x: jnp.median(x, axis=1), X)
case("quantile", lambda x: jnp.quantile(x, jnp.float32([0.0, 0.3, 0.77, 1.0]), axis=0), X)
case("quantile/all", lambda x: jnp.quantile(x, 0.4), X)
case("percentile", lambda x: jnp.percentile(x, 35.0, axis=1), X)
SORTED = np.float32([-1.5, -0.2, -0.2, 0.1, 1.2, np.inf, np.nan])
for side in ("left", "right"):
    case(f"searchsorted/{side}", lambda a, v: jnp.searchsorted(a, v, side=side), SORTED, np.append(wave((3, 3)).ravel(), np.float32([-0.2, np.nan, np.inf, 1.2])), grad=False)

# Selection.
PICK = rows([[2, -1, 0], [7, 1, -5]])
for axis in (0, 1):
    case(f"take/{axis}", lambda x, i: jnp.take(x, i, axis=axis, fill_value=0.25), X, PICK, grad=False)
    case(f"take/{axis}/inside", lambda x, i: jnp.take(x, i, axis=axis), X, rows([[2, -1, 0], [3, 1, -3]]))
    case(f"take/{axis}/clip", lambda x, i: jnp.take(x, i, axis=axis, mode="clip"), X, PICK)
case("take_along/0", lambda x, i: jnp.take_along_axis(x, i, axis=0), X, rows([[3, 0, -1, 2, 1], [0, 0, 1, -4, 3]]))
case("take_along/broadcast", lambda x, i: jnp.take_along_axis(x, i, axis=1), X, rows([[3, 0, -1]]))
case("one_hot", lambda i: jax.nn.one_hot(i, 4), rows([[2, -1], [0, 4]]), grad=False)
case("bincount", lambda i: jnp.bincount(i, length=5), rows([2, 2, -1, 0, 9, 4, 2]), grad=False)
case("nonzero", lambda x: jnp.nonzero(x > 0.5, size=9), X, grad=False)
case("unique", lambda i: jnp.unique(i, size=6), rows([[4, 4, 2], [0, 2, 9]]), grad=False)
case("unique/nan", lambda x: jnp.unique(x, size=4), np.float32([np.nan, 1, np.nan, 1, 0]), grad=False)

# NumPy's indexing, to read and to write.
Y = wave((3, 4, 5))
I, J = rows([[2, 0, -1]]), rows([[1], [3]])
INDICES = {
    "int": lambda i, j: (1,),
    "ints": lambda i, j: (1, -2, 3),
    "slice": lambda i, j: (slice(1, 3), slice(None), slice(-2, None)),
    "steps": lambda i, j: (slice(None, None, 2), slice(4, 0, -3), slice(-1, None, -1)),
    "ellipsis": lambda i, j: (0, ..., slice(None, -1)),
    "newaxis": lambda i, j: (None, slice(None), 2, None),
    "array": lambda i, j: (i,),
    "arrays": lambda i, j: (i, j),
    "together": lambda i, j: (slice(None), i, j),
    "apart": lambda i, j: (i, slice(None), j),
    "scalar_apart": lambda i, j: (i, slice(1, 4), 2),
    "new_between": lambda i, j: (i, None, j),
    "with_slice": lambda i, j: (i, slice(1, None, 2), slice(0, 4)),
    "backwards": lambda i, j: (slice(None, None, -2), i),
    "scalars": lambda i, j: (i[0, 0], slice(None), j[1, 0]),
    "scalar": lambda i, j: (..., j[0, 0]),
    "scalar_and_slice": lambda i, j: (slice(1, 3), j[0, 0], slice(None, None, -1)),
    "empty": lambda i, j: (slice(2, 2), i),
}
for label, index in INDICES.items():
    case(f"index/{label}", lambda x, i, j: x[index(i, j)], Y, I, J)
    shape = jnp.asarray(Y)[index(jnp.asarray(I), jnp.asarray(J))].shape
    case(f"set/{label}", lambda x, i, j, v: x.at[index(i, j)].set(v), Y, I, J, wave(shape, at=0.8), grad=False)
    for kind in ("add", "multiply", "min", "max") if label in ("apart", "with_slice") else ("add",):
        values = wave(shape[-1:], at=0.8)
        case(f"{kind}/{label}", lambda x, i, j, v: getattr(x.at[index(i, j)], kind)(v), Y, I, J, values, grad=kind == "add")

# Convolutions.
def conv(label, lhs, rhs, strides, padding, **options):
    f = lambda x, k: lax.conv_general_dilated(x, k, strides, padding, **options)
    case(f"conv/{label}", f, wave(lhs), wave(rhs, k=0.9))


conv("valid", (2, 3, 5, 6), (4, 3, 2, 3), (1, 1), "VALID")
conv("same", (2, 3, 5, 6), (4, 3, 2, 3), (2, 1), "SAME")
conv("dilated", (1, 2, 5, 4), (3, 2, 2, 2), (2, 1), [(1, 2), (-1, 3)], lhs_dilation=(2, 3), rhs_dilation=(3, 2))
conv("groups", (2, 4, 4, 5), (6, 2, 3, 2), (1, 2), "SAME", feature_group_count=2)
conv("depthwise", (1, 3, 6), (6, 1, 3), (1,), "VALID", feature_group_count=3)
conv("batch_groups", (4, 3, 4, 5), (6, 3, 3, 2), (1, 2), [(1, 1), (0, 1)], batch_group_count=2)
conv("layouts", (2, 5, 6, 3), (2, 3, 3, 4), (2, 2), "SAME_LOWER", dimension_numbers=("NHWC", "HWIO", "NHWC"))
conv("mixed", (3, 5, 2), (2, 3, 4), (1,), [(1, 2)], dimension_numbers=("CWN", "WIO", "NWC"))
conv("none", (3, 2), (4, 2), (), [])
case("conv_transpose", lambda x, k: lax.conv_transpose(x, k, (2, 1), "SAME"), wave((1, 3, 4, 2)), wave((3, 2, 2, 5), k=0.9))

# Windows.
for kind, init, op in (("sum", 0.0, lax.add), ("max", -np.inf, lax.max), ("min", np.inf, lax.min), ("prod", 1.0, lax.mul)):
    grad = kind != "prod"
    f = lambda x: lax.reduce_window(x, np.float32(init), op, (2, 3), (1, 2), [(1, 0), (0, 2)])
    case(f"window/{kind}", f, X, grad=grad)
    f = lambda x: lax.reduce_window(x, np.float32(init), op, (2, 2), (2, 1), [(1, 2), (3, 0)], (2, 3), (3, 2))
    case(f"window_dilated/{kind}", f, X, grad=kind == "sum")
case("avg_pool", lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2, 2), (1, 2, 2), "SAME") / 4, wave((2, 5, 4)))
case("max_pool", lambda x: lax.reduce_window(x, -np.inf, lax.max, (1, 3, 2), (1, 2, 1), "VALID"), wave((2, 5, 4)))

# Linear algebra, on one matrix and on several; where signs or phases are free, through functions that they leave alone.
A, B = wave((4, 4)), wave((4, 3), at=1.0)
SEVERAL = wave((2, 3, 3), k=1.1)
spd = lambda a: a @ a.mT + 2 * jnp.eye(a.shape[-1], dtype=jnp.float32)
for label, a in (("one", A), ("several", SEVERAL)):
    case(f"cholesky/{label}", lambda a: jnp.linalg.cholesky(spd(a)), a)
    case(f"lu/{label}", lambda a: lax.linalg.lu(a), a)
    case(f"qr/{label}", lambda a: jnp.linalg.qr(a), a)
    case(f"inv/{label}", lambda a: jnp.linalg.inv(a), a)
    case(f"det/{label}", lambda a: jnp.linalg.det(a), a)
    case(f"slogdet/{label}", lambda a: tuple(jnp.linalg.slogdet(a)), a)

    def spectral(a):
        w, v = jnp.linalg.eigh(a + a.mT)
        return w, (v * jnp.sin(w)[..., None, :]) @ v.mT

    def singular(a):
        u, s, vh = jnp.linalg.svd(a, full_matrices=False)
        return s, (u * jnp.sin(s)[..., None, :]) @ vh

    case(f"eigh/{label}", spectral, a)
    case(f"svd/{label}", singular, a)
for label, shape in (("high", (5, 3)), ("wide", (3, 5))):
    case(f"lu/{label}", lambda a: lax.linalg.lu(a), wave(shape))
    case(f"qr/{label}", lambda a: jnp.linalg.qr(a), wave(shape))
    case(f"svd/{label}", singular, wave(shape))
    case(f"svdvals/{label}", lambda a: jnp.linalg.svd(a, compute_uv=False), wave(shape))
    case(f"pinv/{label}", lambda a: jnp.linalg.pinv(a), wave(shape))
case("qr/full", lambda a: jnp.linalg.qr(a, mode="complete"), wave((5, 3)), grad=False)
case("solve/matrix", lambda a, b: jnp.linalg.solve(a, b), A, B)
case("solve/vector", lambda a, b: jnp.linalg.solve(a, b), A, B[:, 0])
for left in (True, False):
    for lower in (True, False):
        for transpose in (True, False):
            for unit in (True, False):
                case(
                    f"triangular/{left:d}{lower:d}{transpose:d}{unit:d}",
                    lambda a, b: lax.linalg.triangular_solve(
                        a, b, left_side=left, lower=lower, transpose_a=transpose, unit_diagonal=unit
                    ),
                    A + 3 * np.eye(4, dtype=np.float32),
                    B if left else B.T,
                )

arrays = {k: np.array(v, order="C") for k, v in sorted(arrays.items())}
path = HERE / "index.safetensors"
save_file(arrays, path, metadata={"made_by": json.dumps(PINNED, sort_keys=True)})
print(f"{path.name}: {len(arrays)} arrays, {path.stat().st_size} bytes")

# The text of programs, character for character.
TEXTS = {
    "int": lambda x, i: x[-1],
    "slice": lambda x, i: x[1:3, 0],
    "steps": lambda x, i: x[::2, None],
    "backwards": lambda x, i: x[::-1],
    "scalar": lambda x, i: x[i[0]],
    "array": lambda x, i: x[i],
    "array_behind": lambda x, i: x[:, i],
    "arrays": lambda x, i: x[i, i],
    "array_and_int": lambda x, i: x[i, 2],
    "array_and_slice": lambda x, i: x[1:3, i],
    "clip": lambda x, i: x.at[i].get(mode="clip"),
    "fill": lambda x, i: x.at[i].get(mode="fill", fill_value=0),
    "set_row": lambda x, i: x.at[0].set(1.0),
    "set_slice": lambda x, i: x.at[1:3].set(0.0),
    "set_steps": lambda x, i: x.at[::2].multiply(2.0),
    "add": lambda x, i: x.at[i].add(1.0),
    "set_array": lambda x, i: x.at[i, i].set(0.0),
    "sort": lambda x, i: lax.sort(x),
    "sort_keys": lambda x, i: lax.sort((x, x), dimension=0, num_keys=2),
    "top_k": lambda x, i: lax.top_k(x, 2),
    "cumsum": lambda x, i: lax.cumsum(x, 1, reverse=True),
    "cumlogsumexp": lambda x, i: lax.cumlogsumexp(x),
    "conv": lambda x, i: lax.conv_general_dilated(x[None], jnp.ones((3, 4, 2), jnp.float32), (2,), "SAME"),
    "reduce_window": lambda x, i: lax.reduce_window(x, -np.inf, lax.max, (2, 2), (1, 2), "VALID"),
    "lu": lambda x, i: lax.linalg.lu(x),
    "qr": lambda x, i: lax.linalg.qr(x, full_matrices=False),
    "svd": lambda x, i: lax.linalg.svd(x, full_matrices=False),
    "triangular_solve": lambda x, i: lax.linalg.triangular_solve(x[:, :4], x, left_side=True),
}
text = ""
for name, f in TEXTS.items():
    text += f"## {name}\n{jax.make_jaxpr(f)(jnp.asarray(X), jnp.asarray(rows([1, 2])))}\n"
(HERE / "index_jaxprs.txt").write_text(text)
