"""Golden values of the scalar special functions, to 17 digits, by mpmath in 60.

    python -m venv .venv && .venv/bin/pip install mpmath==1.4.1
    .venv/bin/python tests/golden/make_special.py > tests/golden/special.txt

One line a value: the function, its arguments, its result; a complex number is two of them.
"""

import random

import mpmath as mp

mp.mp.dps = 60
rng = random.Random(7)


def spread(low, high):
    """A number whose logarithm is uniform between powers of ten."""
    return 10 ** rng.uniform(low, high)


def line(name, arguments, result):
    parts = [repr(float(a)) for a in arguments]
    values = [result.real, result.imag] if isinstance(result, mp.mpc) else [result]
    print(name, *parts, "=", *(mp.nstr(v, 20, min_fixed=0, max_fixed=0) for v in values))


REAL = {
    "lgamma": (mp.loggamma, lambda: spread(-8, 5)),
    "digamma": (mp.digamma, lambda: spread(-5, 4)),
    "bessel_i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), lambda: rng.gauss(0, 12)),
    "bessel_i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), lambda: rng.gauss(0, 12)),
    "erf": (mp.erf, lambda: rng.gauss(0, 1.5)),
    "erfc": (mp.erfc, lambda: rng.gauss(0, 3)),
    "erf_inv": (mp.erfinv, lambda: rng.uniform(-1, 1)),
    "log1p": (lambda x: mp.log(1 + x), lambda: spread(-8, 3)),
    "expm1": (mp.expm1, lambda: rng.gauss(0, 4)),
    "tanh": (mp.tanh, lambda: rng.gauss(0, 3)),
    "logistic": (lambda x: 1 / (1 + mp.exp(-x)), lambda: rng.gauss(0, 6)),
}
for name, (function, draw) in REAL.items():
    for _ in range(24):
        x = draw()
        line(name, [x], function(mp.mpf(x)))

PAIR = {
    "zeta": (mp.zeta, lambda: (1 + spread(-2, 1), spread(-2, 2))),
    "polygamma": (lambda n, x: mp.polygamma(int(n), x), lambda: (rng.randint(1, 12), spread(-1, 2))),
    "igamma": (
        lambda a, x: mp.gammainc(a, 0, x, regularized=True),
        lambda: (a := spread(-2, 4), a * (1 + rng.uniform(-0.8, 2) / (1 + a**0.5))),
    ),
    "igammac": (
        lambda a, x: mp.gammainc(a, x, regularized=True),
        lambda: (a := spread(-2, 4), a * (1 + rng.uniform(-0.8, 2) / (1 + a**0.5))),
    ),
    "igamma_grad_a": (
        lambda a, x: mp.diff(lambda s: mp.gammainc(s, 0, x, regularized=True), a),
        lambda: (a := spread(-1, 2), a * rng.uniform(0.5, 1.5)),
    ),
    "random_gamma_grad": (
        lambda a, x: -mp.diff(lambda s: mp.gammainc(s, 0, x, regularized=True), a)
        / (x ** (a - 1) * mp.exp(-x) / mp.gamma(a)),
        lambda: (a := spread(-1, 2), a * rng.uniform(0.5, 1.5)),
    ),
}
for name, (function, draw) in PAIR.items():
    for _ in range(24):
        a, x = map(float, draw())
        line(name, [a, x], function(mp.mpf(a), mp.mpf(x)))

for _ in range(24):
    a, b = spread(-1, 3), spread(-1, 3)
    x = rng.betavariate(max(a, 0.2), max(b, 0.2))
    x = min(max(x, 1e-6), 1 - 1e-6)
    line("betainc", [a, b, x], mp.betainc(mp.mpf(a), mp.mpf(b), 0, mp.mpf(x), regularized=True))

COMPLEX = {
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": lambda z: mp.log(1 + z),
    "sqrt": mp.sqrt,
    "logistic": lambda z: 1 / (1 + mp.exp(-z)),
}
for name in "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh".split():
    COMPLEX[name] = getattr(mp, name)
for name, function in COMPLEX.items():
    for _ in range(16):
        x, y = (rng.choice([-1, 1]) * spread(-4, 1) for _ in range(2))
        line("complex_" + name, [x, y], mp.mpc(function(mp.mpc(x, y))))
for _ in range(16):
    z, w = (mp.mpc(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(2))
    line("complex_pow", [z.real, z.imag, w.real, w.imag], z**w)
