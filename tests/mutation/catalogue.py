"""The catalogue of seeded faults: the files, the number of faults in each, and the layers that should reveal them.

Input: the repository. Output: ``Mutant``s, the same ones every time.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import jinja2

from .faults import KERNELS, REPOSITORY, Edit, Mutant, chosen, mutants_of
from .kernel_faults import kernel_edits, patterns
from .named_faults import NAMED, Named
from .python_faults import python_edits
from .second_order import FOLDER, second_order_sources
from .template_faults import jinja_edits, python_template_edits

__all__ = ["catalogue", "text_of"]

EMITTED = {
    "relu": 6,
    "dropout": 5,
    "normalize": 5,
    "center_crop": 5,
    "softmax": 11,
    "log_softmax": 8,
    "linear": 14,
    "max_pooling_1d": 12,
    "average_pooling_1d": 10,
    "convolution_1d": 13,
    "batch_normalization": 14,
    "cross_channel_normalization": 10,
    "local_response_normalization": 4,
    "resize": 5,
    "image_input": 3,
    "max_pooling_2d": 5,
    "average_pooling_2d": 4,
    "convolution_2d": 4,
    "convolution_3d": 1,
    "max_pooling_3d": 1,
    "average_pooling_3d": 1,
    "cross_entropy": 5,
    "convolution_2d_relu": 4,
    "batch_normalization_relu": 4,
    "relu_cross_channel_normalization": 4,
}
"""Number of faults by emitted module; modules that validate fast have more."""

SECOND_ORDER = {
    "softmax_gradient": 12,
    "log_softmax_gradient": 8,
    "linear_gradient": 14,
    "convolution_1d_gradient": 12,
    "convolution_2d_gradient": 3,
    "convolution_2d_relu_gradient": 2,
    "max_pooling_1d_gradient": 8,
    "average_pooling_1d_gradient": 8,
    "average_pooling_2d_gradient": 3,
    "batch_normalization_gradient": 12,
    "batch_normalization_add_relu_gradient": 3,
    "cross_channel_normalization_gradient": 8,
    "local_response_normalization_gradient": 6,
    "relu_cross_channel_normalization_gradient": 4,
    "cross_entropy_gradient": 10,
    "relu_gradient": 4,
    "dropout_gradient": 4,
    "normalize_gradient": 3,
    "resize_gradient": 4,
    "image_input_gradient": 2,
}
"""The same by module of a gradient of a gradient."""

LANES = ("relu", "max_pooling_1d", "average_pooling_1d", "center_crop")
ROWS = ("log_softmax", "softmax", "linear", "batch_normalization")
PRODUCTS = ("linear", "convolution_1d")
FUSED = ("relu_cross_channel_normalization", "batch_normalization_relu", "convolution_2d_relu")
EVERY = (
    "relu",
    "average_pooling_1d",
    "max_pooling_1d",
    "linear",
    "log_softmax",
    "cross_channel_normalization",
    "softmax",
    "batch_normalization",
    "convolution_1d",
    "dropout",
)
"""Every loop pattern, cheapest first."""


@dataclass(frozen=True)
class Quota:
    """How many faults are seeded in a file, what proposes them and which layers reveal them."""

    kind: str
    file: str
    count: int
    layers: tuple[str, ...]
    propose: Callable[[str], list[Edit]] = python_edits


SPEED = re.compile(r"warps|unroll|stages|GROUP|best =|width|strict|access|precision|lru_cache|_of_target|processors")
"""Names that only affect the speed of a kernel."""


def _schedule_edits(text: str) -> list[Edit]:
    """Faults that can change results, not only speed."""
    starts = [(edit, text.rfind("\n", 0, edit.start) + 1) for edit in python_template_edits(text)]
    return [edit for edit, start in starts if not SPEED.search(text[start : text.find("\n", edit.end)])]


NOT_INTERPRETED = {
    *(
        "channels_last",
        "on",
        "How.gathered",
        "target_of",
        "processors",
        "_multiprocessors",
        "fetches_boxes",
        *("_scratch", "_give_scratch"),
    ),
}
"""Functions of a launch that have no effect in the interpreter."""


def _launching_edits(text: str) -> list[Edit]:
    """Faults that can change results; memory layout and device of results do not count."""
    return [edit for edit in python_template_edits(text) if edit.scope not in NOT_INTERPRETED]


def _primitive_edits(text: str) -> list[Edit]:
    """Faults in the functions that some layer's kernels call."""
    return [edit for edit in python_template_edits(text) if edit.scope in ("power", "uniform")]


def _table_edits(text: str) -> list[Edit]:
    """Entries of the interpreter's tables that are not powers of two."""
    found = []
    for line in re.finditer(r'^ *"interpreter.*?(?:\}|\]\n  \})', text, re.MULTILINE | re.DOTALL):
        for number in re.finditer(r"\b\d+\b", line[0]):
            start, end = line.start() + number.start(), line.start() + number.end()
            word = re.findall(r'"(\w+)"', text[:start])[-1]
            if not SPEED.search(word):
                found.append(Edit(start, end, "3", "table entry", word))
    return found


