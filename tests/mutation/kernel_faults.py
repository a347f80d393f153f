"""Faults in emitted kernels: mistakes in Triton code, in addition to the general operators of ``python_faults``.

Input: the text of a module of kernels. Output: ``Edit``s, and the position of each kernel.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Any

from .faults import Edit
from .python_faults import RULES, Rule, Tree, walk_tree

__all__ = ["kernel_edits", "kernels_in", "patterns"]

FUNCTIONS = {
    "sum": "max",
    "max": "sum",
    "min": "max",
    "maximum": "minimum",
    "minimum": "maximum",
    "exp": "log",
    "log": "exp",
    "sqrt": "rsqrt",
    "rsqrt": "sqrt",
}
PARTNERS = {
    "live_m": "live_n",
    "live_n": "live_m",
    "live_row": "live_column",
    "live_column": "live_row",
    "live_inner": "live_m",
    "BLOCK_M": "BLOCK_N",
    "BLOCK_N": "BLOCK_M",
    "BLOCK_K": "BLOCK_M",
    "ROWS": "COLUMNS",
    "COLUMNS": "ROWS",
    "tiles_m": "tiles_n",
    "tiles_n": "tiles_m",
    "tile_m": "tile_n",
    "tile_n": "tile_m",
    "total_m": "total_n",
    "total_n": "total_m",
    "left_operand": "right_operand",
}
FAMILY = re.compile(r"Compute, in one (\w+) kernel")


def kernel_edits(text: str) -> list[Edit]:
    """All proposals for a module of kernels and launchers."""
    return list(walk_tree(text, KERNEL_RULES))


@cache
def kernels_in(text: str) -> dict[str, str]:
    """Names of the kernels of a module, each with its loop pattern."""
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and (match := FAMILY.search(ast.get_docstring(node) or "")):
            found[node.name] = match[1]
    return found


def patterns(text: str, edit: Edit) -> tuple[str, str]:
    """Loop pattern and direction of the place of an edit; launchers count as a separate pattern."""
    backward = "grad" in edit.scope or edit.scope.endswith("_backward")
    return kernels_in(text).get(edit.scope, "launcher"), "backward" if backward else "forward"


# Rules --------------------------------------------------------------------------------------------------------------


def _language(node: Any) -> str:
    """The function's name, for a call of ``triton.language``."""
    function = node.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "tl":
        return function.attr
    return ""


def call(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """Masks dropped, another reduction or function, another type, other bounds, branches swapped."""
    name, of = _language(node), tree.source.of
    if name in FUNCTIONS:
        extra = ", propagate_nan=tl.PropagateNan.ALL"
        text = of(node).replace(f"tl.{name}(", f"tl.{FUNCTIONS[name]}(", 1)
        simple = FUNCTIONS[name] in ("maximum", "minimum", "sum", "max")
        yield tree.replace(node, text if simple else text.replace(extra, ""), "function")
    if name in ("load", "store"):
        plain = [of(argument) for argument in node.args]
        if node.keywords:
            yield tree.replace(node, f"tl.{name}({', '.join(plain)})", "dropped mask")
    if name == "zeros":
        shape, kind = map(of, node.args)
        yield tree.replace(node, f"tl.full({shape}, 1, {kind})", "constant")
        yield tree.replace(node.args[1], "tl.float16", "accumulator type")
    if name == "where":
        condition, first, second = map(of, node.args)
        yield tree.replace(node, f"tl.where({condition}, {second}, {first})", "swapped arms")
        yield tree.replace(node, first, "missing guard")
    if name == "cdiv":
        yield tree.replace(node, "({} // {})".format(*map(of, node.args)), "off by one")
    if name == "cast" and of(node.args[1]) == "INDEX":  # arithmetic with a real number casts to ACC anyway
        yield tree.replace(node, of(node.args[0]), "dropped cast")
    if name == "range":
        yield from _bounds(tree, node)
    if isinstance(node.func, ast.Attribute) and node.func.attr == "to":
        yield tree.replace(node, of(node.func.value), "dropped cast")
    if name == "dot":
        yield tree.replace(node.args[2], "None", "dropped accumulation")


def _bounds(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    last = tree.source.of(node.args[1])
    yield tree.replace(node.args[0], "1", "off by one")
    yield tree.replace(node.args[1], f"{last} - 1", "off by one")
    yield tree.replace(node.args[1], f"{last} + 1", "off by one")


def name(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """The tile's other dimension."""
    if isinstance(node.ctx, ast.Load) and node.id in PARTNERS:
        yield tree.replace(node, PARTNERS[node.id], "swapped names")


def names(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """In a kernel: another stride of the same tensor, another extent, another index instead."""
    arguments = [argument.arg for argument in node.args.args]
    if "ACC" not in arguments:
        return
    strides = [argument for argument in arguments if "_stride_" in argument]
    groups = [list(group) for _, group in groupby(strides, key=lambda stride: stride.split("_stride_")[0])]
    extents = [argument for argument in arguments if re.fullmatch(r"[A-Z]", argument)]
    following = {a: b for group in (*groups, extents) for a, b in zip(group, (*group[1:], *group[:1]), strict=True)}
    indices = [extent.lower() for extent in extents]
    following |= {a: b for a, b in zip(indices, (*indices[1:], *indices[:1]), strict=True) if _assigned(node, a, b)}
    for part in ast.walk(ast.Module(body=node.body, type_ignores=[])):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and following.get(part.id, part.id) != part.id:
            yield tree.replace(part, following[part.id], "swapped axes" if "_stride_" in part.id else "swapped names")


def _assigned(function: Any, *sought: str) -> bool:
    found = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found.issuperset(sought)


def broadcast(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """Rows instead of columns."""
    text = tree.source.of(node.slice)
    other = {":, None": "None, :", "None, :": ":, None"}.get(text)
    if other:
        yield tree.replace(node.slice, other, "swapped axes")


def assignment(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """A value computed from its previous one keeps the previous one."""
    target = node.targets[0]
    used = {part.id for part in ast.walk(node.value) if isinstance(part, ast.Name)}
    if isinstance(target, ast.Name) and target.id in used:
        yield tree.replace(node, "pass", "dropped accumulation")


KERNEL_RULES: dict[type[ast.AST], tuple[Rule, ...]] = {
    **RULES,
    ast.Call: (*RULES[ast.Call], call),
    ast.Name: (name,),
    ast.FunctionDef: (names,),
    ast.Subscript: (broadcast,),
    ast.Assign: (assignment,),
}
