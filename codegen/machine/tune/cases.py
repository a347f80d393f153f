"""The workloads that measure an entry of a table: those that launch something of its class.

Input: workloads and a target. Output: cases by class.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest import mock

from svertka.codegen.emit.tables import Table, class_names
from svertka.codegen.machine.bench.launched import passes
from svertka.codegen.machine.bench.workload import Workload
from svertka.codegen.machine.compiling import Compiled, compile_launch
from svertka.codegen.machine.tune.candidates import Limit
from svertka.codegen.machine.tune.search import Case
from svertka.codegen.verify.recording import Launched, remembering_nothing

__all__ = ["FAMILIES", "applied", "cases_by_class", "refusal"]

FAMILIES = ("contraction", "rows", "lanes")
MOST_CASES, MOST_QUICK = 8, 3


@contextmanager
def applied(table: Table) -> Iterator[None]:
    """Let the generated package choose tiles from a table for its target."""
    schedule = importlib.import_module("svertka.generated.schedule")
    with remembering_nothing(), mock.patch.dict(schedule.TABLES, {table["target"]: table}):
        yield


def cases_by_class(
    table: Table,
    workloads: Sequence[Workload],
    families: Sequence[str] = FAMILIES,
    quick: bool = False,
    progress: Callable[[str], None] = lambda name: None,
    pointers: bool = False,
) -> dict[str, list[Case]]:
    """Cases of every class that some workload reaches, in the table's order, spread over the workloads.

    With ``pointers`` also cases of the classes that it would reach if no boxes were loaded.
    """
    found: dict[str, list[Case]] = {name: [] for name in class_names(table) if name.split("/")[0] in families}
    with applied(table):
        for workload in workloads:
            for boxes in (True, False) if pointers else (True,):
                for one in passes(workload, table["target"], boxes):
                    for name in {launch.entry for launch in one.launches}:
                        found.get(name, []).append(Case(workload, one.direction))
            progress(workload.name)
    most = MOST_QUICK if quick else MOST_CASES
    return {name: _spread(cases, most) for name, cases in found.items() if cases}


def _spread(cases: Sequence[Case], most: int) -> list[Case]:
    """Some of many, evenly spaced."""
    count = min(len(cases), most)
    return [cases[place * len(cases) // count] for place in range(count)]


def refusal(
    table: Table, name: str, cases: Sequence[Case], limit: Limit, seen: dict[str, Compiled] | None = None
) -> str:
    """Why an entry cannot be used on its target: it spills or needs too much shared memory; "" if it can be used.

    Every kernel of the class among the cases is compiled, none is run; ``seen`` caches what was compiled.
    """
    for launch in _distinct(table, name, cases).values():
        key = f"{launch.kernel.__name__} {launch.constants}"
        seen = {} if seen is None else seen
        if key not in seen:
            try:
                seen[key] = compile_launch(launch, table["target"], "")
            except Exception as error:  # the compiler raises any exception
                return f"{launch.kernel.__name__}: {type(error).__name__}: {error}"[:200]
        made = seen[key]
        if made.spills:
            return f"{made.kernel}: {made.spills} bytes of registers spill"
        if made.shared > limit.shared:
            return f"{made.kernel}: {made.shared} bytes of shared memory, of {limit.shared}"
    return ""


def _distinct(table: Table, name: str, cases: Sequence[Case]) -> Mapping[str, Launched]:
    """The launches of a class, one per kernel and types."""
    found: dict[str, Launched] = {}
    with applied(table):
        for case in cases:
            both = (p for boxes in (True, False) for p in passes(case.workload, table["target"], boxes))
            for launch in (launch for p in both if p.direction == case.direction for launch in p.launches):
                if launch.entry == name:
                    types = [str(tensor.dtype) for tensor in launch.tensors()]
                    found.setdefault(f"{launch.kernel.__name__} {types}", launch)
    return found
