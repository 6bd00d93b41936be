"""Programs of several primitives, made at random: the same seed makes the same program. See against_jax.py."""
import functools
import random

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax import lax

FLOATS = ["float64"] * 6 + ["float32"] * 2
INTS = ["int32", "int64", "int8", "uint8", "uint32", "int16", "uint16", "uint64"]
SHAPES = [(), (3,), (4,), (2, 3), (3, 3), (4, 3), (2, 3, 4), (1, 3), (5,), (3, 1, 2), (0, 3), (2, 2, 2, 3)]


def squash(x):
    """Numbers of moderate size, so that nothing that follows overflows or loses digits."""
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return lax.complex(jnp.tanh(x.real), jnp.tanh(x.imag))
    if jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.tanh(x)
    return x


def kind(x):
    if x.dtype == np.bool_:
        return "bool"
    if jnp.issubdtype(x.dtype, jnp.integer):
        return "int"
    return "complex" if jnp.issubdtype(x.dtype, jnp.complexfloating) else "float"


UNARY = [
    lax.abs, lax.acos, lax.asin, lax.asinh, lax.atan, lambda x: lax.acosh(1.5 + x * x), lambda x: lax.atanh(0.9 * x),
    lambda x: lax.bessel_i0e(3 * x), lambda x: lax.bessel_i1e(3 * x), lax.cbrt, lambda x: lax.ceil(5 * x),
    lambda x: lax.cos(3 * x), lax.cosh, lambda x: lax.digamma(1.5 + x), lambda x: lax.erf(2 * x), lambda x: lax.erfc(2 * x),
    lambda x: lax.erf_inv(0.9 * x), lambda x: lax.exp(2 * x), lax.exp2, lax.expm1, lambda x: lax.floor(5 * x),
    lambda x: lax.lgamma(2.5 + 2 * x), lambda x: lax.log(1.2 + x), lambda x: lax.log1p(0.9 * x), lax.logistic, lax.neg,
    lambda x: lax.rsqrt(1.5 + x), lax.sign, lambda x: lax.sin(3 * x), lax.sinh, lambda x: lax.sqrt(1.1 + x), lax.square,
    lax.tan, lax.tanh, lambda x: lax.integer_pow(x, 3), lambda x: lax.integer_pow(1.5 + x, -2), lax.is_finite,
    lambda x: lax.round(5 * x, lax.RoundingMethod.TO_NEAREST_EVEN), lambda x: lax.round(5 * x, lax.RoundingMethod.AWAY_FROM_ZERO),
    lambda x: lax.reduce_precision(x, 8, 10), lax.stop_gradient, jax.nn.gelu, jax.nn.relu, jax.nn.silu, jax.nn.softplus,
    lambda x: lax.bitcast_convert_type(lax.bitcast_convert_type(x, jnp.uint32), x.dtype),
]
COMPLEX_UNARY = [
    lax.abs, lax.conj, lax.cos, lax.cosh, lax.exp, lax.log, lax.neg, lax.sin, lax.sinh, lax.sqrt, lax.tanh, lax.real, lax.imag,
    lax.square, lax.log1p, lax.expm1, lax.sign, lambda x: lax.integer_pow(x, 2), lax.asinh, lax.atan, lax.tan, lax.logistic,
]
INT_UNARY = [
    lax.neg, lax.bitwise_not, lax.population_count, lax.clz, lax.sign, lambda x: lax.integer_pow(x, 2), lax.abs,
    lambda x: lax.convert_element_type(x, jnp.float64) * 0.01, lambda x: lax.convert_element_type(x, jnp.int8),
    lambda x: lax.convert_element_type(x, jnp.uint16), lambda x: lax.convert_element_type(x, jnp.bool_), lambda x: x + 1,
]
BINARY = [
    lax.add, lax.sub, lax.mul, lambda x, y: lax.div(x, 1.5 + y), lax.max, lax.min, lambda x, y: lax.atan2(x, 2 + y),
    lambda x, y: lax.pow(1.5 + x, 2 * y), lambda x, y: lax.rem(x, 1.5 + y), lax.eq, lax.lt, lax.ge, lax.ne, lax.complex,
    lambda x, y: lax.igamma(1.5 + x, 2 + y), lambda x, y: lax.igammac(1.5 + x, 2 + y), lax.nextafter,
    lambda x, y: lax.zeta(2.5 + x, 1.5 + y), lambda x, y: lax.select(x > y, x, y), jnp.logaddexp, jnp.hypot,
    lambda x, y: lax.betainc(1.5 + x, 1.5 + y, 0.5 + 0.4 * x), lambda x, y: lax.clamp(-0.5, x, 0.5) + y,
]
INT_BINARY = [
    lax.add, lax.sub, lax.mul, lax.div, lax.rem, lax.max, lax.min, lax.bitwise_and, lax.bitwise_or, lax.bitwise_xor,
    lax.shift_left, lax.shift_right_arithmetic, lax.shift_right_logical, lax.eq, lax.lt, lax.gt, lax.le,
    lambda x, y: lax.select(x < y, x, y), lambda x, y: lax.clamp(x, y, lax.max(x, y)),
]


