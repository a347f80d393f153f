"""Faults in Python source: operators over its syntax tree, each a replacement of a piece of the text.

Input: the text of a module. Output: ``Edit``s. Texts for people (docstrings, messages of exceptions, annotations) and
mere names (imports, ``__all__``) are not changed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any

from .faults import Edit

__all__ = ["Source", "Tree", "python_edits", "walk_tree"]

ARITHMETIC: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "%"),
    ast.Mod: ("%", "//"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.Pow: ("**", "*"),
}
COMPARISONS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
TEXTS = {
    "+": "-",
    "-": "+",
    "*": "+",
    "/": "*",
    "//": "%",
    "%": "//",
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "&": "|",
    "|": "&",
    " & ": " | ",
    "tl.maximum": "tl.minimum",
    "tl.minimum": "tl.maximum",
    "tl.exp": "tl.log",
    "tl.log": "tl.exp",
    "tl.sqrt": "tl.rsqrt",
    "tl.rsqrt": "tl.sqrt",
    "primitives.power": "primitives.uniform",
    "sum": "max",
    "max": "sum",
    "argmax": "max",
    "multiply": "add",
    "divide": "multiply",
    "add": "subtract",
    "subtract": "add",
    "sqrt": "rsqrt",
    "rsqrt": "sqrt",
    "and": "or",
    "integer": "real",
    "row": "column",
    "lane": "row",
    ".to(ACC)": "",
}
PIECES = (
    (" * ", " + "),
    (" + ", " - "),
    (" // ", " % "),
    (" % ", " // "),
    (" == 0", " != 0"),
    (" < ", " <= "),
    ("0 <= ", "0 < "),
    ("other=0", "other=1"),
    (", mask={mask}, other=0", ""),
    ("mask={masks}", "mask=None"),
    ("is not None", "is None"),
    ("tl.cast({", "({"),
    (", ACC)", ", tl.float16)"),
    (" / ", " * "),
    ("PropagateNan.ALL", "PropagateNan.NONE"),
)
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "reversed": "list"}
SYMMETRIC = ("Add", "Mul", "And", "Or", "min", "max", "maximum", "minimum")
UNTOUCHED = ("isinstance", "getattr", "hasattr", "range", "cast")
ORDERINGS = ("LAST",)
"""Compile-time choices of the order in which lanes traverse a tensor; every order computes the same."""


@dataclass(frozen=True)
class Source:
    """A text and the positions of its syntax tree's nodes."""

    text: str

    @cached_property
    def lines(self) -> list[tuple[int, bytes]]:
        """Each line and the number of characters before it."""
        lines = self.text.splitlines(keepends=True)
        starts = accumulate(map(len, lines), initial=0)
        return [(start, line.encode()) for start, line in zip(starts, lines, strict=False)]

    def offset(self, line: int, column: int) -> int:
        """Characters before a position; the tree counts columns in bytes."""
        start, content = self.lines[line - 1]
        return start + len(content[:column].decode())

    def span(self, node: Any) -> tuple[int, int]:
        """Position of a node's first character and of the character after its last."""
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def of(self, node: Any) -> str:
        """A node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def between(self, left: Any, right: Any, sign: str) -> tuple[int, int]:
        """Position of an operator between its operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        place = self.text.index(sign, start, end)
        return place, place + len(sign)


SILENT = (ast.Raise, ast.Import, ast.ImportFrom, ast.Assert)

Rule = Callable[["Tree", Any], Iterator[tuple[int, int, str, str]]]


@dataclass(frozen=True)
class Tree:
    """A module in which faults are planted."""

    source: Source

    def replace(self, node: Any, new: str, operator: str) -> tuple[int, int, str, str]:
        """A whole node replaced."""
        return (*self.source.span(node), new, operator)


SIZES = {"schedule.rows": 2, "schedule.maps": 2, "schedule.lanes": 1}
"""Arguments of schedules that decide which elements are computed."""


def python_edits(text: str) -> list[Edit]:
    """All proposals of the general operators."""
    return list(walk_tree(text, RULES))


def walk_tree(text: str, rules: dict[type[ast.AST], tuple[Rule, ...]]) -> Iterator[Edit]:
    """Apply rules to every node that affects results."""
    tree = Tree(Source(text))

    def visit(node: ast.AST, scope: str) -> Iterator[Edit]:
        if isinstance(node, ast.Assign) and scope == "" and "RESIDUALS" in ast.unparse(node.targets[0]):
            return  # read by the package's functions, not by kernels
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}" if scope else node.name
        for rule in rules.get(type(node), ()):
            yield from (Edit(*found, scope) for found in rule(tree, node))
        for child in _working(node):
            yield from visit(child, scope)

    yield from visit(ast.parse(text), "")


