"""Writes primitives.safetensors: what JAX gives for the primitives that tests/primitives.rs applies.

Run with the pinned JAX: pip install jax==0.10.2 safetensors; python make_primitives.py
Complex numbers are two arrays, NAME.re and NAME.im.
"""
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from safetensors.numpy import save_file

assert jax.__version__ == "0.10.2", jax.__version__
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
OUT = {}


def put(name, y):
    ys = y if isinstance(y, (tuple, list)) else (y,)
    for i, y in enumerate(ys):
        key = name if len(ys) == 1 else f"{name}/{i}"
        y = np.array(y, order="C")
        if np.iscomplexobj(y):
            OUT[key + ".re"] = np.array(y.real, order="C")
            OUT[key + ".im"] = np.array(y.imag, order="C")
        else:
            OUT[key] = y


def wave(shape, dtype=np.float64, by=1.0):
    n = int(np.prod(shape))
    return np.sin(by * np.arange(1, n + 1)).reshape(shape).astype(dtype)


# Bits that generators make: every algorithm, width and kind of shape.
KEY32 = np.array([1, 2, 0xFFFFFFFE, 0xFFFFFFFF], np.uint32)
KEY64 = np.array([7, 2**64 - 2], np.uint64)
for algorithm in ("RNG_DEFAULT", "RNG_THREE_FRY", "RNG_PHILOX"):
    for dtype in ("uint8", "uint16", "uint32", "uint64"):
        for shape in ((), (5,), (3, 4), (3, 5), (2, 3, 2)):
            a = getattr(lax.RandomAlgorithm, algorithm)
            name = f"rng/{algorithm}/{dtype}/{shape}"
            put(name, lax.rng_bit_generator(KEY32, shape, dtype, algorithm=a))
    put(f"rng64/{algorithm}", lax.rng_bit_generator(KEY64, (5,), np.uint32, algorithm=a))

# Transforms of every kind: lengths with small factors, primes, and a large prime.
for n in (1, 2, 3, 4, 5, 6, 8, 12, 17, 30, 37, 64, 101):
    x = wave((2, n)) + 1j * wave((2, n), by=0.7)
    for kind, number in (("fft", 0), ("ifft", 1)):
        put(f"{kind}/{n}", lax.fft(x, lax.FftType(number), (n,)))
    put(f"rfft/{n}", lax.fft(x.real, lax.FftType.RFFT, (n,)))
    h = n // 2 + 1
    put(f"irfft/{n}", lax.fft(x[:, :1].repeat(h, 1) * wave((h,)), lax.FftType.IRFFT, (n,)))
x = wave((3, 4, 5)) + 1j * wave((3, 4, 5), by=0.7)
put("fft3", lax.fft(x, lax.FftType.FFT, (3, 4, 5)))
put("ifft2", lax.fft(x.astype(np.complex64), lax.FftType.IFFT, (4, 5)))
put("rfft3", lax.fft(x.real, lax.FftType.RFFT, (3, 4, 5)))
put("irfft2", lax.fft(x, lax.FftType.IRFFT, (4, 8)))

# Floats of fewer bits.
EDGES = [0.0, -0.0, 1.0, -1.0, 1.5, 1.0625, 1.09375, 3.2516, 65504.0, 65519.0, 65520.0, 7e4, 1e-7, 6.1e-5, 6e-8, 3e-8,
         1e30, 1e-30, 1e-40, 255.0, 448.0, 480.0, np.inf, -np.inf, np.nan]
for dtype in (np.float16, jnp.bfloat16, np.float32, np.float64):
    x = np.array(EDGES).astype(dtype)
    for e, m in ((8, 7), (5, 10), (5, 2), (4, 3), (2, 1), (1, 3), (11, 52), (8, 23)):
        put(f"reduce_precision/{np.dtype(dtype).name}/{e}/{m}", lax.reduce_precision(x, e, m))

