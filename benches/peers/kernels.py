"""One kernel at a time of torch, jax or onnxruntime, as `compare.py` asks for them in turn with those of `benches/kernels.rs`.

    kernels.py torch|torch_compile|jax|onnxruntime

Reads the same lines, `CASE DTYPE SECONDS SIZE…`, and writes the milliseconds of the first call and of the quickest one that fits into
the time; `none` where the system has no such kernel.
"""

import sys
import time


class Torch:
    """Eager, or compiled; medium precision."""

    def __init__(self, compiled=False):
        import torch

        torch.set_float32_matmul_precision("medium")
        self.torch, self.compiled = torch, compiled
        self.types = dict(f32=torch.float32, bf16=torch.bfloat16, f16=torch.float16)

    def normal(self, shape, dtype, gradient=False):
        return self.torch.randn(*shape).to(self.types[dtype]).requires_grad_(gradient)

    def of(self, f, arrays, gradient):
        f = self.torch.compile(f) if self.compiled else f
        if not gradient:
            def run():
                with self.torch.no_grad():
                    f(*arrays)
            return run
        arrays = [a.detach().requires_grad_() for a in arrays]
        cotangent = self.torch.randn_like(f(*arrays))

        def run():
            self.torch.autograd.grad(f(*arrays), arrays, cotangent)
        return run

    def make(self, case, dtype, sizes):
        t, F = self.torch, self.torch.nn.functional
        name, gradient = case.removesuffix("_grad"), case.endswith("_grad")
        given = lambda *shape: self.normal(shape, dtype)
        if name == "gemm":
            m, k, n = sizes
            return self.of(lambda x, y: x @ y, [given(m, k), given(k, n)], gradient)
        if name == "softmax":
            return self.of(lambda x: F.softmax(x, -1), [given(*sizes)], gradient)
        if name == "gelu":
            return self.of(F.gelu, [given(*sizes)], gradient)
        if name == "gelu_tanh":
            return self.of(lambda x: F.gelu(x, approximate="tanh"), [given(*sizes)], gradient)
        if name == "cross_entropy":
            labels = t.arange(sizes[0]) % sizes[1]
            return self.of(lambda x: F.cross_entropy(x, labels), [given(*sizes)], gradient)
        if name == "layer_norm":
            m, n = sizes
            return self.of(lambda x, w, b: F.layer_norm(x, (n,), w, b), [given(m, n), given(n), given(n)], gradient)
        if name == "attention":
            batch, heads, length, size = sizes
            return self.of(F.scaled_dot_product_attention, [given(batch, heads, length, size) for _ in range(3)], gradient)
        if name == "conv":
            batch, channels, height, width, out, side = sizes
            return self.of(lambda x, k: F.conv2d(x, k, padding=1),
                           [given(batch, channels, height, width), given(out, channels, side, side)], gradient)
        if name == "adamw":
            tensors, rows, columns = sizes
            parameters = [self.normal((rows, columns), dtype, True) for _ in range(tensors)]
            for p in parameters:
                p.grad = t.randn_like(p)
            optimiser = t.optim.AdamW(parameters, 1e-3, weight_decay=1e-4)
            return t.compile(optimiser.step) if self.compiled else optimiser.step
        if name == "lora_product":
            size, rank, columns = sizes
            return self.of(lambda w, a, b, x: w @ x + a @ (b @ x),
                           [given(size, size), given(size, rank), given(rank, size), given(size, columns)], False)
        if name == "overhead":
            inputs, outputs = sizes
            return self.of(lambda w, a, b, c, x: w @ x + a @ (b @ x) + c,
                           [given(outputs, inputs), given(outputs, 2), given(2, inputs), given(outputs), given(inputs)], False)
        if name == "inference":
            model, ids = self.encoder(*sizes)
            return self.of(model, [ids], False)
        return None

    def encoder(self, batch, seq):
        """In the shape of MiniLM, as that of `benches/support/encoder.rs`."""
        torch, nn = self.torch, self.torch.nn
        d, ffn, heads = 384, 1536, 12

        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
                self.up, self.down = nn.Linear(d, ffn), nn.Linear(ffn, d)
                self.ln1, self.ln2 = nn.LayerNorm(d, eps=1e-12), nn.LayerNorm(d, eps=1e-12)

            def forward(self, x):
                split = lambda y: y.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)
                q, k, v = split(self.q(x)), split(self.k(x)), split(self.v(x))
                seen = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
                x = self.ln1(x + self.o(seen))
                return self.ln2(x + self.down(nn.functional.gelu(self.up(x))))

        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding = nn.Embedding(30522, d)
                self.positions = nn.Parameter(torch.randn(seq, d) * 0.02)
                self.blocks = nn.ModuleList(Block() for _ in range(6))
                self.head = nn.Linear(d, 2)

            def forward(self, ids):
                x = self.embedding(ids) + self.positions
                for block in self.blocks:
                    x = block(x)
                return self.head(x.mean(1))

        return Encoder().eval(), torch.randint(0, 30522, (batch, seq))