def _working(node: ast.AST) -> Iterator[ast.AST]:
    """Children that compute. All that a schedule is told but the numbers of rows or elements only chooses tiles."""
    if isinstance(node, ast.Call) and (sizes := SIZES.get(ast.unparse(node.func))):
        yield from node.args[:sizes]
        return
    for name, value in ast.iter_fields(node):
        if isinstance(node, ast.JoinedStr) or name in ("annotation", "returns", "decorator_list", "ctx", "bases"):
            continue  # positions inside a formatted string are not exact
        for child in value if isinstance(value, list) else [value]:
            silent = not isinstance(child, ast.AST) or isinstance(child, SILENT)
            if not silent and not _is_text(child) and not _is_names(child):
                yield child


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_names(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"


# Rules --------------------------------------------------------------------------------------------------------------


def arithmetic(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """Another operation on the same operands; one operand of a conjunction dropped."""
    if type(node.op) not in ARITHMETIC or any(_is_string(side) for side in (node.left, node.right)):
        return
    sign, other = ARITHMETIC[type(node.op)]
    yield (*tree.source.between(node.left, node.right, sign), other, "operator")
    if isinstance(node.op, ast.BitAnd):
        yield tree.replace(node, tree.source.of(node.left), "dropped conjunct")
        yield tree.replace(node, tree.source.of(node.right), "dropped conjunct")


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def comparison(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """A neighbouring comparison."""
    for (left, right), operation in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
        sign, other = COMPARISONS[type(operation)]
        yield (*tree.source.between(left, right, sign), other, "comparison")


def connective(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """And instead of or, and one operand less."""
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    terms = [tree.source.of(value) for value in node.values]
    yield tree.replace(node, f" {other} ".join(f"({term})" for term in terms), "operator")
    for place in range(len(terms)):
        left = terms[:place] + terms[place + 1 :]
        yield tree.replace(node, f" {word} ".join(f"({term})" for term in left), "dropped conjunct")


def negation(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """A sign or a negation dropped."""
    if isinstance(node.op, ast.USub | ast.Not | ast.Invert) and not isinstance(node.operand, ast.Constant):
        yield tree.replace(node, f"({tree.source.of(node.operand)})", "dropped negation")


def test(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """The other branch."""
    if tree.source.of(node.test) not in ORDERINGS:
        yield tree.replace(node.test, f"not ({tree.source.of(node.test)})", "negated condition")


def filtered(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """A comprehension without its condition."""
    for condition in node.ifs:
        yield tree.replace(condition, "True", "missing guard")


def constant(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """The next number, the other truth value, another word of the vocabulary."""
    value = node.value
    if isinstance(value, bool):
        yield tree.replace(node, str(not value), "constant")
    elif isinstance(value, int):
        yield tree.replace(node, str(value + 1), "constant")
    elif isinstance(value, float):
        yield tree.replace(node, repr(value * 2 if value else 1.0), "constant")
    elif isinstance(value, str) and value in TEXTS:
        yield tree.replace(node, repr(TEXTS[value]).replace("'", '"'), "word")


def call(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """Another function of the same kind; two arguments swapped; a range one longer, shorter or later."""
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if name in CALLS:
        yield tree.replace(node.func, CALLS[name], "function")
    if name == "range":
        last = node.args[-1] if len(node.args) < 3 else node.args[1]
        for change in (" + 1", " - 1"):
            yield tree.replace(last, f"{tree.source.of(last)}{change}", "off by one")
    if name not in (*SYMMETRIC, *UNTOUCHED):
        yield from _swapped(tree, node.args, "swapped arguments")


def _swapped(tree: Tree, parts: list[Any], operator: str) -> Iterator[tuple[int, int, str, str]]:
    """Neighbours that change places."""
    for first, second in pairwise(parts):
        (start, _), (_, end) = tree.source.span(first), tree.source.span(second)
        gap = tree.source.text[tree.source.span(first)[1] : tree.source.span(second)[0]]
        yield start, end, f"{tree.source.of(second)}{gap}{tree.source.of(first)}", operator


def statement(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """A statement that changes something left out."""
    if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call):
        return
    yield tree.replace(node, "pass", "dropped statement")


def choice(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """The arms of a conditional expression swapped."""
    other, condition, one = (tree.source.of(part) for part in (node.orelse, node.test, node.body))
    yield tree.replace(node, f"({other}) if ({condition}) else ({one})", "swapped arms")


def parts(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """Two neighbours in a tuple swapped."""
    if isinstance(node.ctx, ast.Load):
        yield from _swapped(tree, node.elts, "swapped parts")


def formatted(tree: Tree, node: Any) -> Iterator[tuple[int, int, str, str]]:
    """The fixed text of a formatted string altered."""
    start, text = tree.source.span(node)[0], tree.source.of(node)
    for old, new in PIECES:
        place = text.find(old)
        if place >= 0:
            yield start + place, start + place + len(old), new, "printed text"


RULES: dict[type[ast.AST], tuple[Rule, ...]] = {
    ast.BinOp: (arithmetic,),
    ast.Compare: (comparison,),
    ast.BoolOp: (connective,),
    ast.UnaryOp: (negation,),
    ast.If: (test,),
    ast.While: (test,),
    ast.IfExp: (choice,),
    ast.comprehension: (filtered,),
    ast.Constant: (constant,),
    ast.Call: (call,),
    ast.AugAssign: (statement,),
    ast.Expr: (statement,),
    ast.Continue: (statement,),
    ast.Tuple: (parts,),
    ast.JoinedStr: (formatted,),
}
