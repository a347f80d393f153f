"""Names that the templates use, and the check that no name of a formula collides with them.

Input: a layer. Output: nothing, or a ``ValueError`` with the name.
"""

from __future__ import annotations

from svertka.spec.layer import Layer, symbols_of, walk
from svertka.spec.notation import Reduction

__all__ = ["RESERVED", "check_names"]

RESERVED = frozenset(
    [
        "ACC",
        "INDEX",
        "LAST",
        "BLOCK",
        "UNROLL",
        "ROWS",
        "COLUMNS",
        "SINGLE",
        "LANES",
        "BLOCK_M",
        "BLOCK_N",
        "BLOCK_K",
        "BLOCK_DEPTH",
        "WHOLE",
        "GROUP",
        "PRECISION",
        "DOT",
        "TAPS",
        "SPLITS",
        "PART",
        "chosen",
        "chunk",
        "left_box",
        "number",
        "part",
        "partial_ptr",
        "program",
        "right_box",
        "share",
        "split",
        "tiles",
        "walk",
        "band",
        "band_height",
        "chunks",
        "step",
        "steps",
        "tap",
        "tap_rest",
        "batch",
        "batch_rest",
        "column",
        "column_rest",
        "element",
        "faded",
        "grown",
        "raised",
        "inner",
        "left_depth",
        "left_depth_rest",
        "right_depth",
        "right_depth_rest",
        "depth_step",
        "live_left_depth",
        "live_right_depth",
        "inner_end",
        "inner_first",
        "inner_rest",
        "lane",
        "lane_rest",
        "largest",
        "left_operand",
        "live",
        "live_column",
        "live_inner",
        "live_m",
        "live_n",
        "live_phase",
        "live_row",
        "missing",
        "right_operand",
        "row",
        "row_rest",
        "take",
        "tile",
        "tile_m",
        "tile_n",
        "tile_used",
        "tiles_m",
        "tiles_n",
        "total_m",
        "total_n",
        "winner",
        "how",
        "launching",
        "primitives",
        "recurrence",
        "around",
        "save",
        "schedule",
        "self",
        "shapes",
        "skipped",
        "tl",
        "torch",
        "triton",
        "wanted",
        "evaluation",
        *("abs", "bool", "float", "getattr", "int", "isinstance", "len", "max", "min", "range", "str", "tuple", "zip"),
    ]
)


PREFIXES = ("BOX_", "cell_", "count_", "first_", "kept_", "period_", "phase_", "phases_", "start_", "tap_", "taps_")
"""Prefixes that, with an index's name, make names of kernel variables."""


def check_names(layer: Layer) -> None:
    """Refuse a layer whose names collide with those of a kernel, or with one another.

    Raises:
        ValueError: a tensor, index, extent or parameter has a reserved name, or two of them share a name.
    """
    normal_tensors = layer.tensors.values()
    indices = {index for tensor in normal_tensors for index in tensor.axes}
    for equation in layer.equations:
        indices |= {i for node in walk(equation.value) if isinstance(node, Reduction) for i in node.indices}
    kinds = {
        "tensor": {tensor.name for tensor in normal_tensors},
        "index": {index.name for index in indices},
        "parameter or extent": {s.name for i in indices for s in i.extent.free_symbols}
        | {s.name for e in layer.equations for s in symbols_of(e.value)},
    }
    own = RESERVED | {f"{prefix}{index}" for prefix in PREFIXES for index in kinds["index"]}
    own |= {name for t in normal_tensors for name in (f"{t.name}_ptr", f"carry_{t.name}")}
    own |= {f"{tensor.name}_stride_{index.name}" for tensor in normal_tensors for index in tensor.axes}
    seen: dict[str, str] = {}
    for kind, names in kinds.items():
        for name in sorted(names):
            if name in own:
                raise ValueError(f"layer {layer.name}: {kind} {name!r} has a name that kernels use; rename it")
            if name in seen:
                raise ValueError(f"layer {layer.name}: {name!r} names both a {seen[name]} and a {kind}; rename one")
            seen[name] = kind
