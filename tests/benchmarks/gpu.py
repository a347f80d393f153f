"""Every kernel on the GPU at hand: ``make gpu``.

Levels "exact" and "rounding" in all dtypes, the same bits in twenty runs, tensors of more than 2**31 elements where
there is room, and compute-sanitizer where it is installed. The report goes to ``results/gpu-<device>.json``. It needs
torch, triton, numpy and sympy, nothing of the development tools.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
DTYPES = ("float32", "bfloat16", "float16", "float64")
REPEATS = 20
SANITIZED = ("relu", "softmax", "max_pooling_2d", "linear", "convolution_2d")  # one a family, and a gathered product
TOOLS = ("memcheck", "racecheck", "initcheck")


def make_importable() -> None:
    """Where svertka is not installed, put its folders under that name."""
    try:
        importlib.import_module("svertka.generated")
    except ImportError:
        folder = Path(tempfile.mkdtemp()) / "svertka"
        folder.mkdir()
        packages = [ROOT / name for name in ("spec", "reference", "codegen", "generated", "networks")]
        for part in (*packages, *(ROOT / "package").glob("*.py")):
            (folder / part.name).symlink_to(part)
        sys.path.insert(0, str(folder.parent))


def versions() -> dict[str, str]:
    """What the report must say about where it was made."""
    import torch
    import triton

    return {
        "device": torch.cuda.get_device_name(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "cuda": str(torch.version.cuda or torch.version.hip),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "python": platform.python_version(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def subjects(names: list[str]) -> Iterator[Any]:
    """Every formula of some definitions, with its kernels on the GPU."""
    from svertka.codegen.build import build
    from svertka.codegen.levels import Subject
    from svertka.spec.layers import DEFINITIONS

    for name, definition in DEFINITIONS.items():
        if not names or name in names:
            module = build(definition)
            yield from (Subject(module, variant, "svertka.generated", "cuda") for variant in definition.variants)


def check(subject: Any, repeats: int) -> dict[str, Any]:
    """A formula at the levels that run kernels on numbers, and its determinism."""
    from svertka.codegen.levels import LEVELS

    started = time.perf_counter()
    row: dict[str, Any] = {"formula": subject.layer.name}
    failures: list[str] = []
    for level in ("exact", "rounding"):
        try:
            outcome = LEVELS[level](subject)
        except Exception as error:  # a kernel that does not run is a row of the report, not its end
            failures.append(f"{level}: {type(error).__name__}: {str(error)[:300]}")
            continue
        row[level] = {"elements": outcome.elements, **outcome.figures, "inapplicable": outcome.inapplicable}
        failures += [f"{level}: {text}" for text in outcome.failures]
    try:
        failures += differing_bits(subject, repeats)
    except Exception as error:
        failures.append(f"repeats: {type(error).__name__}: {str(error)[:300]}")
    return {**row, "runs": repeats, "seconds": round(time.perf_counter() - started, 2), "failures": failures}


def differing_bits(subject: Any, repeats: int) -> list[str]:
    """Results that are not the same to the last bit in every run."""
    import torch

    from svertka.codegen.equivalence import draw_values, outcome, real

    definition, layer, case = subject.module.definition, subject.layer, subject.cases[0]
    values = draw_values(definition, layer, case, real)
    found = []
    for dtype in DTYPES:
        kind = getattr(torch, dtype)
        first = dict(outcome(definition, layer, subject.kernels, case, values, kind, subject.device))
        for _ in range(repeats - 1):
            again = outcome(definition, layer, subject.kernels, case, values, kind, subject.device)
            found += [f"{dtype}: {name} differs from run to run" for name, t in again if not same(t, first[name])]
    return sorted(set(found))


def same(left: Any, right: Any) -> bool:
    """Whether two tensors have the same bits."""
    import torch

    whole = {8: torch.int64, 4: torch.int32, 2: torch.int16}[left.element_size()]
    return torch.equal(left.contiguous().view(whole), right.contiguous().view(whole))


def sanitized() -> dict[str, str]:
    """What compute-sanitizer says of one layer a family: by tool, empty where it finds nothing."""
    tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
    if tool is None:
        return {"not run": "compute-sanitizer is not on PATH; it comes with the CUDA toolkit"}
    found = {}
    for name in TOOLS:
        command = [tool, "--tool", name, "--error-exitcode", "9", sys.executable, "-m", "tests.benchmarks.gpu"]
        command += ["--only", *SANITIZED, "--repeats", "1", "--bare"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        found[name] = "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:]
    return found


def main() -> int:
    """Run all and write the report; the exit code says whether everything holds."""
    parser = argparse.ArgumentParser(description="Check every kernel on the GPU at hand.")
    parser.add_argument("--only", nargs="*", default=[], help="names of layers; all if none")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="runs that must give the same bits")
    parser.add_argument("--bare", action="store_true", help="no report, no large tensors, no sanitizer")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("make gpu: torch sees no GPU here; run it on a machine with one", file=sys.stderr)
        return 2
    make_importable()
    rows = []
    for subject in subjects(options.only):
        rows.append(check(subject, options.repeats))
        verdict = "holds" if not rows[-1]["failures"] else f"FAILS {rows[-1]['failures'][0]}"
        print(f"{rows[-1]['formula']:40} {rows[-1]['seconds']:7} s  {verdict}", flush=True)
    failed = [row for row in rows if row["failures"]]
    if options.bare:
        return 1 if failed else 0
    from tests.benchmarks.large import large_tensors

    large, sanitizer = large_tensors(), sanitized()
    for line in (*large.items(), *sanitizer.items()):
        print(*line, flush=True)
    report = {**versions(), "rows": rows, "beyond 2**31 elements": large, "compute-sanitizer": sanitizer}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"gpu-{report['device'].lower().replace(' ', '-')}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} formulas, {len(failed)} fail; written to {path}")
    wrong = failed or any(large.values()) or any(text for name, text in sanitizer.items() if name != "not run")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
