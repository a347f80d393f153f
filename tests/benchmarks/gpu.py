"""The equivalence tests on the GPU at hand, in float32, bfloat16, float16 and float64: ``make gpu``.

Every definition's forward and backward run at its cases on the device and are compared with the formula,
within the bound
of the format; each runs a second time and must give the same bits. The report goes to ``results/gpu-<device>.json``.
It needs torch, triton, numpy and sympy, nothing of the development tools.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
DTYPES = ("float32", "bfloat16", "float16", "float64")


def make_importable() -> None:
    """Where svertka is not installed, put its folders under that name."""
    try:
        importlib.import_module("svertka.generated")
    except ImportError:
        folder = Path(tempfile.mkdtemp()) / "svertka"
        folder.mkdir()
        for name in ("spec", "reference", "codegen", "generated"):
            (folder / name).symlink_to(ROOT / name)
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


def check(definition: Any, dtype: str) -> dict[str, Any]:
    """One definition in one format."""
    import torch

    from svertka.codegen.build import build
    from svertka.codegen.cases import cases
    from svertka.codegen.equivalence import compare

    module = build(definition)
    kernels = importlib.import_module(f"svertka.generated.kernels.{definition.name}")
    row: dict[str, Any] = {"layer": definition.name, "dtype": dtype, "elements": 0, "tightness": 0.0}
    failures: list[str] = []
    started = time.perf_counter()
    for variant in definition.variants:
        for case in cases(definition, variant):
            try:
                found, again = (
                    list(compare(module, variant, kernels, case, getattr(torch, dtype), device="cuda")) for _ in "12"
                )
            except Exception as error:  # a kernel that does not run is a row of the report, not its end
                failures.append(f"{case.name}: {type(error).__name__}: {str(error)[:300]}")
                continue
            failures += [f"{case.name}: {result}" for result in found if not result.holds]
            if found != again:
                failures.append(f"{case.name}: two runs differ")
            row["elements"] += sum(result.elements for result in found)
            row["tightness"] = max(row["tightness"], *(result.ratio for result in found))
    return {**row, "seconds": round(time.perf_counter() - started, 2), "failures": failures}


def main() -> int:
    """Run all and write the report; the exit code says whether everything holds."""
    import torch

    if not torch.cuda.is_available():
        print("make gpu: torch sees no GPU here; run it on a machine with one", file=sys.stderr)
        return 2
    make_importable()
    from svertka.spec.layers import DEFINITIONS

    rows = []
    for definition in DEFINITIONS.values():
        for dtype in DTYPES:
            row = check(definition, dtype)
            rows.append(row)
            verdict = "holds" if not row["failures"] else f"FAILS {row['failures'][0]}"
            print(f"{row['layer']:30} {dtype:9} {row['elements']:7} {row['tightness']:.3f} {verdict}", flush=True)
    report = {**versions(), "rows": rows}
    name = report["device"].lower().replace(" ", "-")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"gpu-{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    failed = [row for row in rows if row["failures"]]
    print(f"{len(rows)} rows, {len(failed)} fail; written to {RESULTS / f'gpu-{name}.json'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
