"""Quaxide beside its peers on a LoRA training step, in one sitting.

    python3 benches/peers/compare.py lora_step [--batch 16 --seq 128 --d 384 --ffn 1536 --layers 6 --heads 12 --rank 8]
                                               [--steps 8 --rounds 3 --systems quaxide,torch_peft,torch_compile,jax_quax]

Makes a virtual environment with pinned peers in target/peers (once) and builds `benches/lora_step.rs`, which writes its weights and its
batch to a file; the peers read that, so that all systems train the same model on the same data, by AdamW. Systems run
in turn, each run in a process of its own that waits for the machine to be idle and says how busy others were meanwhile (`others`, a
share of one core). Prints a line for each run, a line for each system, and last one with the ratios of the medians.

torch runs in its best ordinary setting: medium precision, freed memory kept (`torch_peft`), and compiled (`torch_compile`).
"""

import argparse
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "peers" / "venv"
PINNED = ["torch==2.15.0", "peft==0.21.2", "jax==0.10.2", "equinox==0.13.8", "quax==0.4.6",
          "optax==0.2.8", "safetensors", "numpy"]
SIZES = dict(batch=16, seq=128, d=384, ffn=1536, layers=6, heads=12, rank=8, steps=8)
LINEAR = ["q", "k", "v", "o", "up", "down"]
# Memory that is freed stays with the process, which spares torch the first touch of its pages at each step.
KEEP = dict(MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="4294967296", MALLOC_TOP_PAD_="268435456")


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


def environment():
    python = VENV / "bin" / "python"
    marker = VENV / "compare.txt"
    if not marker.exists() or marker.read_text().split() != PINNED:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PINNED], check=True)
        marker.write_text("\n".join(PINNED))
    return python


def built():
    command = ["cargo", "bench", "--bench", "lora_step", "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    made = [m["executable"] for m in map(json.loads, lines) if m.get("target", {}).get("name") == "lora_step"]
    return next(path for path in made if path)


def busy():
    """Seconds of CPU that the whole machine has used."""
    fields = [int(n) for n in open("/proc/stat").readline().split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def wait_for_idle(limit=120):
    end = time.time() + limit
    while time.time() < end:
        before = busy()
        time.sleep(1)
        if busy() - before < 0.1:
            return


def run(command, keep):
    wait_for_idle()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    before, start = busy(), time.time()
    done = subprocess.run(command, env=dict(os.environ, **(KEEP if keep else {})), capture_output=True, text=True)
    wall, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    mine = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    others = max(0.0, busy() - before - mine) / wall
    lines = [line for line in done.stdout.splitlines() if line.startswith("system=")]
    if done.returncode or not lines:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    print(f"{lines[-1]} others={others:.2f}", flush=True)
    return {k: v for k, v in (pair.split("=", 1) for pair in lines[-1].split())}


def compare(o):
    python, bench = environment(), built()
    sizes = [word for name in SIZES for word in (f"--{name}", str(getattr(o, name)))]
    weights = ROOT / "target" / "peers" / "lora_step.safetensors"
    runs = {}
    for number in range(o.rounds):
        for system in o.systems.split(","):
            if system == "quaxide":
                command = [bench, *sizes] + (["--save", str(weights)] if number == 0 else [])
            else:
                command = [python, __file__, "--peer", system, "--weights", weights, *sizes]
            runs.setdefault(system, []).append(run(command, keep=system.startswith("torch")))
    median = lambda system, key: statistics.median(float(r[key]) for r in runs[system])
    for system in runs:
        print(f"{system}: median_ms={median(system, 'median_ms'):.1f} first_loss={runs[system][0]['first_loss']} "
              f"loss={runs[system][0]['loss']} peak_mb={median(system, 'peak_mb'):.0f}")
    peers = [s for s in runs if s != "quaxide"]
    ours = median("quaxide", "median_ms")
    best = min(median(s, "median_ms") for s in peers)
    line = " ".join(f"{s}_ms={median(s, 'median_ms'):.1f}" for s in peers)
    print(f"lora_step dtype=f32 ours_ms={ours:.1f} {line} best_peer/ours={best / ours:.2f} "
          f"ours_peak_mb={median('quaxide', 'peak_mb'):.0f} best_peer_peak_mb={min(median(s, 'peak_mb') for s in peers):.0f} "
          f"first_step_ratio={median('quaxide', 'first_ms') / ours:.2f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", nargs="?", choices=["lora_step"], default="lora_step")
    for name, default in SIZES.items():
        p.add_argument(f"--{name}", type=int, default=default)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--systems", default="quaxide,torch_peft,torch_compile,jax_quax")
    p.add_argument("--peer", choices=sorted(PEERS), help=argparse.SUPPRESS)
    p.add_argument("--weights", help=argparse.SUPPRESS)
    # That of `optim::adamw`, as of optax.
    p.add_argument("--decay", type=float, default=1e-4)
    o = p.parse_args()
    if o.peer:
        PEERS[o.peer](o)
    else:
        compare(o)


if __name__ == "__main__":
    main()
