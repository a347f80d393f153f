"""How many lines of a file a formula needs: its own, and those of every axis, tensor and helper that it names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["lines_of"]


def lines_of(file: Path) -> dict[str, int]:
    """Lines by the name that a statement of the file binds, without blank lines, comments, docstrings and imports."""
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    needed: dict[str, frozenset[int]] = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Expr | ast.Import | ast.ImportFrom):
            continue
        own = frozenset(_written(statement, lines))
        every = own.union(*(needed[name] for name in sorted(_names(statement, ast.Load)) if name in needed))
        for name in _bound(statement):
            needed[name] = every
    return {name: len(numbers) for name, numbers in needed.items()}


def _written(statement: ast.stmt, lines: list[str]) -> Iterator[int]:
    """Numbers of a statement's lines that are neither blank nor part of a docstring."""
    documented = (ast.FunctionDef, ast.ClassDef)
    bodies = (node.body for node in ast.walk(statement) if isinstance(node, documented) and ast.get_docstring(node))
    documents = {n for body in bodies for n in range(body[0].lineno, (body[0].end_lineno or 0) + 1)}
    for number in range(statement.lineno, (statement.end_lineno or 0) + 1):
        if lines[number - 1].strip() and number not in documents:
            yield number


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    return _names(statement, ast.Store)


def _names(statement: ast.stmt, context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
