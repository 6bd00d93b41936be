"""Exports models from Python, runs them with Quaxide as they are and with low-rank updates, and compares with JAX.

    python -m venv .venv && .venv/bin/pip install jax==0.10.2 equinox flax safetensors
    cargo build --release
    .venv/bin/python examples/from_python/models.py target/release/quaxide

For each model: NAME.mlir is the program, NAME.safetensors its parameters, NAME.adapter.safetensors the factors of low-rank
updates of the weights that a pattern names. JAX's answer to the updates is what the program gives with w + a @ b in their place.
"""
import pathlib
import subprocess
import sys

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export
from safetensors.numpy import load_file, save_file

OUT = pathlib.Path("target/from_python")
QUAXIDE = sys.argv[1] if len(sys.argv) > 1 else "target/release/quaxide"
RANK = 4


def path_of(path):
    return "params" + jax.tree_util.keystr(path)


def quaxide(*arguments):
    subprocess.run([QUAXIDE, *map(str, arguments)], check=True)


def compare(what, found, wanted, tolerance):
    error = float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30))
    print(f"{what}: shape {found.shape}, relative error {error:.1e}")
    assert found.shape == wanted.shape and error < tolerance, what


def export_and_run(name, model, params, x, patterns, adapted, tolerance=2e-5):
    """`adapted` says of a parameter's name whether one of `patterns` fits it."""
    OUT.mkdir(parents=True, exist_ok=True)
    exported = export.export(jax.jit(model))(params, x)
    (OUT / f"{name}.mlir").write_text(exported.mlir_module())
    leaves = jax.tree_util.tree_leaves_with_path(params)
    save_file({path_of(p): np.asarray(w) for p, w in leaves}, OUT / f"{name}.safetensors")
    np.save(OUT / f"{name}.x.npy", np.asarray(x))

    program, given = OUT / f"{name}.mlir", ["--input", OUT / f"{name}.safetensors", "--input", f"x={OUT / name}.x.npy"]
    for interp in ("reference", "compiled"):
        quaxide("run", program, *given, "--interp", interp, "--out", OUT / f"{name}.y.npy")
        compare(f"{name} ({interp})", np.load(OUT / f"{name}.y.npy"), np.asarray(model(params, x)), tolerance)

    rng = np.random.RandomState(0)
    factors, merged = {}, params
    for path, w in leaves:
        if not adapted(path_of(path)):
            continue
        a = rng.normal(size=(w.shape[0], RANK)).astype(np.float32) * 0.1
        b = rng.normal(size=(RANK, w.shape[1])).astype(np.float32) * 0.1
        factors[path_of(path) + ".a"], factors[path_of(path) + ".b"] = a, b
        merged = jax.tree_util.tree_map_with_path(lambda p, v: v + a @ b if p == path else v, merged)
    save_file(factors, OUT / f"{name}.adapter.safetensors")
    lora = [word for p in patterns for word in ("--lora", p)] + ["--rank", RANK, "--adapter", OUT / f"{name}.adapter.safetensors"]
    quaxide("run", program, *given, *lora, "--out", OUT / f"{name}.lora.npy")
    compare(f"{name} ({len(factors) // 2} low-rank updates)", np.load(OUT / f"{name}.lora.npy"), np.asarray(model(merged, x)), tolerance)


def equinox_mlp():
    mlp = eqx.nn.MLP(4, 3, 16, 2, key=jax.random.key(0))
    params, static = eqx.partition(mlp, eqx.is_array)

    def model(params, x):
        return jax.vmap(eqx.combine(params, static))(x)

    x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
    export_and_run("mlp", model, params, x, ["params.layers*.weight"], lambda p: p.endswith(".weight"))


class Block(nn.Module):
    heads: int

    @nn.compact
    def __call__(self, x, mask):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(self.heads)(y, mask=mask)
        y = nn.Dense(4 * x.shape[-1], name="up")(nn.LayerNorm()(x))
        return x + nn.Dense(x.shape[-1], name="down")(nn.gelu(y))


class Transformer(nn.Module):
    vocabulary: int = 50
    width: int = 32
    depth: int = 2

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(self.vocabulary, self.width)(tokens)
        x = x + self.param("positions", nn.initializers.normal(0.02), (tokens.shape[-1], self.width))
        mask = nn.make_causal_mask(tokens)
        for i in range(self.depth):
            x = Block(4, name=f"block_{i}")(x, mask)
        return nn.Dense(self.vocabulary, name="head")(nn.LayerNorm()(x))


def flax_transformer():
    tokens = np.random.RandomState(1).randint(0, 50, (2, 12)).astype(np.int32)
    transformer = Transformer()
    params = transformer.init(jax.random.key(1), tokens)["params"]

    def model(params, x):
        return transformer.apply({"params": params}, x)

    fits = lambda p: p.endswith("['kernel']") and any(f"['{n}']" in p for n in ("up", "down", "head"))
    export_and_run("transformer", model, params, tokens, ["params.block_*.up.kernel", "params.block_*.down.kernel", "params.head.kernel"], fits)


class Convolutional(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.norm = nnx.GroupNorm(8, num_groups=4, rngs=rngs)
        self.out = nnx.Linear(8 * 7 * 7, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.norm(self.conv(x))), (2, 2), (2, 2))
        return jax.nn.log_softmax(self.out(x.reshape(x.shape[0], -1)))


def flax_convolutional():
    graph, state = nnx.split(Convolutional(nnx.Rngs(2)))
    params = nnx.to_pure_dict(state)

    def model(params, x):
        return nnx.merge(graph, params)(x)

    x = np.random.RandomState(2).normal(size=(3, 14, 14, 1)).astype(np.float32)
    export_and_run("convolutional", model, params, x, ["params.out.kernel"], lambda p: p == "params['out']['kernel']")


equinox_mlp()
flax_transformer()
flax_convolutional()
print("all agree")
