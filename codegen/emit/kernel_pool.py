"""Kernels of a package: one that several modules need is defined in one of them and imported by the others.

So it is stored, read, compiled and tuned once. A fused layer shares most kernels of its gradient with the layer that it
was made from. Kernels are equal if they differ in names of tensors alone: arguments are passed by position, and only
constants by name.

Input: sources of kernels, module after module. Output: what a module defines, and its imports.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

__all__ = ["KernelPool", "imported_kernels", "imported_modules"]


class KernelPool:
    """Which module defines a kernel."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[str, str]] = {}
        """Module and name of a kernel, by its text without names."""

    def placed(self, module: str, sources: Sequence[str]) -> tuple[list[str], list[str]]:
        """The kernels that a module defines, and its imports of those that an earlier one defines.

        Args:
            module: its name within ``kernels``.
            sources: its kernels, each the text of one function.
        """
        defined, imports = [], []
        for source in sources:
            name, text = _without_names(source)
            owner, known = self._owners.setdefault(text, (module, name))
            if (owner, known) == (module, name):
                defined.append(source)
            elif owner == module:
                defined.append(f"{name} = {known}")
            else:
                imports.append(f"from .{owner} import {known} as {name}")
        return defined, imports


def _without_names(source: str) -> tuple[str, str]:
    """A kernel's name, and its text without docstring, where parameters and variables have numbers for names."""
    (kernel,) = ast.parse(source).body
    assert isinstance(kernel, ast.FunctionDef)
    name, kernel.name, kernel.body = kernel.name, "kernel", kernel.body[1:]
    stored = [node.id for node in ast.walk(kernel) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    plain = [parameter.arg for parameter in kernel.args.args if parameter.annotation is None]
    numbers = {known: f"_{number}" for number, known in enumerate(dict.fromkeys([*plain, *stored]))}
    for node in ast.walk(kernel):
        if isinstance(node, ast.Name):
            node.id = numbers.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = numbers.get(node.arg, node.arg)
    return name, ast.unparse(kernel)


def imported_kernels(source: str) -> list[tuple[str, str]]:
    """Kernels that a module imports: the module that defines each, and its name there."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom) and node.level == 1]
    return [(str(node.module), alias.name) for node in nodes if node.module for alias in node.names]


def imported_modules(source: str) -> list[str]:
    """Modules that define kernels which a module imports."""
    return list(dict.fromkeys(module for module, _ in imported_kernels(source)))
