"""The tile search for one class of problems; the table is rewritten after each class that was searched."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from svertka.codegen.emit.tables import Table, read, text
from svertka.codegen.machine.bench.workload import in_phase, shrunk
from svertka.codegen.machine.tune.device import limit_at_hand, measured_on, state_of, target_at_hand, tools
from svertka.codegen.machine.tune.run import tuned
from svertka.codegen.machine.tune.search import Record
from tests.benchmarks.items.benchmark import FIGURE, SHRUNK_FIGURE
from tests.benchmarks.items.choice import say, shrunk_timing

ON_GPU = True
FAMILIES = ("contraction", "rows", "lanes")

__all__ = ["ON_GPU", "run"]


def run(item: dict[str, Any]) -> dict[str, Any]:
    """Search; ``lines`` describe the changes. It stops before its time is over, with the best entry so far."""
    begun = time.monotonic()
    target = target_at_hand("cuda")
    folder, limit, machine = Path(item["out"]), limit_at_hand("cuda"), measured_on("cuda")
    path = folder / f"table-{target}.json"
    old = _known(path, target)
    chosen = [shrunk(workload) if item["shrink"] else workload for workload in in_phase("tune")]
    record = Record(folder / "tune.jsonl", state_of(read(target), machine, True))
    given = tools("cuda", limit, budget=SHRUNK_FIGURE if item["shrink"] else FIGURE)

    def late() -> bool:
        return time.monotonic() - begun > float(item["seconds"])

    with shrunk_timing(bool(item["shrink"])):
        new, lines = tuned(
            old, chosen, FAMILIES, limit, given, record, True, _quiet, classes=(item["class"],), late=late
        )
    written = path.with_suffix(".new")
    written.write_text(text({**new, "measured": machine}), encoding="utf-8")
    written.replace(path)
    failures = [f"values: {line}" for line in lines if "misses its formula" in line]
    return {"lines": lines, "stopped": late(), "failures": failures}


def _known(path: Path, target: str) -> Table:
    """The table that earlier classes left, or the committed one."""
    import json

    found: Table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else read(target)
    return found


@contextmanager
def _quiet(title: str, total: int) -> Iterator[Callable[[str], None]]:
    say(f"{title}: {total}")
    yield lambda name: None
