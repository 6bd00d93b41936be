"""DoRA's norms beside PEFT's implementation: time and memory in one run, and their ratios.

    python3 benches/peers/dora_norm.py [--n 4096 --m 4096 --rank 16 --rounds 5]

Makes a virtual environment with pinned versions in target/peers (once), builds `benches/dora_norm.rs`, runs both in turn, each in a
process of its own on the same numbers, and prints a line for each round and one with the ratios of the medians. What PEFT does is
`DoraLinearLayer`: the product of its factors is formed (by applying them to an identity matrix, as its `forward` does), scaled,
added to the weight, and normed row by row. `PEFT_MATMUL` is the same with the product formed by one matrix product.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "peers" / "venv"
PINNED = ["torch==2.15.0", "peft==0.21.2", "numpy"]


def peer(options):
    """One process of the peer; prints a line of JSON."""
    import time

    import torch
    from peft.tuners.lora.dora import DoraLinearLayer

    torch.set_num_threads(options.threads)
    n, m, rank = options.n, options.m, options.rank
    scaling = 16.0 / rank

    def ramp(rows, columns, step, size):
        index = torch.arange(rows * columns, dtype=torch.float32) % 997
        return ((index * step).sin() * size).reshape(rows, columns)

    weight = ramp(n, m, 0.7, 0.02)
    lora_a = torch.nn.Linear(m, rank, bias=False)
    lora_b = torch.nn.Linear(rank, n, bias=False)
    layer = DoraLinearLayer(fan_in_fan_out=False)
    with torch.no_grad():
        lora_b.weight.copy_(ramp(n, rank, 0.3, 0.02))
        lora_a.weight.copy_(ramp(rank, m, 0.11, 0.02))

        def by_identity():
            identity = torch.eye(m)
            return layer.get_weight_norm(weight, lora_b(lora_a(identity)).T, scaling)

        def by_product():
            return layer.get_weight_norm(weight, lora_b.weight @ lora_a.weight, scaling)

        step = {"peft": by_identity, "peft_matmul": by_product}[options.peer]

        def status_mb(name):
            with open("/proc/self/status") as status:
                line = next(line for line in status if line.startswith(name))
            return int(line.split()[1]) / 1024

        # What making the operands took is no part of it: the peak counts from here.
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = status_mb("VmRSS")
        times = []
        for _ in range(options.steps + 1):
            start = time.perf_counter()
            norms = step()
            times.append(1e3 * (time.perf_counter() - start))
        peak = status_mb("VmHWM")
        print(json.dumps({
            "median_ms": statistics.median(times[1:]),
            "min_ms": min(times[1:]),
            "extra_mb": peak - before,
            "sum": float(norms.sum()),
        }))


def built():
    """The benchmark's binary."""
    command = ["cargo", "bench", "--bench", "dora_norm", "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    for line in lines:
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "dora_norm":
            return message["executable"]
    sys.exit("cargo built no dora_norm")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=4096)
    parser.add_argument("--m", type=int, default=4096)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--binary", help="the benchmark, if it is built already")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options)

    python = VENV / "bin" / "python"
    made = VENV / "made"
    if not made.exists() or made.read_text() != "\n".join(PINNED):
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PINNED], check=True)
        made.write_text("\n".join(PINNED))
    binary = options.binary or built()
    sizes = [f"--{name}={getattr(options, name)}" for name in ("n", "m", "rank", "steps")]
    ours = [word for size in sizes for word in size.split("=")]
    systems = {
        "quaxide": [binary, *ours],
        "peft": [python, __file__, "--peer", "peft", f"--threads={options.threads}", *sizes],
        "peft_matmul": [python, __file__, "--peer", "peft_matmul", f"--threads={options.threads}", *sizes],
    }
    environment = {**os.environ, "QUAXIDE_THREADS": str(options.threads)}
    results = {name: [] for name in systems}
    for number in range(options.rounds):
        for name, command in systems.items():
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            line = run.stdout.strip().splitlines()[-1]
            if name == "quaxide":
                words = (word.split("=", 1) for word in line.split())
                result = {key: float(value) for key, value in words if key != "system"}
            else:
                result = json.loads(line)
            results[name].append(result)
            print(f"round={number} system={name} " + " ".join(f"{k}={v:.4g}" for k, v in result.items()), flush=True)
    sums = [result["sum"] for all_of_one in results.values() for result in all_of_one]
    if max(sums) - min(sums) > 1e-3 * max(sums):
        sys.exit(f"the systems do not compute the same: {sums}")
    median = lambda name, key: statistics.median(result[key] for result in results[name])
    for name in ("peft", "peft_matmul"):
        time = median(name, "median_ms") / median("quaxide", "median_ms")
        memory = median(name, "extra_mb") / max(median("quaxide", "extra_mb"), 0.1)
        print(f"{name} over quaxide: time {time:.2f}, memory {memory:.1f}")


if __name__ == "__main__":
    main()
