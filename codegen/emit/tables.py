"""Tile tables: one file a target in ``schedules``, chosen by structure or measured by ``svertka tune``.

A table has a class of problems in each of its places: ``lanes/pointwise``, ``lanes/window``, ``rows/along`` (rows lie
along memory), ``rows/beside`` (neighbouring rows are neighbours in memory) and ``contraction/KIND/PLACE``, a row of the
list of a kind of contraction. Rows may have more keys than are known here; they are kept.

Input: JSON files. Output: tables, generated modules.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from svertka.codegen.emit.render import environment

__all__ = [
    "FIXED",
    "changes",
    "class_names",
    "entry",
    "placed",
    "read",
    "schedule_sources",
    "table_path",
    "tables",
    "text",
]

Table = dict[str, Any]
INTERPRETER, DEFAULT = "interpreter", "default"
KEYS = {
    "lanes/pointwise": ("block", "warps"),
    "lanes/window": ("window_block", "unroll", "window_warps"),
    "rows/along": ("elements", "short_row", "elements_a_warp", "most_warps"),
    "rows/beside": ("contiguous_rows",),
}
FIXED = ("least_m", "least_n")
"""Keys of a row of a contraction that say for which problems it is."""


def table_path(name: str) -> Path:
    """Where a target's table lies."""
    return Path(str(resources.files("svertka.codegen.emit"))) / "schedules" / f"{name}.json"


def read(name: str) -> Table:
    """The table of a target, or the default where it has none."""
    path = table_path(name)
    found: Table = json.loads((path if path.exists() else table_path(DEFAULT)).read_text(encoding="utf-8"))
    return found if name == INTERPRETER else {**found, "target": name}


def tables() -> dict[str, Table]:
    """The tables of all targets but the interpreter, by target."""
    names = sorted(path.stem for path in table_path(DEFAULT).parent.glob("*.json"))
    return {name: read(name) for name in names if name != INTERPRETER}


def schedule_sources() -> dict[str, str]:
    """The modules that choose tiles, by path: the choosers with the interpreter's tables, and those of GPUs."""
    templates = environment()
    choosers = templates.get_template("schedule.py.jinja").render(table=json.dumps(read(INTERPRETER)))
    used = ("lanes", "rows", "contraction", "sums")
    found = {name: {key: table[key] for key in used} for name, table in tables().items()}
    return {
        "schedule.py": choosers,
        "tables.py": templates.get_template("tables.py.jinja").render(tables=json.dumps(found)),
    }


def class_names(table: Table) -> list[str]:
    """All classes of problems of a table."""
    rows = table["contraction"].items()
    return [*KEYS, *(f"contraction/{kind}/{place}" for kind, some in rows for place in range(len(some)))]


def entry(table: Table, name: str) -> dict[str, Any]:
    """What a table says for a class of problems."""
    if name in KEYS:
        part = table[name.split("/")[0]]
        return {key: part[key] for key in KEYS[name]}
    _, kind, place = name.split("/")
    found: dict[str, Any] = table["contraction"][kind][int(place)]
    return found


def placed(table: Table, name: str, chosen: Mapping[str, Any]) -> Table:
    """A table that says something else for a class of problems."""
    made = copy.deepcopy(table)
    if name in KEYS:
        made[name.split("/")[0]] |= chosen
    else:
        _, kind, place = name.split("/")
        made["contraction"][kind][int(place)] = dict(chosen)
    return made


def changes(old: Table, new: Table) -> list[str]:
    """One line a class of problems for which two tables differ."""
    pairs = [(name, entry(old, name), entry(new, name)) for name in class_names(new)]
    return [f"{name}: {_shown(before)} -> {_shown(after)}" for name, before, after in pairs if before != after]


def _shown(chosen: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in chosen.items() if key not in FIXED)


def text(table: Table) -> str:
    """A table as its file has it: one row a line."""
    lines = []
    for key, value in table.items():
        if key != "contraction":
            lines.append(f'  "{key}": {json.dumps(value)}')
            continue
        kinds = []
        for kind, rows in value.items():
            listed = ",\n".join(f"      {json.dumps(row)}" for row in rows)
            kinds.append(f'    "{kind}": [\n{listed}\n    ]')
        lines.append(f'  "{key}": {{\n' + ",\n".join(kinds) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"