QUOTAS = (
    Quota("template", "codegen/emit/templates/lanes.jinja", 8, LANES, jinja_edits),
    Quota("template", "codegen/emit/templates/row.jinja", 14, ROWS, jinja_edits),
    Quota("template", "codegen/emit/templates/contraction.jinja", 15, PRODUCTS, jinja_edits),
    Quota("template", "codegen/emit/templates/boxes.jinja", 12, PRODUCTS, jinja_edits),
    Quota("template", "codegen/emit/templates/macros.jinja", 14, EVERY, jinja_edits),
    Quota("template", "codegen/emit/templates/kernels.py.jinja", 4, EVERY, jinja_edits),
    Quota(
        "template",
        "codegen/emit/templates/primitives.py.jinja",
        8,
        ("local_response_normalization", "dropout"),
        _primitive_edits,
    ),
    Quota("printer", "codegen/emit/triton_printer.py", 12, EVERY),
    Quota("printer", "codegen/emit/expressions_printer.py", 4, EVERY),
    Quota("printer", "codegen/emit/launcher_printer.py", 4, ("average_pooling_1d", "convolution_1d", "center_crop")),
    Quota("printer", "codegen/emit/launcher.py", 5, EVERY),
    Quota("printer", "codegen/lowering/lower.py", 9, EVERY),
    Quota("printer", "codegen/lowering/expressions.py", 8, EVERY),
    Quota("printer", "codegen/lowering/common_subexpressions.py", 2, EVERY),
    Quota("printer", "codegen/passes/inline.py", 3, (*EVERY, "convolution_2d_relu")),
    Quota("printer", "codegen/passes/saved_conditions.py", 3, ("convolution_2d_relu",)),
    Quota("printer", "codegen/passes/stabilize.py", 5, ("log_softmax", "softmax")),
    Quota("printer", "codegen/passes/exponents.py", 4, ("log_softmax", "softmax")),
    Quota("printer", "codegen/lowering/fusion.py", 5, EVERY),
    Quota("printer", "codegen/lowering/tensor_descriptors.py", 8, PRODUCTS),
    Quota("printer", "codegen/passes/split.py", 6, ("batch_normalization",)),
    Quota("printer", "codegen/passes/centered_sums.py", 4, ("batch_normalization",)),
    Quota("printer", "codegen/ir/loop_patterns.py", 4, EVERY),
    Quota("calculus", "spec/adjoint.py", 14, EVERY),
    Quota("calculus", "spec/gather.py", 11, EVERY),
    Quota("calculus", "spec/normal_form.py", 9, EVERY),
    Quota("calculus", "spec/rewrite.py", 11, EVERY),
    Quota("calculus", "spec/compose.py", 5, FUSED),
    Quota("schedule", "codegen/emit/templates/schedule.py.jinja", 11, EVERY, _schedule_edits),
    Quota("schedule", "codegen/emit/templates/launching.py.jinja", 8, EVERY, _launching_edits),
    Quota("schedule", "codegen/emit/schedules/interpreter.json", 4, EVERY, _table_edits),
)


@cache
def text_of(file: str) -> str:
    """A file of the repository, or a module that is made when it is first asked for."""
    if file.startswith(FOLDER):
        return second_order_sources()[file.removeprefix(FOLDER)]
    return (REPOSITORY / file).read_text(encoding="utf-8")


def _emitted() -> Iterator[Quota]:
    for name, count in EMITTED.items():
        yield Quota("emitted", f"generated/kernels/{name}.py", count, (name,), kernel_edits)
    for name, count in SECOND_ORDER.items():
        yield Quota("second order", f"{FOLDER}kernels/{name}.py", count, (name,), kernel_edits)


@cache
def catalogue() -> tuple[Mutant, ...]:
    """All seeded faults, file by file."""
    found: list[Mutant] = []
    for quota in (*_emitted(), *QUOTAS):
        text = text_of(quota.file)
        edits = quota.propose(text)
        place_of = _place_of(text) if quota.kind in KERNELS else lambda edit: ("", "")
        proposals = mutants_of(quota.kind, quota.file, text, edits, quota.layers, place_of)
        found += chosen(proposals, quota.count, _valid)
    found += [mutant for named in NAMED for mutant in _named(named)]
    return tuple({mutant.identifier: mutant for mutant in found}.values())


def _place_of(text: str) -> Callable[[Edit], tuple[str, str]]:
    return lambda edit: patterns(text, edit)


def _named(named: Named) -> list[Mutant]:
    """A fault with a name; its text must occur."""
    text = text_of(named.file)
    function = text.index(f"def {named.scope}(") if named.scope else 0
    following = re.compile(r"\n *(?:@|def )").search(text, function) if named.scope else None
    start = text.find(named.old, function, following.start() if following else len(text))
    if start < 0:
        raise ValueError(f"{named.file} no longer says {named.old!r} in {named.scope}; give the fault another place")
    edit = Edit(start, start + len(named.old), named.new, named.name, named.scope)
    place_of = _place_of(text) if named.kind in KERNELS else lambda edit: ("", "")
    return mutants_of(named.kind, named.file, text, [edit], named.layers, place_of)


def _valid(mutant: Mutant) -> bool:
    """Whether the text with the fault still parses."""
    text = mutant.applied(text_of(mutant.file))
    try:
        if mutant.file.endswith(".jinja"):
            jinja2.Environment(trim_blocks=True, lstrip_blocks=True).parse(text)
        elif mutant.file.endswith(".json"):
            json.loads(text)
        else:
            ast.parse(text)
    except (SyntaxError, ValueError, jinja2.TemplateSyntaxError):
        return False
    return True
