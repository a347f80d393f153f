"""Which statements of kernels ran, so that a proof can say of what it does not speak.

Triton's interpreter rewrites a kernel before it runs it. Here the rewriting also puts a mark before every statement,
and around both values of every conditional expression. A mark notes that it was passed; nothing else changes.

Input: kernels that run inside ``marking``. Output: a ``Coverage``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from triton.runtime import interpreter as engine

__all__ = ["Coverage", "marking"]

_Mark = tuple[str, int]
_MARK = "passed"  # of what Triton calls ``interpreter_semantic`` in the kernels that it rewrote
_MARKED: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Kernels as they are run with marks."""
_TEXTS: dict[str, dict[int, str]] = {}
"""The statements and conditional values of each kernel: by its file and name, by number."""


@dataclass
class Coverage:
    """The marks that were passed."""

    reached: set[_Mark] = field(default_factory=set)

    @property
    def passed(self) -> int:
        """How many statements, and values of conditional expressions, ran."""
        return len(self.reached)

    def missed(self) -> list[str]:
        """What never ran of the kernels that ran: name of the kernel, and text."""
        ran = {kernel for kernel, _ in self.reached}
        return [
            f"{kernel.rpartition(':')[2]}: {text!r} ran in no case"
            for kernel in sorted(ran)
            for number, text in _TEXTS[kernel].items()
            if (kernel, number) not in self.reached
        ]


class _Rewriter(engine.FunctionRewriter):  # type: ignore[misc]
    """Triton's rewriting of a kernel, with marks."""

    def _transform_ast(self, source: str) -> Any:
        kernel = f"{self.filename}:{self.fn.__name__}"
        self.ast_transformer = _Marking(kernel)
        return super()._transform_ast(source)


class _Marking(engine.ASTTransformer):  # type: ignore[misc]
    """Puts marks into a kernel; the docstring has none."""

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel
        self.texts = _TEXTS[kernel] = {}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # noqa: N802 - name is Python's
        told = ast.get_docstring(node) is not None
        node.body = [*node.body[:told], *self._marked(node.body[told:])]
        return node

    def visit_For(self, node: ast.For) -> ast.AST:  # noqa: N802
        node.iter = self.visit(node.iter)
        node.body = self._marked(node.body)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:  # noqa: N802
        node.test = self.visit(node.test)
        node.body, node.orelse = self._marked(node.body), self._marked(node.orelse)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:  # noqa: N802
        node.test = self.visit(node.test)
        node.body, node.orelse = (self._mark(arm, self.visit(arm)) for arm in (node.body, node.orelse))
        return node

    def visit_Assign(self, node: ast.Assign) -> Any:  # noqa: N802
        node.value = self.visit(node.value)
        return super().visit_Assign(node)

    def _marked(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in statements:
            found += [ast.copy_location(ast.Expr(self._mark(statement)), statement), self.visit(statement)]
        return found

    def _mark(self, node: ast.AST, *value: ast.expr) -> ast.Call:
        number = len(self.texts)
        self.texts[number] = ast.unparse(node).partition("\n")[0]
        function = ast.Attribute(ast.Name("interpreter_semantic", ast.Load()), _MARK, ast.Load())
        arguments: list[ast.expr] = [ast.Constant(self.kernel), ast.Constant(number), *value]
        return ast.copy_location(ast.Call(function, arguments, []), node)


@contextmanager
def marking(coverage: Coverage, unmarked: Collection[str]) -> Iterator[None]:
    """Let interpreted kernels that run inside note what of them runs.

    Args:
        coverage: what notes it.
        unmarked: modules of functions that kernels of several layers call; each layer runs what it needs of them.
    """
    plain = engine.InterpretedFunction.rewrite

    def rewritten(function: Any) -> Any:
        if function.fn.__module__ in unmarked or function.fn.__module__.startswith("triton."):
            return plain(function)
        if function.fn not in _MARKED:
            _MARKED[function.fn] = _Rewriter(function.fn, **function.kwargs).rewrite_ast()
        return _MARKED[function.fn]

    with (
        mock.patch.object(engine.InterpretedFunction, "rewrite", rewritten),
        mock.patch.object(engine.interpreter_semantic, _MARK, _noting(coverage.reached), create=True),
    ):
        yield


def _noting(reached: set[_Mark]) -> Callable[..., Any]:
    """What a mark calls: it notes the mark, and gives the value back that the mark stands around."""

    def passed(kernel: str, number: int, value: Any = None) -> Any:
        reached.add((kernel, number))
        return value

    return passed
