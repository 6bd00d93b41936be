"""What other systems make of the training step of `benches/lora_step.rs`: `compare.py` runs this in a process for each.

    lora_step.py SYSTEM --weights FILE --batch N --seq N --d N --ffn N --layers N --heads N --rank N --steps N --decay X

The weights and the batch are those that `benches/lora_step.rs` writes. torch runs in its best ordinary setting: medium precision, eager
(`torch_peft`) and compiled (`torch_compile`).
"""

import argparse
import re
import resource
import statistics
import time

LINEAR = ["q", "k", "v", "o", "up", "down"]


def named(arrays):
    """Paths as Quaxide writes them, `[0].blocks[1].q.bias`, as `0.blocks.1.q.bias`."""
    return {re.sub(r"\[(\d+)\]", r".\1", name).lstrip("."): array for name, array in arrays.items()}


def report(system, losses, times):
    first, *times = times
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"system={system} dtype=f32 first_ms={first:.1f} median_ms={statistics.median(times):.1f} min_ms={min(times):.1f} "
          f"first_loss={losses[0]:.6f} loss={losses[-1]:.6f} peak_mb={peak:.0f}")


def timed(step, steps):
    losses, times = [], []
    for _ in range(steps + 1):
        start = time.perf_counter()
        losses.append(step())
        times.append((time.perf_counter() - start) * 1e3)
    return losses, times


