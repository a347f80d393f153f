"""The gate: a committed table of figures of compiled kernels that must not get worse, and rules without a table.

A kernel's figures are those of its machine code; a program's are the bytes that its launches move, and the bytes that
must be moved.

Input: a ``Survey``, compiled. Output: a ``Table``, and a list of complaints against the committed one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.nvidia.compiler import get_ptxas

from svertka.codegen.ir.coalescing import hindrances
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.machine.compiling import TARGETS, compile_launch, launch_key
from svertka.codegen.machine.launch_coverage import Planned, Survey
from svertka.codegen.verify.recording import Recorded

__all__ = [
    "DTYPES",
    "FIGURES",
    "SECOND_ORDER",
    "Complaint",
    "Table",
    "complaints",
    "excuses",
    "measured",
    "name_of",
    "read",
    "skipped",
    "untaken",
    "write",
]

TARGET = "sm_90"
DTYPES = ("bfloat16", "float32")
HALF = ("bfloat16", "float16")
MARGINS = {"registers": 8, "shared": 128}  # per thread and per program: the units in which the GPU allocates them
NO_FEWER = ("boxes", "wide_loads", "wide_stores")
NO_MORE = ("narrow", "ratio")
RISES = {"instructions": 1.05, "sectors": 1.05}  # counts of executed kernels: by how much they may rise
OF_COMPILER = {*MARGINS, *RISES, "wide_loads", "wide_stores", "narrow"}
"""Figures that another compiler version changes for the same kernel. The other figures hold for every compiler."""
SECOND_ORDER = {"float32": "row-major", "bfloat16": "channels_last"}
"""Type and layout of gradients of gradients: the products of one by pointers, those of the other by boxes."""
FIGURES = ("registers", "spills", "shared", "matrix", "wgmma", "boxes", "wide_loads", "wide_stores", "narrow")
UPDATE = "if it is meant, run `svertka gate --update` and let the table's change be read"
REMEDIES = {
    "registers": f"compute less at once, or choose smaller tiles; {UPDATE}",
    "shared": f"choose smaller tiles or fewer stages; {UPDATE}",
    "spills": "registers do not suffice: choose smaller tiles or more warps in codegen/emit/schedules/sm_90.json",
    "wgmma": "operands must enter the matrix unit as they are stored, from tiles of at least 64 rows",
    "boxes": f"an operand is no longer fetched by descriptor; {UPDATE}",
    "wide_loads": f"addresses or masks no longer run on for 16 bytes a lane; {UPDATE}",
    "wide_stores": f"addresses or masks no longer run on for 16 bytes a lane; {UPDATE}",
    "narrow": f"addresses or masks no longer run on for 16 bytes a lane; {UPDATE}",
    "ratio": f"a program reads or writes more than it did, through temporaries or another launch; {UPDATE}",
    "instructions": f"the kernel executes more an element than it did; {UPDATE}",
    "sectors": f"its accesses touch more sectors over the least than they did; {UPDATE}",
    "row": "run `svertka gate --update`",
    "launch": "no program launches it: see why it is generated",
    "entry": "remove the entry from codegen/emit/schedules/sm_90.json, or let a kernel choose it",
}


@dataclass(frozen=True)
class Complaint:
    """A figure that breaks a rule."""

    row: str
    figure: str
    committed: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.row}: {self.figure}: committed {self.committed}, found {self.found}; {REMEDIES[self.figure]}"


Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """Figures by the text that names their row.

    Attributes:
        versions: of Triton and ptxas, and the target.
        kernels, programs: figures by row.
        counts: of kernels that were executed without a GPU, by launch; empty if none was.
        excuses: why a kernel may spill, by its name; written by hand. Its spills may not grow.
    """

    versions: Mapping[str, str]
    kernels: Mapping[str, Figures]
    programs: Mapping[str, Figures]
    excuses: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Figures] = field(default_factory=dict)


def measured(
    found: Survey,
    progress: Callable[[str], None] = lambda name: None,
    known: Table | None = None,
) -> Table:
    """Compile what a survey planned.

    Args:
        found: the survey.
        progress: called with a kernel's name when it is done.
        known: the committed table. A launch that has the same digest there gives the compiler what it gave it then, and
            is not compiled again.
    """
    kernels: dict[str, Figures] = {}
    for planned in found.planned.values():
        before = {} if known is None else known.kernels.get(name_of(planned), {})
        described = {"pattern": planned.kernel.pattern.value, "stored": is_stored(planned), "forced": planned.forced}
        described["boxed"] = is_stored(planned) and planned.boxed
        key = launch_key(planned.launch, TARGET)
        if not before or before.get("digest") != _digest(key, before):
            before = compile_launch(planned.launch, TARGET, planned.dtype).row()
        read = {figure: before[figure] for figure in FIGURES}
        read |= {"why_narrow": _why_narrow(planned, read), "digest": _digest(key, read)}
        kernels[name_of(planned)] = described | read
        progress(planned.kernel.name)
    programs = {f"{program.name} {dtype} {layout}": _traffic(program) for dtype, layout, program in found.programs}
    return Table(_versions(), dict(sorted(kernels.items())), dict(sorted(programs.items())))


def _digest(key: str, figures: Figures) -> str:
    """A digest of the compiler's input and of the figures of its output, so that neither is altered by itself."""
    text = json.dumps([key, *(figures[figure] for figure in FIGURES)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def name_of(planned: Planned) -> str:
    """The row name of a launch."""
    return " ".join(planned.key)


def is_stored(planned: Planned) -> bool:
    """Whether it is a contraction whose operands enter the matrix unit with their storage type."""
    operands, part = planned.kernel.operands, planned.launch.constants.get("PART")
    return bool(operands) and all(operand.stored for operand in operands) and part != "finish"


def _why_narrow(planned: Planned, read: Figures) -> str:
    """Why a memory-bound kernel has accesses of fewer than 16 bytes per lane; empty for a contraction."""
    kernel, launch = planned.kernel, planned.launch
    if kernel.pattern == LoopPattern.CONTRACTION or not read["narrow"]:
        return ""
    # By place: a kernel that several modules share has its tensors' names from the module where it is defined.
    given = zip(launch.kernel.arg_names, launch.arguments, strict=False)
    strides = [value for name, value in given if "_stride_" in name]
    axes = [(tensor.name, axis) for tensor in kernel.tensors for axis in tensor.axes]
    unit = {name: axis for (name, axis), stride in zip(axes, strides, strict=True) if stride == 1}
    wide = bool(read["wide_loads"] or read["wide_stores"])
    return ", ".join(hindrances(kernel, bool(launch.constants["LAST"]), unit, wide))


def _traffic(program: Recorded) -> Figures:
    ratio = round(program.moved / program.required, 4) if program.required else 0.0
    return {"launches": len(program.launches), "moved": program.moved, "required": program.required, "ratio": ratio}


def _versions() -> dict[str, str]:
    return {"triton": triton.__version__, "ptxas": get_ptxas(TARGETS[TARGET].arch).version, "target": TARGET}


def complaints(committed: Table, found: Table, expected: Iterable[str] = ()) -> list[Complaint]:
    """Every rule that the found figures break.

    Args:
        committed: the table to compare with.
        found: what was measured.
        expected: rows of all kernels; committed rows that are not among them are out of date.
    """
    wanted = {*expected}
    rows = {*wanted, *found.programs}
    before = [*committed.kernels, *committed.programs] if wanted else []
    broken = [Complaint(row, "row", "present", "absent") for row in before if row not in rows]
    if found.counts:
        gone = (row for row in committed.counts if row not in found.counts)
        broken += [Complaint(row, "row", "present", "absent") for row in gone]
    for row, figures in found.kernels.items():
        excused = row.split()[0] in committed.excuses
        broken += _absolute(row, figures, committed.kernels.get(row, figures)["spills"] if excused else 0)
    exact = not skipped(committed, found)
    both = [(getattr(committed, part), getattr(found, part)) for part in ("kernels", "programs", "counts")]
    for old, new in both:
        for row, figures in new.items():
            broken += _compared(row, old.get(row), figures, exact)
    return broken


def skipped(committed: Table, found: Table) -> str:
    """Why the compiler's own figures are not compared; empty where they are."""
    if committed.versions == found.versions:
        return ""
    texts = [", ".join(f"{name} {version}" for name, version in table.versions.items()) for table in (committed, found)]
    figures = "registers, shared memory and widths of accesses"
    return f"{figures} are not compared: the table is of {texts[0]}, this is {texts[1]}"


def _absolute(row: str, figures: Figures, spills: int) -> Iterator[Complaint]:
    """Rules that hold without a table, but for the spills that are excused."""
    if figures["spills"] > spills:
        yield Complaint(row, "spills", spills, figures["spills"])
    if figures["stored"] and row.split()[1] in HALF and not figures["wgmma"]:
        yield Complaint(row, "wgmma", "some", 0)
    if figures["boxed"] and not figures["boxes"]:
        yield Complaint(row, "boxes", "some", 0)


def _compared(row: str, before: Figures | None, after: Figures, exact: bool) -> Iterator[Complaint]:
    if before is None:
        yield Complaint(row, "row", "absent", "present")
        return
    for figure, value in after.items():
        if figure in OF_COMPILER and not exact:
            continue
        more = figure in NO_MORE and value > before[figure]
        fewer = figure in NO_FEWER and value < before[figure]
        beyond = figure in MARGINS and value > before[figure] + MARGINS[figure]
        risen = figure in RISES and value > before[figure] * RISES[figure]
        if more or fewer or beyond or risen:
            yield Complaint(row, figure, before[figure], value)


def untaken(found: Survey) -> list[Complaint]:
    """Entries of tile tables that no launch uses, and kernels that are never launched."""
    launched = {planned.name for planned in found.planned.values()}
    idle = [Complaint(kernel, "launch", "some", 0) for kernel in sorted(found.kernels - launched)]
    return [*(Complaint(name, "entry", "taken", "taken by no kernel") for name in found.untaken), *idle]


def read(path: Path) -> Table:
    """The committed table.

    Raises:
        ValueError: there is none, or it is not one.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Table(data["versions"], data["kernels"], data["programs"], data["excuses"], data["counts"])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: no table of figures ({error}); write it with `svertka gate --update`") from error


def excuses(path: Path) -> dict[str, str]:
    """The excuses of a table, which a new one keeps; none if there is no table that can be read."""
    try:
        return dict(read(path).excuses)
    except ValueError:
        return {}


def write(table: Table, path: Path) -> None:
    """Write a table, one line per row."""
    parts = [f'"versions": {json.dumps(table.versions)}', f'"excuses": {json.dumps(table.excuses, indent=1)}']
    for name, rows in (("kernels", table.kernels), ("programs", table.programs), ("counts", table.counts)):
        lines = ",\n".join(f"  {json.dumps(row)}: {json.dumps(dict(figures))}" for row, figures in rows.items())
        parts.append(f'"{name}": {{\n{lines}\n}}')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
