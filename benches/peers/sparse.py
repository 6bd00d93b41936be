"""A sparse matrix times a dense one: quaxide beside scipy.sparse, in turn, in one run.

    cargo bench --no-run --bench sparse      # prints the path of the executable
    python3 benches/peers/sparse.py PATH [--size 4096 --density 0.01 --columns 64 --runs 40]

It makes a virtual environment of its own with pinned packages. The last line is
`quaxide_ms=… scipy_ms=… ratio=… least_ratio=…`: medians, and scipy's time by ours (above 1 means that ours is faster).
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

PINNED = ["numpy==2.3.5", "scipy==1.16.3"]
ENVIRONMENT = pathlib.Path(os.environ.get("QUAXIDE_PEERS", tempfile.gettempdir())) / "quaxide-peers-sparse"


def inside():
    """Run this script again with the pinned packages."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.check_call([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        subprocess.check_call([str(python), "-m", "pip", "install", "--quiet", *PINNED])
    if pathlib.Path(sys.prefix) != ENVIRONMENT:
        os.execv(str(python), [str(python), *sys.argv])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("executable")
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--density", type=float, default=0.01)
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--runs", type=int, default=40)
    options = parser.parse_args()
    inside()

    import statistics
    import time

    import numpy as np
    import scipy.sparse

    random = np.random.default_rng(0)
    sparse = scipy.sparse.random(
        options.size, options.size, options.density, format="csr", dtype=np.float32, random_state=random
    )
    sparse.sort_indices()
    dense = random.standard_normal((options.size, options.columns), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for name, array in [
            ("data", sparse.data),
            ("columns", sparse.indices),
            ("starts", sparse.indptr),
            ("dense", dense),
        ]:
            np.save(f"{folder}/{name}.npy", array)
        ours = subprocess.Popen(
            [options.executable, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        total = float(ours.stdout.readline())
        want = float((sparse @ dense).sum(dtype=np.float64))
        assert abs(total - want) < 1e-2 * max(1.0, abs(want)), (total, want)

        def run_ours():
            ours.stdin.write("go\n")
            ours.stdin.flush()
            return float(ours.stdout.readline())

        def run_scipy():
            start = time.perf_counter()
            sparse @ dense
            return time.perf_counter() - start

        for _ in range(3):
            run_ours(), run_scipy()
        pairs = [(run_ours(), run_scipy()) for _ in range(options.runs)]
        ours.stdin.close()
        ours.wait()
    a, b = (statistics.median(x) * 1e3 for x in zip(*pairs))
    least = min(x for _, x in pairs) / min(x for x, _ in pairs)
    print(f"quaxide_ms={a:.3f} scipy_ms={b:.3f} ratio={b / a:.2f} least_ratio={least:.2f}")


if __name__ == "__main__":
    main()
