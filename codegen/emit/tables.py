"""Tables of tile sizes: one file for each target in ``schedules``, written by hand or measured by ``svertka tune``.

A table has an entry for each class of problems: ``lanes/pointwise``, ``lanes/window``, ``rows/along`` (a row is
contiguous in memory), ``rows/beside`` (neighbouring rows are neighbours in memory) and ``contraction/KIND/PLACE``, a
row of the list for a kind of contraction. Rows may have keys that are not known here; these are kept.

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
"""Keys of a contraction's row that say which problems the row is for."""


def table_path(name: str) -> Path:
    """The path of a target's table."""
    return Path(str(resources.files("svertka.codegen.emit"))) / "schedules" / f"{name}.json"


def read(name: str) -> Table:
    """The table of a target, or the default table if the target has none."""
    path = table_path(name)
    found: Table = json.loads((path if path.exists() else table_path(DEFAULT)).read_text(encoding="utf-8"))
    return found if name == INTERPRETER else {**found, "target": name}


def tables() -> dict[str, Table]:
    """The tables of all targets but the interpreter, by target."""
    names = sorted(path.stem for path in table_path(DEFAULT).parent.glob("*.json"))
    return {name: read(name) for name in names if name != INTERPRETER}


def schedule_sources() -> dict[str, str]:
    """The modules that choose tile sizes, by path: functions with the interpreter's table, and the tables of GPUs."""
    templates = environment()
    choosers = templates.get_template("schedule.py.jinja").render(table=json.dumps(read(INTERPRETER)))
    used = ("lanes", "rows", "contraction", "sums", "chains")
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
    """The entry of a table for a class of problems."""
    if name in KEYS:
        part = table[name.split("/")[0]]
        return {key: part[key] for key in KEYS[name]}
    _, kind, place = name.split("/")
    found: dict[str, Any] = table["contraction"][kind][int(place)]
    return found


def placed(table: Table, name: str, chosen: Mapping[str, Any]) -> Table:
    """A copy of a table with another entry for a class of problems."""
    made = copy.deepcopy(table)
    if name in KEYS:
        made[name.split("/")[0]] |= chosen
    else:
        _, kind, place = name.split("/")
        made["contraction"][kind][int(place)] = dict(chosen)
    return made


def changes(old: Table, new: Table) -> list[str]:
    """One line for each class of problems for which two tables differ."""
    pairs = [(name, entry(old, name), entry(new, name)) for name in class_names(new)]
    return [f"{name}: {_shown(before)} -> {_shown(after)}" for name, before, after in pairs if before != after]


def _shown(chosen: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in chosen.items() if key not in FIXED)


def text(table: Table) -> str:
    """The text of a table's file, with each row on a line."""
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