def torch_peft(o, compiled):
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from torch import nn

    torch.set_float32_matmul_precision("medium")
    given = named(load_file(o.weights))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(o.d, o.d) for _ in range(4))
            self.up, self.down = nn.Linear(o.d, o.ffn), nn.Linear(o.ffn, o.d)
            self.ln1, self.ln2 = (nn.LayerNorm(o.d, eps=1e-12) for _ in range(2))

        def forward(self, x):
            heads = lambda y: y.view(x.shape[0], x.shape[1], o.heads, -1).transpose(1, 2)
            q, k, v = heads(self.q(x)), heads(self.k(x)), heads(self.v(x))
            seen = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            x = self.ln1(x + self.o(seen))
            return self.ln2(x + self.down(nn.functional.gelu(self.up(x))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Parameter(given["0.embedding"])
            self.positions = nn.Parameter(given["0.positions"])
            self.blocks = nn.ModuleList(Block() for _ in range(o.layers))
            self.head = nn.Linear(o.d, 2)

        def forward(self, ids):
            x = nn.functional.embedding(ids, self.embedding) + self.positions
            for block in self.blocks:
                x = block(x)
            return self.head(x.mean(1))

    model = Encoder()
    with torch.no_grad():
        model.head.weight.copy_(given["0.head.weight"])
        model.head.bias.copy_(given["0.head.bias"])
        for i, block in enumerate(model.blocks):
            for name in LINEAR:
                getattr(block, name).weight.copy_(given[f"0.blocks.{i}.{name}.weight.w"])
                getattr(block, name).bias.copy_(given[f"0.blocks.{i}.{name}.bias"])
            for name in ("ln1", "ln2"):
                getattr(block, name).weight.copy_(given[f"0.blocks.{i}.{name}.weight"])
                getattr(block, name).bias.copy_(given[f"0.blocks.{i}.{name}.bias"])
    config = LoraConfig(r=o.rank, lora_alpha=o.rank, lora_dropout=0.0, target_modules=r"blocks\..*\.(q|k|v|o|up|down)")
    model = get_peft_model(model, config)
    with torch.no_grad():
        for i, block in enumerate(model.base_model.model.blocks):
            for name in LINEAR:
                layer = getattr(block, name)
                layer.lora_A["default"].weight.copy_(given[f"0.blocks.{i}.{name}.weight.b"])
                layer.lora_B["default"].weight.copy_(given[f"0.blocks.{i}.{name}.weight.a"])
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3, weight_decay=o.decay)
    forward = torch.compile(model) if compiled else model
    ids, labels = given["1.0"].long(), given["1.1"].long()

    def step():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(forward(ids), labels)
        loss.backward()
        optimiser.step()
        return loss.item()

    report("torch_compile" if compiled else "torch_peft", *timed(step, o.steps))


def jax_quax(o):
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    import quax
    import quax.examples.lora as lora
    from safetensors.numpy import load_file

    given = {k: jnp.asarray(v) for k, v in named(load_file(o.weights)).items()}

    def weights(i, name):
        at = f"0.blocks.{i}.{name}"
        w = lora.LoraArray(given[f"{at}.weight.w"], rank=o.rank, scale=1.0, key=jax.random.PRNGKey(0))
        parts = (given[f"{at}.weight.a"], given[f"{at}.weight.b"])
        return eqx.tree_at(lambda w: (w.a, w.b), w, parts), given[f"{at}.bias"]

    norm_of = lambda i, n: (given[f"0.blocks.{i}.{n}.weight"], given[f"0.blocks.{i}.{n}.bias"])
    blocks = [
        dict({n: weights(i, n) for n in LINEAR}, ln1=norm_of(i, "ln1"), ln2=norm_of(i, "ln2")) for i in range(o.layers)
    ]
    model = dict(embedding=given["0.embedding"], positions=given["0.positions"], blocks=blocks,
                 head=(given["0.head.weight"], given["0.head.bias"]))

    def linear(layer, x):
        weight, bias = layer
        return jax.lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ()))) + bias

    def norm(layer, x):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-12) * layer[0] + layer[1]

    def block(b, x):
        n, t, _ = x.shape
        heads = lambda y: y.reshape(n, t, o.heads, -1).transpose(0, 2, 1, 3)
        q, k, v = (heads(linear(b[name], x)) for name in ("q", "k", "v"))
        w = jax.nn.softmax(jnp.einsum("nhid,nhjd->nhij", q, k) / (o.d // o.heads) ** 0.5, -1)
        seen = jnp.einsum("nhij,nhjd->nhid", w, v).transpose(0, 2, 1, 3).reshape(n, t, -1)
        x = norm(b["ln1"], x + linear(b["o"], seen))
        return norm(b["ln2"], x + linear(b["down"], jax.nn.gelu(linear(b["up"], x), approximate=False)))

    def loss(model, ids, labels):
        x = model["embedding"][ids] + model["positions"]
        for b in model["blocks"]:
            x = block(b, x)
        logits = jax.nn.log_softmax(linear(model["head"], x.mean(1)))
        return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], 1))

    is_lora = lambda x: isinstance(x, lora.LoraArray)
    trains = jax.tree_util.tree_map(
        lambda x: eqx.tree_at(lambda w: (w._w, w.a, w.b), x, (False, True, True)) if is_lora(x) else False,
        model, is_leaf=is_lora)
    trained, frozen = eqx.partition(model, trains)
    optimiser = optax.adamw(1e-3, weight_decay=o.decay)
    state = optimiser.init(eqx.filter(trained, eqx.is_array))
    ids, labels = given["1.0"], given["1.1"]

    @eqx.filter_jit
    def update(trained, state):
        of = lambda t: quax.quaxify(loss)(eqx.combine(t, frozen), ids, labels)
        value, grads = eqx.filter_value_and_grad(of)(trained)
        updates, state = optimiser.update(grads, state, trained)
        return eqx.apply_updates(trained, updates), state, value

    def step():
        nonlocal trained, state
        trained, state, value = update(trained, state)
        return float(value)

    report("jax_quax", *timed(step, o.steps))


PEERS = {
    "torch_peft": lambda o: torch_peft(o, compiled=False),
    "torch_compile": lambda o: torch_peft(o, compiled=True),
    "jax_quax": jax_quax,
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("system", choices=sorted(PEERS))
    p.add_argument("--weights", required=True)
    for name in ("batch", "seq", "d", "ffn", "layers", "heads", "rank", "steps"):
        p.add_argument(f"--{name}", type=int, required=True)
    p.add_argument("--decay", type=float, required=True)
    o = p.parse_args()
    PEERS[o.system](o)


if __name__ == "__main__":
    main()
