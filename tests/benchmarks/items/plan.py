"""Which items every phase has, heaviest first, and what they cost: nothing of it needs a GPU."""

from __future__ import annotations

from typing import Any

from svertka.codegen.bench.workload import in_phase
from svertka.codegen.tables import read
from svertka.codegen.tune.candidates import candidates, limit_of
from svertka.codegen.tune.run import first_classes
from tests.benchmarks import budget
from tests.benchmarks.items import choice, formulas, large, memcheck
from tests.benchmarks.items.precompile import TARGET

ON_GPU = False
REPEATS = 5
MEMCHECK_SECONDS = 70  # of a layer under the sanitizer
SEARCH_SECONDS = 25  # of a class of problems; the best so far is kept

__all__ = ["ON_GPU", "run"]

Item = dict[str, Any]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Items by phase; ``only``: parts of names, of which one must occur in an item's."""
    common = {"shrink": item["shrink"], "out": item["out"]}
    found = {
        "correctness": _correctness(),
        "memcheck": _memcheck(),
        "precompilation": [*_workloads(), *_candidates()],
        "benchmark": [choice.item_of(workload) for workload in in_phase("benchmark")],
        "training step": [{"id": "alexnet | training step"}],
        "tiles": [{"id": name, "class": name, "seconds": SEARCH_SECONDS} for name in first_classes()],
        "torch.compile": [choice.item_of(workload) for workload in in_phase("compile")],
        "large tensors": _large(bool(item["shrink"])),
    }
    chosen = {phase: [one | common for one in some if _wanted(one, item["only"])] for phase, some in found.items()}
    lines = budget.arithmetic(chosen["correctness"], item["processes"])
    return {"items": chosen, "budget": lines}


def _wanted(item: Item, only: list[str]) -> bool:
    return not only or any(part in item["id"].split(" | ") for part in only)


def _correctness() -> list[Item]:
    """Part by part, in each the heaviest first."""
    items = []
    for part in formulas.PARTS:
        ordered = sorted(formulas.formulas(), key=lambda names: -budget.seconds(names[1], part))
        for definition, formula in ordered:
            name = f"{formula} | {part}"
            items.append({"id": name, "definition": definition, "formula": formula, "part": part, "repeats": REPEATS})
    return items


def _memcheck() -> list[Item]:
    known = dict(reversed(formulas.formulas()))  # the first of each definition
    return [
        {"id": f"memcheck | {name}", "definition": name, "formula": known[name], "seconds": MEMCHECK_SECONDS}
        for name in memcheck.LAYERS
    ]


def _workloads() -> list[Item]:
    """Workloads that are measured, before those that are searched."""
    return [
        {**choice.item_of(workload), "phase": phase, "id": f"{workload.name} {workload.dtype} | {phase} compiled"}
        for phase in ("benchmark", "compile")
        for workload in in_phase(phase)
    ]


def _candidates() -> list[Item]:
    table = read(TARGET)
    return [
        {"id": f"{name} | candidate {place}", "class": name, "candidate": place}
        for name in first_classes()
        for place in range(len(candidates(table, name, limit_of(TARGET), quick=True)))
    ]


def _large(shrink: bool) -> list[Item]:
    elements = 2**17 if shrink else large.ELEMENTS
    return [{"id": f"{name} | large", "function": name, "elements": elements} for name in large.FUNCTIONS]
