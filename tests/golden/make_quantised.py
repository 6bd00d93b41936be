"""Makes the golden values for quantised arrays, `quantised.safetensors` beside this file.

    python3.11 -m venv /tmp/golden
    /tmp/golden/bin/pip install numpy gguf==0.19.0 safetensors==0.8.0
    git clone https://github.com/ggml-org/ggml /tmp/ggml && cd /tmp/ggml && git checkout d99724f2b141fed9e1a9f402213506c081433465
    gcc -shared -fPIC -O1 -ffp-contract=off -Iinclude -Isrc src/ggml-quants.c -o /tmp/libggml-quants.so -lm
    /tmp/golden/bin/python tests/golden/make_quantised.py /tmp/libggml-quants.so

`x` [6, 512] is what is quantised. For each GGUF format `NAME`: `NAME.blocks` are the bytes that ggml's reference function makes, and
`NAME.values` the numbers that the gguf package reads from them. `int8` and `nf4` are the definitions of bitsandbytes 0.48, written in
NumPy with the types that its PyTorch code has.
"""

import ctypes
import pathlib
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
f32 = np.float32


def inputs():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((6, 512)).astype(f32)
    x[1] *= f32(0.02)
    x[2] = np.abs(x[2])
    x[3, :256] = 0
    x[4] = f32(3.5)
    x[5, ::7] *= f32(30)
    return x


def ggml(lib, name, x, block, size):
    out = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
    f = getattr(lib, f"quantize_row_{name}_ref")
    f.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    for row, result in zip(x, out):
        row = np.ascontiguousarray(row)
        f(row.ctypes.data, result.ctypes.data, row.size)
    return out


def linspace(a, b, n):
    """As torch.linspace in float32: from both ends."""
    a, b = f32(a), f32(b)
    step = f32((b - a) / f32(n - 1))
    i = np.arange(n)
    low = (a + step * i.astype(f32)).astype(f32)
    high = (b - step * (n - 1 - i).astype(f32)).astype(f32)
    return np.where(i < n // 2, low, high).astype(f32)


def dynamic_map():
    """The signed 8-bit map with seven bits of exponent."""
    data = []
    for i in range(7):
        b = linspace(0.1, 1, 2**i + 1)
        means = ((b[:-1] + b[1:]) / f32(2)).astype(f32)
        part = (f32(10.0 ** (-6 + i)) * means).astype(f32)
        data += part.tolist() + (-part).tolist()
    return np.array(sorted(data + [0.0, 1.0]), f32)


NF4 = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    f32,
)


def blockwise(x, code, size):
    """The nearest entries of a table, and the largest magnitude of each block."""
    codes, absmax = [], []
    for block in np.split(x.reshape(-1), range(size, x.size, size)):
        m = np.abs(block).max()
        with np.errstate(all="ignore"):
            scaled = np.clip(block * (f32(1) / m), f32(-1), f32(1)).astype(f32)
        scaled = np.nan_to_num(scaled, nan=0.0)
        codes.append(np.abs(scaled[:, None] - code).argmin(-1).astype(np.uint8))
        absmax.append(m)
    return np.concatenate(codes), np.array(absmax, f32)


def main():
    lib = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL | 1)
    x = inputs()
    out = {"x": x}
    formats = [("q4_0", 32, 18), ("q4_1", 32, 20), ("q8_0", 32, 34), ("q4_K", 256, 144), ("q6_K", 256, 210)]
    for name, block, size in formats:
        blocks = ggml(lib, name, x, block, size)
        kind = getattr(gguf.GGMLQuantizationType, name.upper())
        out[f"{name}.blocks"] = blocks
        out[f"{name}.values"] = gguf.quants.dequantize(blocks, kind).astype(f32)
    stats = np.abs(x).max(-1)
    out["int8.codes"] = np.rint(x * (f32(127) / stats[:, None])).astype(np.int8)
    out["int8.absmax"] = stats
    out["int8.values"] = (out["int8.codes"].astype(f32) * stats[:, None] * f32(7.874015718698502e-3)).astype(f32)
    codes, absmax = blockwise(x, NF4, 64)
    offset = f32(absmax.astype(np.float64).mean())
    table = dynamic_map()
    nested_codes, nested = blockwise(absmax - offset, table, 256)
    scales = (table[nested_codes] * np.repeat(nested, 256)[: absmax.size] + offset).astype(f32)
    values = (NF4[codes].reshape(-1, 64) * scales[:, None]).astype(f32)
    out["nf4.codes"] = (codes[::2] << 4 | codes[1::2]).reshape(6, 256)
    out["nf4.absmax"] = nested_codes.reshape(6, 8)
    out["nf4.nested"] = nested
    out["nf4.offset"] = np.array(offset, f32)
    out["nf4.values"] = values.reshape(6, 512)
    out["table"] = table
    save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, HERE / "quantised.safetensors")


main()