class OnnxRuntime(Torch):
    """The encoder, exported from torch."""

    def make(self, case, dtype, sizes):
        if case != "inference" or dtype != "f32":
            return None
        import io

        import onnxruntime

        model, ids = self.encoder(*sizes)
        exported = io.BytesIO()
        self.torch.onnx.export(model, (ids,), exported, input_names=["ids"], dynamo=False)
        session = onnxruntime.InferenceSession(exported.getvalue(), providers=["CPUExecutionProvider"])
        given = {"ids": ids.numpy()}
        return lambda: session.run(None, given)


class Jax:
    """Jitted; what has a low-rank weight by quax."""

    def __init__(self):
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp = jax, jnp
        self.types = dict(f32=jnp.float32, bf16=jnp.bfloat16, f16=jnp.float16)

    def normal(self, shape, dtype, seed=0):
        return self.jax.random.normal(self.jax.random.PRNGKey(seed), shape).astype(self.types[dtype])

    def of(self, f, arrays, gradient):
        jax = self.jax
        if not gradient:
            f = jax.jit(f)
            return lambda: jax.block_until_ready(f(*arrays))

        def both(cotangent, *arrays):
            y, pullback = jax.vjp(f, *arrays)
            return y, pullback(cotangent)

        cotangent = jax.random.normal(jax.random.PRNGKey(9), jax.eval_shape(f, *arrays).shape).astype(arrays[0].dtype)
        both = jax.jit(both)
        return lambda: jax.block_until_ready(both(cotangent, *arrays))

    def make(self, case, dtype, sizes):
        jax, jnp = self.jax, self.jnp
        name, gradient = case.removesuffix("_grad"), case.endswith("_grad")
        given = lambda *shape: self.normal(shape, dtype)
        if name == "gemm":
            m, k, n = sizes
            return self.of(lambda x, y: x @ y, [given(m, k), given(k, n)], gradient)
        if name == "softmax":
            return self.of(lambda x: jax.nn.softmax(x, -1), [given(*sizes)], gradient)
        if name == "gelu":
            return self.of(lambda x: jax.nn.gelu(x, approximate=False), [given(*sizes)], gradient)
        if name == "gelu_tanh":
            return self.of(jax.nn.gelu, [given(*sizes)], gradient)
        if name == "cross_entropy":
            labels = jnp.arange(sizes[0]) % sizes[1]
            return self.of(
                lambda x: -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1).mean(), [given(*sizes)], gradient)
        if name == "layer_norm":
            m, n = sizes

            def norm(x, w, b):
                centred = x - x.mean(-1, keepdims=True)
                return centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w + b
            return self.of(norm, [given(m, n), given(n), given(n)], gradient)
        if name == "attention":
            batch, heads, length, size = sizes
            return self.of(jax.nn.dot_product_attention, [given(batch, length, heads, size) for _ in range(3)], gradient)
        if name == "conv":
            batch, channels, height, width, out, side = sizes
            f = lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), ((1, 1), (1, 1)))
            return self.of(f, [given(batch, channels, height, width), given(out, channels, side, side)], gradient)
        if name == "adamw":
            import optax

            tensors, rows, columns = sizes
            parameters, gradients = ([given(rows, columns) for _ in range(tensors)] for _ in range(2))
            optimiser = optax.adamw(1e-3, weight_decay=1e-4)
            state = optimiser.init(parameters)

            @jax.jit
            def step(parameters, gradients, state):
                updates, state = optimiser.update(gradients, state, parameters)
                return optax.apply_updates(parameters, updates), state
            return lambda: jax.block_until_ready(step(parameters, gradients, state))
        if name in ("lora_product", "overhead"):
            import quax
            import quax.examples.lora as lora

            if name == "lora_product":
                size, rank, columns = sizes
                w, c, x = given(size, size), None, given(size, columns)
            else:
                inputs, outputs = sizes
                rank = 2
                w, c, x = given(outputs, inputs), given(outputs), given(inputs)
            w = lora.LoraArray(w, rank=rank, scale=1.0, key=jax.random.PRNGKey(0))
            f = (lambda w, x: w @ x) if c is None else (lambda w, x, c: w @ x + c)
            arguments = [w, x] if c is None else [w, x, c]
            f = jax.jit(quax.quaxify(f))
            return lambda: jax.block_until_ready(f(*arguments))
        return None


SYSTEMS = dict(torch=Torch, torch_compile=lambda: Torch(compiled=True), jax=Jax, onnxruntime=OnnxRuntime)


def main():
    system = SYSTEMS[sys.argv[1]]()
    for line in sys.stdin:
        case, dtype, seconds, *sizes = line.split()
        run = system.make(case, dtype, [int(n) for n in sizes])
        if run is None:
            print("none", flush=True)
            continue
        begin, times = time.perf_counter(), []
        while len(times) < 3 or time.perf_counter() - begin < float(seconds):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        print(times[0], min(times[1:]), flush=True)


if __name__ == "__main__":
    main()