# Bits of integers.
for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64):
    info = np.iinfo(dtype)
    x = np.array([0, 1, 2, 3, 100, 127, info.min, info.max, info.max - 1, info.max // 3], dtype)
    name = np.dtype(dtype).name
    put(f"popcnt/{name}", lax.population_count(x))
    put(f"clz/{name}", lax.clz(x))
    y = np.array([7, info.max, info.min, 0, 3, 1, info.max, info.min, 5, 2], dtype)
    for op in ("mul", "mulhi", "div", "rem", "add", "sub", "shift_left", "shift_right_logical", "shift_right_arithmetic", "max", "min"):
        put(f"{op}/{name}", getattr(lax, op)(x, y))
    put(f"neg/{name}", lax.neg(x))
    if np.issubdtype(dtype, np.signedinteger):
        put(f"abs/{name}", lax.abs(x))
    put(f"sign/{name}", lax.sign(x))

# Conversions, out of range too.
WIDE = np.array([0, 1, -1, 0.5, -0.5, 1.5, 2.5, 127.5, 128, -129, 255.9, 256, 3e4, 7e4, -7e4, 2.2e9, -2.2e9, 4.3e9, 1e19, -1e19, 2e19, 1e30,
                 np.inf, -np.inf, np.nan])
ALL = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.float16, jnp.bfloat16, np.float32, np.float64, np.bool_)
for to in ALL:
    put(f"convert/{np.dtype(to).name}/float64", lax.convert_element_type(WIDE, to))
    put(f"convert/{np.dtype(to).name}/float32", lax.convert_element_type(WIDE.astype(np.float32), to))
    put(f"convert/{np.dtype(to).name}/int64", lax.convert_element_type(np.array([0, 1, -1, 300, -300, 2**33 + 5, -2**40 - 1, 2**63 - 1, -2**63]), to))
    put(f"convert/{np.dtype(to).name}/uint64", lax.convert_element_type(np.array([0, 1, 300, 2**33 + 5, 2**63, 2**64 - 1], np.uint64), to))

# Reductions, windows, scatters and sorts by functions of their own.
X = wave((4, 6))
AFFINE = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])  # maps x -> a x + b, one after the other: associative, not commutative
ONE, ZERO = np.float64(1), np.float64(0)
for dims in ((1,), (0,), (0, 1), ()):
    put(f"reduce/{dims}", lax.reduce((X, X + 1), (ONE, ZERO), AFFINE, dims))
put("reduce/start", lax.reduce((X, X + 1), (np.float64(2), np.float64(3)), AFFINE, (1,)))
put("reduce/empty", lax.reduce((X[:, :0], X[:, :0]), (np.float64(2), np.float64(3)), AFFINE, (1,)))
W = dict(window_dimensions=(2, 3), window_strides=(1, 2))
put("reduce_window/plain", lax.reduce_window((X, X + 1), (ONE, ZERO), AFFINE, padding="VALID", **W))
put("reduce_window/dilated", lax.reduce_window((X, X + 1), (ONE, ZERO), AFFINE, padding=((1, 2), (0, -1)), base_dilation=(2, 1), window_dilation=(1, 2), **W))
put("reduce_window/max", lax.reduce_window(X, ZERO, lax.max, padding=((1, 2), (0, -1)), base_dilation=(2, 1), window_dilation=(1, 2), **W))
put("reduce_window/sum", lax.reduce_window(X, ZERO, lax.add, padding=((1, 2), (0, -1)), base_dilation=(2, 1), window_dilation=(1, 2), **W))
from jax._src.lax import windowed_reductions as wr

SOURCE = wave((3, 2), by=0.3)
put("select_and_scatter/add", wr._select_and_scatter(X, lax.ge, (2, 3), (1, 2), ((0, 0), (0, 0)), SOURCE, np.float64(1), lax.add))
put("select_and_scatter/mul", wr._select_and_scatter(X, lax.lt, (2, 3), (1, 2), ((0, 0), (0, 0)), SOURCE, np.float64(1), lax.mul))
NUMBERS = lax.ScatterDimensionNumbers((1,), (0,), (0,))
put("scatter_apply", lax.scatter_apply(X, np.array([[1], [3], [1], [9]]), lambda x: x * 2 + 1, NUMBERS, update_shape=(4, 6)))
for i, (name, d) in enumerate((("add", np.float64), ("mul", np.float64), ("min", np.float64), ("max", np.float64), ("sub", np.float64))):
    for mode in ("clip", "drop", "promise_in_bounds"):
        at = np.array([[1], [3], [1], [0 if mode == "promise_in_bounds" else 9], [-2 if mode == "clip" else 2]])
        put(f"scatter_{name}/{mode}", getattr(lax, f"scatter_{name}")(X, at, wave((5, 6), by=0.9), NUMBERS, mode=mode))
