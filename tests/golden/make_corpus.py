"""Writes corpus.mlir: small programs with inputs and results, for tests/ways.rs, which runs each in every way there is.

    python tests/golden/against_jax.py /tmp/programs && python tests/golden/against_jax.py /tmp/random --kind random --count 60
    python tests/golden/make_corpus.py /tmp/programs /tmp/random

Of each primitive it takes the smallest program of JAX's list, and the smallest of another element type; of the random ones those that
are small. A part of the file is a module: `@program` is what JAX exported, `@inputs` and `@expected` what it takes and gives. The
comment in front has its name, and `close` where elementwise functions round, else how far results may be apart.
"""
import pathlib
import re
import sys

FACTORS = ("eig", "svd", "qr", "lu", "approx")


def shortened(path):
    text = path.read_text()
    text = re.sub(r"^#loc.*\n", "", text, flags=re.M)
    text = re.sub(r' loc\((?:[^()"]|"[^"]*")*\)', "", text)
    text = re.sub(r' \{jax\.result_info = "[^"]*"\}', "", text)
    text = re.sub(r" attributes \{jax\.uses_shape[^}]*\}", "", text)
    constants = {name: [] for name in ("in", "want")}
    for name, value in re.findall(r"^    %(in|want)\d+ = stablehlo\.constant (.*)$", text, flags=re.M):
        constants[name].append(value)
    tolerances = [float(t) for t in re.findall(r"tolerance = ([0-9.e+-]+)", text)]
    how = "close" if "expect_close" in text else repr(max(tolerances, default=0.0))

    def function(name, values):
        types = ", ".join(v.rsplit(" : ", 1)[1] for v in values)
        lines = [f"  func.func private @{name}() -> ({types}) {{"]
        lines += [f"    %{i} = stablehlo.constant {v}" for i, v in enumerate(values)]
        names = ", ".join(f"%{i}" for i in range(len(values)))
        return "\n".join(lines + [f"    return {names} : {types}" if values else "    return", "  }"]) + "\n"

    start, end = text.index("  func.func public @main()"), text.index("    return\n  }\n") + len("    return\n  }\n")
    text = text[:start] + function("inputs", constants["in"]) + function("expected", constants["want"]) + text[end:]
    return f"// {path.stem} {how}\n{text.strip()}\n"


def main():
    programs, random = (sorted(pathlib.Path(p).glob("*.mlir")) for p in sys.argv[1:3])
    names = pathlib.Path(__file__).parents[2] / "src/trace/op/names.rs"
    known = [n.replace("-", "_") for n in re.findall(r'^    "([^"]+)",', names.read_text(), flags=re.M)]
    known += ["random_gamma", "random_uniform", "random_randint", "random_categorical", "random_split", "igammac"]
    groups = {}
    for path in programs:
        if path.stem.startswith(FACTORS):
            continue
        family = max((n for n in known if path.stem.startswith(n)), key=len, default=path.stem.split("_")[0])
        groups.setdefault(family, []).append(path)
    parts = []
    for paths in groups.values():
        paths.sort(key=lambda p: (p.stat().st_size, p.stem))
        first = paths[0]
        types = lambda p: frozenset(re.findall(r"tensor<[^>]*?((?:complex<f\d+|ui\d+|i\d+|bf16|f\d+))>", p.read_text()))
        others = [p for p in paths[1:] if types(p) != types(first)]
        parts += [p for p in [first, *others[:1]] if p.stat().st_size < 9000]
    parts += [p for p in random if p.stat().st_size < 7000]
    texts = [shortened(p) for p in parts]
    texts = [t for t in texts if len(t) < 4500]
    out = pathlib.Path(__file__).parent / "corpus.mlir"
    out.write_text("// -----\n".join(texts))
    print(f"{len(texts)} programs, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
