"""Measurement on this machine's GPU, for the search.

Input: cases. Output: ``Tools``, and the description of the machine in records and tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from svertka.codegen.emit.tables import Table, text
from svertka.codegen.machine.bench.measure import backward_seconds, input_sets
from svertka.codegen.machine.bench.timing import BUDGET, seconds
from svertka.codegen.machine.bench.verify import verify
from svertka.codegen.machine.bench.workload import Road, gradient_groups, precision, roads
from svertka.codegen.machine.compiling import Compiled
from svertka.codegen.machine.tune.candidates import Limit
from svertka.codegen.machine.tune.cases import applied, refusal
from svertka.codegen.machine.tune.search import Case, Tools

__all__ = ["limit_at_hand", "measured_on", "state_of", "target_at_hand", "tools"]

KEPT = 8  # cases whose inputs stay on the GPU


def target_at_hand(device: str) -> str:
    """The target whose tables a device uses.

    Raises:
        ValueError: there is no such device, or no table is for its capability.
    """
    if not device.startswith("cuda") or not torch.cuda.is_available():
        raise ValueError(
            f"--device {device}: tables are measured on a GPU, and there is none here; run `svertka tune` on a "
            "machine with one, or `svertka tune --check` to compile the tables as they are"
        )
    from svertka.generated import launching

    target = launching.target_of(torch.device(device))
    if target == "default":
        raise ValueError(f"--device {device}: tables are by CUDA capability; measure on an NVIDIA GPU")
    return target


def limit_at_hand(device: str) -> Limit:
    """The device's own limits."""
    properties: Any = torch.cuda.get_device_properties(device)
    return Limit(properties.shared_memory_per_block_optin, torch.cuda.get_device_capability(device)[0] == 9)


def measured_on(device: str) -> dict[str, str]:
    """The machine and the versions with which a table was measured."""
    return {
        "device": torch.cuda.get_device_name(device),
        "cuda": str(torch.version.cuda),
        "torch": torch.__version__,
        "triton": version("triton"),
    }


def state_of(table: Table, machine: dict[str, str], quick: bool) -> str:
    """A digest of everything that a time depends on: the kernels, the initial table, and the machine."""
    from svertka.generated import launching

    total = hashlib.sha256(f"{text(table)}\0{sorted(machine.items())}\0{quick}".encode())
    folder = Path(str(launching.__file__)).parent
    for path in sorted(folder.rglob("*.py")):
        if path.name != "tables.py":
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


def tools(device: str, limit: Limit, *, budget: float = BUDGET) -> Tools:
    """Compile, time and check on a device; ``budget``: approximate seconds for measuring a case."""
    compiled: dict[str, Compiled] = {}
    kept: dict[str, list[dict[str, torch.Tensor]]] = {}

    def of(case: Case) -> tuple[Road, list[dict[str, torch.Tensor]]]:
        if case.name not in kept:
            while len(kept) >= KEPT:
                del kept[next(iter(kept))]
            kept[case.name] = input_sets(case.workload, device)
        return roads(case.workload, False)[0], kept[case.name]

    def refused(table: Table, name: str, cases: Sequence[Case]) -> str:
        return refusal(table, name, cases, limit, compiled)

    def timed(table: Table, case: Case) -> float:
        road, sets = of(case)
        with applied(table), precision(case.workload):
            return _seconds(case, road, sets, device, budget)

    def wrong(table: Table, case: Case) -> Sequence[str]:
        road, sets = of(case)
        with applied(table), precision(case.workload):
            return verify(case.workload, road, sets[0], case.direction)

    return Tools(refused, timed, wrong)


def _seconds(case: Case, road: Road, sets: Sequence[dict[str, torch.Tensor]], device: str, budget: float) -> float:
    if case.direction == "forward":
        with torch.no_grad():
            return seconds(road, sets, device, budget)
    return backward_seconds(road, sets, gradient_groups(case.workload, sets[0])[case.direction], device, budget)