WIDE = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0, 1))
AT = np.array([[0, 1], [3, 3], [4, 0], [-1, 5], [2, 4]])
for mode in ("clip", "fill"):
    put(f"gather/{mode}", lax.gather(X, AT, WIDE, (1, 3), mode=mode))
    put(f"gather/{mode}/int8", lax.gather((X * 100).astype(np.int8), AT, WIDE, (1, 3), mode=mode))
TIES = np.array([3, 1, 2, 3, 1, 0, np.nan, -0.0, 2, 3])
put("sort/two", lax.sort((TIES, -np.arange(10.0), np.arange(10)), num_keys=2))
put("sort/stable", lax.sort((TIES, np.arange(10)), num_keys=1))
put("top_k", lax.top_k(TIES, 4))

# Collectives, under a vmap that names its axis.
B = wave((4, 4, 8))


def across(name, f, x=B, **axes):
    put(f"across/{name}", jax.vmap(f, axis_name="i", **axes)(x))


across("all_gather", lambda x: lax.all_gather(x, "i", axis=1))
across("all_gather_tiled", lambda x: lax.all_gather(x, "i", axis=1, tiled=True), in_axes=2)
across("psum_scatter", lambda x: lax.psum_scatter(x, "i", scatter_dimension=0))
across("psum_scatter_tiled", lambda x: lax.psum_scatter(x, "i", scatter_dimension=1, tiled=True))
for split, concat in ((0, 1), (1, 0), (0, 0)):
    across(f"all_to_all/{split}/{concat}", lambda x: lax.all_to_all(x, "i", split, concat), B[:, :, :4])
    across(f"all_to_all_tiled/{split}/{concat}", lambda x: lax.all_to_all(x, "i", split, concat, tiled=True))
across("ppermute", lambda x: lax.ppermute(x, "i", [(0, 2), (3, 1), (1, 0), (2, 3)]))
across("pshuffle", lambda x: lax.pshuffle(x, "i", [1, 0, 3, 2]))
across("pswapaxes", lambda x: lax.pswapaxes(x, "i", 0))
across("pbroadcast", lambda x: lax.pbroadcast(x, "i", 2))

# Linear algebra.
from jax._src.lax import linalg as ll

M = np.sin(0.37 * np.arange(1, 51) ** 2).reshape(2, 5, 5)  # of full rank
H = M + 1j * np.sin(0.23 * np.arange(1, 51) ** 2).reshape(2, 5, 5)
for name, a in (("real", M), ("complex", H)):
    s = a + np.conj(np.swapaxes(a, -1, -2))
    high = a[:, :, :3]
    put(f"linalg/{name}/hessenberg", ll.hessenberg(a))
    put(f"linalg/{name}/tridiagonal", ll.tridiagonal(s, lower=True))
    put(f"linalg/{name}/tridiagonal_upper", ll.tridiagonal(s, lower=False))
    packed = ll.geqrf(high)
    put(f"linalg/{name}/geqrf", packed)
    put(f"linalg/{name}/householder_product", ll.householder_product(*packed))
    put(f"linalg/{name}/tridiagonal_solve", ll.tridiagonal_solve(a[:, 0], a[:, 1], a[:, 2], a[:, :, :2]))
    w = np.linalg.eigvals(a)
    put(f"linalg/{name}/eig", np.take_along_axis(w, np.lexsort((w.imag, w.real), axis=-1), -1))
    for i in range(16):
        how = dict(left_side=bool(i & 1), lower=bool(i & 2), transpose_a=bool(i & 4), conjugate_a=bool(i & 4), unit_diagonal=bool(i & 8))
        put(f"linalg/{name}/triangular_solve/{i}", ll.triangular_solve(s + 4 * np.eye(5), a, **how))
put("linalg/pivots", ll.lu_pivots_to_permutation(np.array([[2, 2, 4], [0, 3, 2]], np.int32), 5))
put("linalg/symmetric_product", ll.symmetric_product(M, M, alpha=2.0, beta=0.5))

if __name__ == "__main__":
    path = os.path.join(os.path.dirname(__file__), "primitives.safetensors")
    save_file(OUT, path)
    print(len(OUT), "arrays,", os.path.getsize(path), "bytes")