class Maker:
    """Chooses the steps of a program; each is a function of the values so far and gives one more."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.n = np.random.RandomState(seed)
        self.values = []
        self.steps = []

    def array(self, shape, dtype):
        d = np.dtype(dtype)
        if d == np.bool_:
            return np.asarray(self.n.rand(*shape) < 0.5)
        if d.kind in "iu":
            info = np.iinfo(d)
            some = self.n.randint(0, 4)
            if some == 0:
                return self.n.randint(info.min, info.max, shape, d) if shape else np.array(self.n.randint(info.min, info.max, (1,), d)[0])
            return np.asarray(self.n.randint(0 if d.kind == "u" else -4, 9, shape)).astype(d)
        x = np.asarray(self.n.uniform(-1, 1, shape))
        if d.kind == "c":
            x = x + 1j * np.asarray(self.n.uniform(-1, 1, shape))
        return np.asarray(x).astype(d)

    def pick(self, test):
        fitting = [i for i, v in enumerate(self.values) if test(v)]
        if not fitting:
            return None
        # What was made last is taken most often, so that programs are deep.
        return self.r.choice(fitting + fitting[-2:])

    def apply(self, f, *operands):
        try:
            outs = jax.eval_shape(lambda *x: jax.tree_util.tree_leaves(f(*x)), *[self.values[i] for i in operands])
        except (TypeError, ValueError, NotImplementedError):
            return False
        if any(o.size > 4096 or o.dtype.name not in KNOWN for o in outs):
            return False
        self.steps.append((f, operands))
        self.values.extend(outs)
        return True

    def step(self):
        return self.r.choice(STEPS)(self)


KNOWN = {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64", "complex64", "complex128"}


def unary(m):
    i = m.pick(lambda v: True)
    table = {"float": UNARY, "complex": COMPLEX_UNARY, "int": INT_UNARY, "bool": [lax.bitwise_not, lambda x: x.astype(jnp.int32)]}
    f = m.r.choice(table[kind(m.values[i])])
    return m.apply(lambda x: f(squash(x)), i)


def binary(m):
    i = m.pick(lambda v: kind(v) != "bool")
    if i is None:
        return False
    a = m.values[i]
    j = m.pick(lambda v: v.dtype == a.dtype and v.shape == a.shape)
    table = {"float": BINARY, "complex": [lax.add, lax.sub, lax.mul, lambda x, y: lax.div(x, y + 2), lax.eq, lax.ne], "int": INT_BINARY}
    f = m.r.choice(table[kind(a)])
    return m.apply(lambda x, y: f(squash(x), squash(y)), i, j)


def numpy_binary(m):
    i = m.pick(lambda v: kind(v) in ("float", "int"))
    j = m.pick(lambda v: kind(v) in ("float", "int", "complex"))
    if i is None or j is None:
        return False
    f = m.r.choice([jnp.add, jnp.multiply, jnp.subtract, jnp.maximum, jnp.less])
    return m.apply(lambda x, y: f(squash(x), squash(y)), i, j)


def axes_of(m, v, least=0):
    n = m.r.randint(least, v.ndim) if v.ndim >= least else 0
    return tuple(sorted(m.r.sample(range(v.ndim), n)))


def reduction(m):
    i = m.pick(lambda v: v.ndim > 0 and v.size > 0)
    if i is None:
        return False
    v = m.values[i]
    axes = axes_of(m, v, 1)
    table = {
        "float": [jnp.sum, jnp.prod, jnp.max, jnp.min, jnp.mean, jnp.var, jax.nn.logsumexp, lambda x, axis: jnp.argmax(x, axis[0])],
        "complex": [jnp.sum, jnp.prod, jnp.mean],
        "int": [jnp.sum, jnp.prod, jnp.max, jnp.min, lambda x, axis: jnp.argmin(x, axis[-1]), lambda x, axis: lax.reduce_and(x, axis),
                lambda x, axis: lax.reduce_or(x, axis), lambda x, axis: lax.reduce_xor(x, axis)],
        "bool": [jnp.any, jnp.all, jnp.sum],
    }
    f = m.r.choice(table[kind(v)])
    return m.apply(lambda x: f(squash(x), axis=axes), i)


def cumulative(m):
    i = m.pick(lambda v: v.ndim > 0 and kind(v) in ("float", "int"))
    if i is None:
        return False
    v = m.values[i]
    axis, reverse = m.r.randrange(v.ndim), m.r.random() < 0.5
    fs = [lax.cumsum, lax.cumprod, lax.cummax, lax.cummin] + ([lax.cumlogsumexp] if kind(v) == "float" else [])
    f = m.r.choice(fs)
    return m.apply(lambda x: f(squash(x), axis, reverse), i)


def movement(m):
    i = m.pick(lambda v: True)
    v = m.values[i]
    r = m.r
    perm = tuple(r.sample(range(v.ndim), v.ndim))
    axis = r.randrange(v.ndim) if v.ndim else 0
    starts = [r.randint(0, n) for n in v.shape]
    limits = [r.randint(s, n) for s, n in zip(starts, v.shape)]
    strides = [r.randint(1, 3) for _ in v.shape]
    padding = [(r.randint(-1, 2), r.randint(-1, 2), r.randint(0, 2)) for _ in v.shape]
    picked = axes_of(m, v)
    k = r.randint(0, 9)
    index = [r.randint(-2, 4) for _ in v.shape]
    fs = [
        lambda x: lax.transpose(x, perm),
        lambda x: lax.reshape(x, (x.size,)),
        lambda x: lax.rev(x, picked),
        lambda x: lax.slice(x, starts, limits, strides),
        lambda x: lax.pad(x, jnp.zeros((), x.dtype), padding),
        lambda x: lax.broadcast_in_dim(x, (2,) + x.shape, tuple(range(1, x.ndim + 1))),
        lambda x: lax.expand_dims(x, (axis,)),
        lambda x: lax.concatenate([x, x, x], axis),
        lambda x: lax.dynamic_slice(x, index, [min(n, 2) for n in x.shape]),
        lambda x: jnp.roll(x, 1, axis),
        lambda x: jnp.repeat(x, 2, axis),
        lambda x: jnp.squeeze(x),
        lambda x: jnp.tile(x, 2),
        lambda x: lax.split(x, [1, x.shape[axis] - 1], axis)[1],
        lambda x: jnp.stack([x, x], axis),
        lambda x: jnp.tril(x),
        lambda x: lax.optimization_barrier(x),
    ]
    return m.apply(r.choice(fs), i)


def indexing(m):
    i = m.pick(lambda v: v.ndim > 0 and v.size > 0)
    if i is None:
        return False
    v = m.values[i]
    r = m.r
    places = m.n.randint(-2, v.shape[0] + 2, (r.randint(1, 4),))
    mode = r.choice(["clip", "fill", "promise_in_bounds", None, "drop"])
    if mode == "promise_in_bounds":
        places = places % v.shape[0]
    axis = r.randrange(v.ndim)
    along = m.n.randint(0, v.shape[axis], v.shape)
    set_mode = mode if mode != "fill" else "drop"
    fs = [
        lambda x: x.at[places].get(mode=mode if mode != "drop" else "fill"),
        lambda x: x.at[places].set(x[0], mode=set_mode, unique_indices=False) if len(set(places % v.shape[0])) == len(places) else x,
        lambda x: x.at[places].add(x[0], mode=set_mode),
        lambda x: x.at[places].multiply(x[0], mode=set_mode),
        lambda x: x.at[places].max(x[0], mode=set_mode),
        lambda x: x.at[places].min(x[0], mode=set_mode),
        lambda x: jnp.take_along_axis(x, along, axis),
        lambda x: jnp.take(x, places % x.shape[0], 0),
        lambda x: lax.dynamic_update_slice(x, x[:1], [jnp.int32(int(places[0]))] + [jnp.int32(0)] * (x.ndim - 1)),
        lambda x: lax.dynamic_index_in_dim(x, int(places[0]), 0),
        lambda x: x[places % x.shape[0], ..., 0],
        lambda x: jax.vmap(lambda y, p: y.at[p].add(y))(x, along[..., 0]) if x.ndim == 1 else x[::-1],
        lambda x: jnp.where(x == x[0], x, 0 * x),
        lambda x: x.at[..., 0].apply(lambda y: y),
    ]
    f = r.choice(fs)
    return m.apply(lambda x: f(squash(x)), i)


def sorting(m):
    i = m.pick(lambda v: v.ndim > 0)
    if i is None:
        return False
    v = m.values[i]
    axis = m.r.randrange(v.ndim)
    j = m.pick(lambda w: w.shape == v.shape)
    fs = [
        lambda x, y: lax.sort(x, axis),
        lambda x, y: lax.sort((x, y), axis, num_keys=1),
        lambda x, y: lax.sort((x, y), axis, num_keys=2),
        lambda x, y: jnp.argsort(x, axis),
        lambda x, y: jnp.flip(jnp.sort(x, axis), axis),
    ]
    if kind(v) in ("float", "int") and v.shape[-1] > 0:
        fs += [lambda x, y: lax.top_k(x, min(2, x.shape[-1])), lambda x, y: lax.argmax(x, axis, jnp.int32),
               lambda x, y: jnp.median(x, axis) if kind(v) == "float" else x]
    return m.apply(m.r.choice(fs), i, j)


def contraction(m):
    i = m.pick(lambda v: v.ndim > 0 and kind(v) != "bool")
    if i is None:
        return False
    v = m.values[i]
    axis = m.r.randrange(v.ndim)
    batch = [a for a in range(v.ndim) if a != axis and m.r.random() < 0.4]
    numbers = (((axis,), (axis,)), (tuple(batch), tuple(batch)))
    j = m.pick(lambda w: w.shape == v.shape and w.dtype == v.dtype)
    fs = [
        lambda x, y: lax.dot_general(x, y, numbers),
        lambda x, y: lax.dot_general(x, y, numbers, preferred_element_type=x.dtype),
        lambda x, y: jnp.tensordot(x, y, 1) if x.ndim == 1 else jnp.einsum("...i,...i->...", x, y),
        lambda x, y: jnp.einsum("...ij,...kj->...ik", x, y) if x.ndim > 1 else jnp.outer(x, y),
        lambda x, y: jnp.kron(x, y),
        lambda x, y: jnp.convolve(x, y) if x.ndim == 1 and x.size else jnp.inner(x, y),
    ]
    f = m.r.choice(fs)
    return m.apply(lambda x, y: f(squash(x), squash(y)), i, j)


def window(m):
    i = m.pick(lambda v: v.ndim > 0 and kind(v) in ("float", "int"))
    if i is None:
        return False
    v = m.values[i]
    r = m.r
    size = tuple(r.randint(1, 3) for _ in v.shape)
    strides = tuple(r.randint(1, 2) for _ in v.shape)
    pad = r.choice(["SAME", "VALID", [(r.randint(0, 2), r.randint(0, 2)) for _ in v.shape]])
    base, dil = tuple(r.randint(1, 2) for _ in v.shape), tuple(r.randint(1, 2) for _ in v.shape)
    low = -np.inf if kind(v) == "float" else np.iinfo(v.dtype).min
    high = np.inf if kind(v) == "float" else np.iinfo(v.dtype).max
    zero, one = np.zeros((), v.dtype), np.ones((), v.dtype)
    low, high = np.asarray(low, v.dtype), np.asarray(high, v.dtype)
    fs = [
        lambda x: lax.reduce_window(x, zero, lax.add, size, strides, pad, base, dil),
        lambda x: lax.reduce_window(x, one, lax.mul, size, strides, pad, base, dil),
        lambda x: lax.reduce_window(x, low, lax.max, size, strides, pad, base, dil),
        lambda x: lax.reduce_window(x, high, lax.min, size, strides, pad, base, dil),
        lambda x: lax.reduce_window(x, zero, lambda a, b: a + b + a * b, size, strides, pad),
    ]
    if kind(v) == "float":
        fs += [
            lambda x: jax.grad(lambda x: jnp.sum(lax.reduce_window(x, -jnp.inf, lax.max, size, strides, "SAME")))(x),
            lambda x: jax.grad(lambda x: jnp.sum(jnp.sin(lax.reduce_window(x, 0.0, lax.add, size, strides, pad))))(x),
        ]
    # Windows that hold nothing but what stands for nothing give infinities, which what follows squashes.
    f = r.choice(fs[:4] if v.size == 0 else fs)
    return m.apply(lambda x: f(squash(x)), i)


def convolution(m):
    r = m.r
    i = m.pick(lambda v: v.ndim > 0 and v.size >= 2 and kind(v) in ("float", "complex"))
    if i is None:
        return False
    spatial = r.randint(1, 2)
    groups = r.choice([1, 1, 2])
    shape = (2, 2 * groups) + tuple(r.randint(3, 5) for _ in range(spatial))
    kernel = (2 * groups, 2) + tuple(r.randint(1, 3) for _ in range(spatial))
    strides = [r.randint(1, 2) for _ in range(spatial)]
    pad = r.choice(["SAME", "VALID", [(r.randint(-1, 2), r.randint(0, 2)) for _ in range(spatial)]])
    lhs, rhs = [r.randint(1, 2) for _ in range(spatial)], [r.randint(1, 2) for _ in range(spatial)]
    if isinstance(pad, str):
        lhs = [1] * spatial
    letters = r.choice([("NCHW", "OIHW", "NCHW"), ("NHWC", "HWIO", "NHWC"), ("CNHW", "IOHW", "NHWC")])
    spec = tuple(s if spatial == 2 else s.replace("W", "") for s in letters)
    batch = groups == 1 and r.random() < 0.2

    def f(x):
        x = squash(x)
        a = jnp.resize(x, shape) * jnp.arange(int(np.prod(shape))).reshape(shape) / np.prod(shape)
        b = jnp.resize(x[::-1], kernel)
        dn = lax.conv_dimension_numbers(shape, kernel, ("NCHW", "OIHW", "NCHW") if spatial == 2 else ("NCH", "OIH", "NCH"))
        back = lax.conv_dimension_numbers(shape, kernel, spec)
        a = jnp.moveaxis(a, range(a.ndim), back.lhs_spec)
        b = jnp.moveaxis(b, range(b.ndim), back.rhs_spec)
        del dn
        return lax.conv_general_dilated(a, b, strides, pad, lhs, rhs, spec, feature_group_count=groups,
                                        batch_group_count=2 if batch else 1)

    return m.apply(f, i)


def linalg(m):
    i = m.pick(lambda v: v.ndim >= 2 and v.shape[-1] == v.shape[-2] and v.size > 0 and kind(v) in ("float", "complex"))
    if i is None:
        i = m.pick(lambda v: kind(v) == "float" and v.size > 0)
        if i is None:
            return False
        return m.apply(lambda x: jnp.resize(squash(x), (3, 3)) + 0.3 * jnp.arange(9.0, dtype=x.dtype).reshape(3, 3), i)
    n = m.values[i].shape[-1]
    eye = np.eye(n)

    def good(x):
        x = squash(x)
        return x @ jnp.swapaxes(x.conj(), -1, -2) + (eye * (1 + np.arange(n))).astype(x.dtype)

    lower, left, trans, unit = (m.r.random() < 0.5 for _ in range(4))
    fs = [
        lambda x: lax.linalg.cholesky(good(x)),
        lambda x: lax.linalg.triangular_solve(good(x), x, left_side=left, lower=lower, transpose_a=trans, unit_diagonal=unit),
        lambda x: jnp.linalg.solve(good(x), x),
        lambda x: jnp.linalg.inv(good(x)),
        lambda x: jnp.linalg.det(good(x)),
        lambda x: jnp.linalg.slogdet(good(x))[1],
        lambda x: jnp.abs(jnp.linalg.qr(good(x))[1]),
        lambda x: jnp.linalg.svd(good(x), compute_uv=False),
        lambda x: jnp.linalg.eigvalsh(good(x)),
        lambda x: lax.linalg.lu(good(x))[0],
        lambda x: jsp.linalg.expm(0.1 * squash(x)),
        lambda x: jnp.linalg.matrix_power(0.5 * squash(x), 3),
        lambda x: jnp.linalg.pinv(good(x)),
        lambda x: jsp.linalg.cho_solve((lax.linalg.cholesky(good(x)), True), squash(x)),
    ]
    return m.apply(m.r.choice(fs), i)


def fourier(m):
    i = m.pick(lambda v: v.ndim > 0 and v.size > 0 and kind(v) in ("float", "complex"))
    if i is None:
        return False
    real = kind(m.values[i]) == "float"
    fs = [jnp.fft.fft, jnp.fft.ifft] + ([jnp.fft.rfft] if real else [jnp.fft.irfft])
    f = m.r.choice(fs)
    return m.apply(lambda x: f(squash(x)), i)


def control(m):
    i = m.pick(lambda v: v.ndim > 0 and v.size > 0 and kind(v) in ("float", "int"))
    j = m.pick(lambda v: v.ndim == 0 and kind(v) in ("int", "bool"))
    if i is None:
        return False
    r = m.r
    n = r.randint(1, 4)
    reverse = r.random() < 0.5
    rows = lambda x: jnp.cumsum(x, 0)
    # Names of what is captured, so that programs inside have operands of their own.
    fs = [
        lambda x: lax.fori_loop(0, n, lambda k, c: squash(c + x * (k + 1).astype(x.dtype)), x),
        lambda x: lax.scan(lambda c, y: (squash(c + y), c * y), jnp.zeros_like(x[0]), x, reverse=reverse),
        lambda x: lax.scan(lambda c, _: (squash(c + x), None), x, None, length=n)[0],
        lambda x: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, squash(c[1] + x)), (0, x))[1],
        lambda x: lax.map(lambda y: y * 2 + x[0], x),
        lambda x: jax.vmap(lambda y: lax.cond(jnp.sum(y) > 0, lambda y: y + 1, lambda y: y * 2, y))(x),
        lambda x: jax.vmap(lambda y: lax.while_loop(lambda c: jnp.sum(jnp.abs(c)) > 3, lambda c: lax.div(c, np.asarray(2, c.dtype)), y))(x),
        lambda x: lax.associative_scan(lax.max, x, axis=0, reverse=reverse),
        lambda x: lax.reduce(x, np.zeros((), x.dtype), lambda a, b: a + b + a * b, (0,)),
        lambda x: jax.jit(rows)(x) + jax.jit(rows)(x * 2),
        lambda x: jax.checkpoint(lambda x: squash(x * x))(x),
        lambda x: lax.scan(lambda c, y: (c + 1, lax.cond(c % 2 == 0, lambda y: y, lambda y: -y, y)), 0, x)[1],
    ]
    if j is not None:
        k = r.randrange(3)
        fs2 = [
            lambda x, p: lax.switch(jnp.asarray(p).astype(jnp.int32), [lambda x: x, lambda x: x + x, lambda x: x * 3], x),
            lambda x, p: lax.cond(p > 0 if p.dtype != np.bool_ else p, lambda x: squash(x + k), lambda x: x * x, x),
            lambda x, p: lax.fori_loop(0, jnp.asarray(p).astype(jnp.int32) % 4, lambda k, c: squash(c + x), x),
        ]
        if r.random() < 0.4:
            f = r.choice(fs2)
            return m.apply(lambda x, p: f(squash(x), p), i, j)
    f = r.choice(fs)
    return m.apply(lambda x: f(squash(x)), i)


def derivative(m):
    i = m.pick(lambda v: v.ndim > 0 and v.size > 0 and kind(v) == "float")
    if i is None:
        return False
    r = m.r
    inner = r.choice(
        [jnp.sin, jax.nn.softmax, lambda x: jnp.cumprod(1.1 + x, 0), lambda x: jax.nn.logsumexp(x, 0), jnp.sort, lambda x: x @ x.T if x.ndim == 2 else x * x,
         lambda x: lax.scan(lambda c, y: (jnp.sin(c + y), c), jnp.zeros_like(x[0]), x)[1], jax.nn.log_softmax, lambda x: x.max(0), lambda x: x[::-1] * x,
         lambda x: jnp.linalg.norm(x.ravel()), lambda x: lax.digamma(x + 1.5), lambda x: lax.igamma(2.0, x + 1.5), lambda x: lax.reduce_precision(x, 8, 23) * x,
         lambda x: jnp.prod(x, 0), lambda x: jnp.var(x), lambda x: jax.nn.standardize(x, 0, epsilon=0.1), jax.nn.gelu, lambda x: jnp.arctan2(x, 1.5 + x), lax.erf_inv]
    )
    g = lambda x: jnp.sum(jnp.cos(inner(0.9 * squash(x))) * 0.7)
    fs = [
        lambda x: jax.grad(g)(x),
        lambda x: jax.jvp(g, (x,), (jnp.ones_like(x),))[1],
        lambda x: jax.vmap(jax.grad(lambda y: jnp.sum(jnp.sin(y) * y)))(x),
        lambda x: jax.linearize(inner, 0.9 * squash(x))[1](x),
        lambda x: jax.grad(lambda x: jnp.sum(jax.grad(g)(x) * x))(x) if x.ndim == 1 else jax.grad(g)(x),
    ]
    return m.apply(r.choice(fs), i)


def randomness(m):
    r = m.r
    i = m.pick(lambda v: kind(v) in ("int", "bool"))
    shape = r.choice([(3,), (2, 3), ()])
    draw = r.choice(
        [lambda k: jax.random.bits(k, shape), lambda k: jax.random.uniform(k, shape, jnp.float64), lambda k: jax.random.normal(k, shape, jnp.float64),
         lambda k: jax.random.randint(k, shape, 0, 100), lambda k: jax.random.permutation(k, 5), lambda k: jax.random.bernoulli(k, 0.3, shape),
         lambda k: jax.random.key_data(jax.random.split(k, 2)), lambda k: lax.rng_bit_generator(jnp.concatenate([jax.random.key_data(k)] * 2), (3,))[1],
         lambda k: jax.random.gumbel(k, shape, jnp.float64), lambda k: jax.random.key_data(jax.random.fold_in(k, 7))]
    )
    seed = r.randint(0, 1000)
    if i is None:
        return False
    return m.apply(lambda x: draw(jax.random.key(jnp.sum(x).astype(jnp.uint32) + seed)), i)


def conversion(m):
    i = m.pick(lambda v: True)
    v = m.values[i]
    to = m.r.choice(FLOATS + INTS + ["complex128", "complex64", "bool"])
    if kind(v) == "float" and np.dtype(to).kind in "iu":
        return m.apply(lambda x: lax.convert_element_type(squash(x) * 20, to), i)
    if kind(v) == "complex" and np.dtype(to).kind != "c":
        return m.apply(lambda x: x.real, i)
    return m.apply(lambda x: lax.convert_element_type(squash(x), to), i)


STEPS = (
    [unary] * 6 + [binary] * 6 + [numpy_binary] * 2 + [reduction] * 3 + [cumulative] * 2 + [movement] * 6 + [indexing] * 4 + [sorting] * 2
    + [contraction] * 3 + [window] * 2 + [convolution] + [linalg] * 3 + [fourier] + [control] * 5 + [derivative] * 3 + [randomness] + [conversion] * 2
)


@functools.lru_cache(maxsize=4)
def make(seed):
    """A program: a function, what it is applied to, and the step from 1 to the next number of the coarsest type in it."""
    m = Maker(seed)
    inputs = []
    for _ in range(m.r.randint(2, 4)):
        dtype = m.r.choice(FLOATS + INTS[:4] + ["bool", "complex128", "float64", "float64"])
        x = m.array(m.r.choice(SHAPES), dtype)
        inputs.append(x)
        m.values.append(jax.ShapeDtypeStruct(x.shape, x.dtype))
    count, tries = m.r.randint(2, 9), 0
    while len(m.steps) < count and tries < 60:
        tries += 1
        m.step()
    steps = list(m.steps)

    def program(*x):
        values = list(x)
        for f, operands in steps:
            values.extend(jax.tree_util.tree_leaves(f(*[values[i] for i in operands])))
        # Everything that nothing else takes, and the last.
        used = {i for _, operands in steps for i in operands}
        return [v for i, v in enumerate(values) if i >= len(x) and (i not in used or i == len(values) - 1)]

    inexact = [v.dtype for v in m.values if kind(v) in ("float", "complex")]
    precision = max([float(jnp.finfo(d).eps) for d in inexact], default=0.0)
    return program, inputs, precision
