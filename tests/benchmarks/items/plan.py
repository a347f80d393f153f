"""The items of every phase, heaviest first, and their costs; no GPU is needed."""

from __future__ import annotations

from typing import Any

from svertka.codegen.emit.tables import read
from svertka.codegen.machine.bench.workload import in_phase
from svertka.codegen.machine.tune.candidates import candidates, limit_of
from svertka.codegen.machine.tune.run import first_classes
from tests.benchmarks import budget
from tests.benchmarks.items import choice, formulas, large, memcheck
from tests.benchmarks.items.precompile import TARGET

ON_GPU = False
REPEATS = 5
SEARCH_SECONDS = 25  # per class of problems; the best entry so far is kept

__all__ = ["ON_GPU", "run"]

Item = dict[str, Any]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Items by phase; ``only``: names, or parts of names separated by ``|``; an item must contain one."""
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
    return not only or not {item["id"], *item["id"].split(" | ")}.isdisjoint(only)


def _correctness() -> list[Item]:
    """The first part of every formula, then the others; in both the heaviest first, so that processes end together.

    The rest is light, and is left to the phase that resumes this one.
    """
    items = [
        {"id": f"{formula} | {part}", "definition": definition, "formula": formula, "part": part, "repeats": REPEATS}
        for part in formulas.PARTS
        for definition, formula in formulas.formulas()
    ]
    first = [item for item in items if item["part"] == formulas.PARTS[0]]
    others = [item for item in items if item["part"] != formulas.PARTS[0]]
    return [*sorted(first, key=_cost, reverse=True), *sorted(others, key=_cost, reverse=True)]


def _cost(item: Item) -> float:
    return budget.seconds(item["formula"], item["part"])


def _memcheck() -> list[Item]:
    known = dict(reversed(formulas.formulas()))  # the first of each definition
    return [{"id": f"memcheck | {name}", "definition": name, "formula": known[name]} for name in memcheck.LAYERS]


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
