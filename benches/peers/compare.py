"""Quaxide beside its peers, in one sitting: each sub-command is a piece of work, and ends with ratios that are above 1 where ours is ahead.

    python3 benches/peers/compare.py lora_step    [--batch 16 --seq 128 --d 384 --ffn 1536 --layers 6 --heads 12 --rank 8 --steps 8]
    python3 benches/peers/compare.py compile_time [the same]: the first step, planning included, less a steady one
    python3 benches/peers/compare.py memory       [the same]: the peak of a process that trains
    python3 benches/peers/compare.py gemm | lora_product | softmax | layer_norm | gelu | cross_entropy | attention | conv | adamw |
                                     inference | overhead  [--shapes 2048,384 ...] [--dtype f32|bf16] [--seconds 0.3]

All take `--rounds N` and `--systems NAME,...`. A virtual environment with pinned peers is made in target/peers (once), and the
benchmarks of this repository are built. Systems run in turn, round after round, each when the machine is idle; a line says how busy
others were meanwhile (`others`, a share of one core), and ratios are of medians over the rounds.

`lora_step` runs `benches/lora_step.rs`, which writes its weights and its batch to a file that the peers (`lora_step.py`) read: all
systems train the same model on the same data, by AdamW. It prints a line for each run, a line for each system, the share of the
processor's peak (the same amount of work ÷ the time ÷ what `peak_gflops` measures), and last the ratios.

The other sub-commands run kernels: ours (`benches/kernels.rs`) and the peers' (`kernels.py`) answer the same requests.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
VENV = ROOT / "target" / "peers" / "venv"
PINNED = ["torch==2.15.0", "peft==0.21.2", "jax==0.10.2", "equinox==0.13.8", "quax==0.4.6",
          "optax==0.2.8", "onnx", "onnxruntime", "safetensors", "numpy"]
SIZES = dict(batch=16, seq=128, d=384, ffn=1536, layers=6, heads=12, rank=8, steps=8)
# Memory that is freed stays with the process, which spares torch the first touch of its pages at each step.
KEEP = dict(MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="4294967296", MALLOC_TOP_PAD_="268435456")

# What the sub-commands of kernels ask for: the names of the kernels, and their sizes.
SHAPES = {
    "gemm": (["gemm"], ["1024,1024,1024", "2048,384,384", "2048,384,1536", "2048,1536,384", "2048,384,8", "2048,8,384", "512,64,512"]),
    "lora_product": (["lora_product"], ["4096,8,1", "4096,8,16", "4096,8,256"]),
    "softmax": (["softmax", "softmax_grad"], ["24576,128", "2048,1000"]),
    "layer_norm": (["layer_norm", "layer_norm_grad"], ["2048,384", "512,1531"]),
    "gelu": (["gelu", "gelu_grad", "gelu_tanh", "gelu_tanh_grad"], ["2048,1536"]),
    "cross_entropy": (["cross_entropy", "cross_entropy_grad"], ["2048,1000"]),
    "attention": (["attention", "attention_grad"], ["16,12,128,32", "2,12,1024,64"]),
    "conv": (["conv", "conv_grad"], ["8,64,56,56,64,3", "16,16,32,32,32,3"]),
    "adamw": (["adamw"], ["72,384,8", "4,1536,384"]),
    "inference": (["inference"], ["1,128", "32,128"]),
    "overhead": (["overhead"], ["10,12"]),
}


def environment():
    python = VENV / "bin" / "python"
    marker = VENV / "compare.txt"
    if not marker.exists() or marker.read_text().split() != PINNED:
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PINNED], check=True)
        marker.write_text("\n".join(PINNED))
    return python


def built(bench):
    command = ["cargo", "bench", "--bench", bench, "--no-run", "--message-format", "json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    made = [m["executable"] for m in map(json.loads, lines) if m.get("target", {}).get("name") == bench]
    return next(path for path in made if path)


def busy():
    """Seconds of CPU that the whole machine has used."""
    fields = [int(n) for n in open("/proc/stat").readline().split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


def wait_for_idle(limit):
    end = time.time() + limit
    while time.time() < end:
        before = busy()
        time.sleep(1)
        if busy() - before < 0.1:
            return


def variables(system):
    return dict(os.environ, **(KEEP if system.startswith("torch") else {}))


def run(command, system):
    """One process: what its last line says, by name."""
    wait_for_idle(120)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    before, start = busy(), time.time()
    done = subprocess.run(command, env=variables(system), capture_output=True, text=True)
    wall, after = time.time() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    mine = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    others = max(0.0, busy() - before - mine) / wall
    lines = [line for line in done.stdout.splitlines() if line.startswith("system=")]
    if done.returncode or not lines:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    print(f"{lines[-1]} others={others:.2f}", flush=True)
    return {k: v for k, v in (pair.split("=", 1) for pair in lines[-1].split())}


def peak():
    """GFLOP/s of all threads, measured now: the best of three times."""
    best = 0.0
    for _ in range(3):
        wait_for_idle(30)
        done = subprocess.run([built("kernels")], input="peak\n", capture_output=True, text=True, check=True)
        best = max(best, float(done.stdout.split()[0]))
    return best


def gflop(o):
    """The matrix products of a training step: forward, back through the frozen weights (but those of the first q, k and v, below which
    nothing is trained), the low-rank parts, attention."""
    tokens = o.batch * o.seq
    dense = 2 * tokens * o.layers * (4 * o.d * o.d + 2 * o.d * o.ffn)
    unneeded = 2 * tokens * 3 * o.d * o.d
    low_rank = 2 * tokens * o.layers * o.rank * (4 * 2 * o.d + 2 * (o.d + o.ffn))
    attention = 2 * 2 * o.batch * o.layers * o.seq * o.seq * o.d
    return (2 * dense - unneeded + 3 * low_rank + 3 * attention) / 1e9


def training(o):
    python, bench = environment(), built("lora_step")
    sizes = [word for name in SIZES for word in (f"--{name}", str(getattr(o, name)))]
    weights = ROOT / "target" / "peers" / "lora_step.safetensors"
    # That of `optim::adamw`, as of optax.
    decay = ["--decay", "1e-4"]
    runs = {}
    for number in range(o.rounds):
        for system in o.systems.split(",") if o.systems else ["quaxide", "torch_peft", "torch_compile", "jax_quax"]:
            if system == "quaxide":
                command = [bench, *sizes] + (["--save", str(weights)] if number == 0 else [])
            else:
                command = [python, HERE / "lora_step.py", system, "--weights", weights, *sizes, *decay]
            runs.setdefault(system, []).append(run(command, system))
    median = lambda system, key: statistics.median(float(r[key]) for r in runs[system])
    for system in runs:
        print(f"{system}: first_ms={median(system, 'first_ms'):.1f} median_ms={median(system, 'median_ms'):.1f} "
              f"first_loss={runs[system][0]['first_loss']} loss={runs[system][0]['loss']} peak_mb={median(system, 'peak_mb'):.0f}")
    peers = [s for s in runs if s != "quaxide"]
    least = lambda key: min(median(s, key) for s in peers)
    if o.what == "lora_step":
        ours = median("quaxide", "median_ms")
        top, work = peak(), gflop(o)
        print(f"gflop={work:.1f} peak_gflops={top:.0f} share_of_peak={work / (ours * 1e-3) / top:.2f}")
        line = " ".join(f"{s}_ms={median(s, 'median_ms'):.1f}" for s in peers)
        print(f"lora_step dtype=f32 ours_ms={ours:.1f} {line} best_peer/ours={least('median_ms') / ours:.2f} "
              f"ours_peak_mb={median('quaxide', 'peak_mb'):.0f} best_peer_peak_mb={least('peak_mb'):.0f} "
              f"first_step_ratio={median('quaxide', 'first_ms') / ours:.2f}")
    elif o.what == "compile_time":
        extra = {s: median(s, "first_ms") - median(s, "median_ms") for s in runs}
        line = " ".join(f"{s}_ms={extra[s]:.1f}" for s in peers)
        print(f"compile_time ours_ms={extra['quaxide']:.1f} {line} "
              f"best_compiler/ours={min(extra[s] for s in peers if s != 'torch_peft') / extra['quaxide']:.1f}")
    else:
        line = " ".join(f"{s}_mb={median(s, 'peak_mb'):.0f}" for s in peers)
        print(f"memory ours_mb={median('quaxide', 'peak_mb'):.0f} {line} best_peer/ours={least('peak_mb') / median('quaxide', 'peak_mb'):.2f}")


def kernels(o):
    python = environment()
    names = ["torch", "torch_compile", "jax"] + (["onnxruntime"] if o.what == "inference" else [])
    names = [s for s in o.systems.split(",") if s != "quaxide"] if o.systems else names
    commands = dict({"quaxide": [built("kernels")]}, **{s: [python, HERE / "kernels.py", s] for s in names})
    pipe = subprocess.PIPE
    systems = {s: subprocess.Popen(c, env=variables(s), stdin=pipe, stdout=pipe, text=True) for s, c in commands.items()}

    def ask(system, request):
        systems[system].stdin.write(request + "\n")
        systems[system].stdin.flush()
        answer = systems[system].stdout.readline().split()
        if not answer:
            sys.exit(f"{system}: no answer to `{request}`")
        return None if answer == ["none"] else [float(x) for x in answer]

    cases, shapes = SHAPES[o.what]
    dtypes = [o.dtype] if o.dtype else ["f32", "bf16"] if o.what == "gemm" else ["f32"]
    for dtype in dtypes:
        for shape in o.shapes or shapes:
            for case in cases:
                request = f"{case} {dtype} {o.seconds} {shape.replace(',', ' ')}"
                times, others = {}, []
                for _ in range(o.rounds):
                    for system in systems:
                        wait_for_idle(10)
                        answer = ask(system, request)
                        if answer:
                            times.setdefault(system, []).append(answer[1])
                best = {s: statistics.median(t) for s, t in times.items()}
                peers = {s: t for s, t in best.items() if s != "quaxide"}
                line = " ".join(f"{s}_ms={t:.4f}" for s, t in peers.items())
                rate = ""
                if case == "gemm":
                    m, k, n = map(int, shape.split(","))
                    rate = f" ours_gflops={2e-6 * m * k * n / best['quaxide']:.0f}"
                print(f"{case} dtype={dtype} shape={shape} ours_ms={best['quaxide']:.4f} {line} "
                      f"best_peer/ours={min(peers.values()) / best['quaxide']:.2f}{rate}", flush=True)
    for process in systems.values():
        process.stdin.close()
        process.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", nargs="?", choices=["lora_step", "compile_time", "memory", *SHAPES], default="lora_step")
    for name, default in SIZES.items():
        p.add_argument(f"--{name}", type=int, default=default)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--systems")
    p.add_argument("--shapes", nargs="+")
    p.add_argument("--dtype", choices=["f32", "bf16", "f16"])
    p.add_argument("--seconds", type=float, default=0.3)
    o = p.parse_args()
    kernels(o) if o.what in SHAPES else training(o)


if __name__ == "__main__":
    main()
