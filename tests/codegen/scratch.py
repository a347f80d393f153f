"""Kernels of a formula outside the committed package, generated and imported from a temporary folder."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from sympy import Expr

from svertka.codegen.emit.formatting import formatted
from svertka.codegen.emit.launcher import module_source
from svertka.codegen.emit.render import environment
from svertka.codegen.emit.tables import schedule_sources
from svertka.codegen.lowering.build import KernelModule, build
from svertka.codegen.torch_api.sources import kernels_package_sources
from svertka.codegen.verify.cases import cases
from svertka.codegen.verify.validate import load_package
from svertka.spec.definition import Definition, TensorArgument, Variant
from svertka.spec.layer import Layer

from .harness import misses, of_case, outcome

__all__ = ["Scratch", "defined", "failures", "scratch"]


@dataclass(frozen=True)
class Scratch:
    """A definition with its kernels, and their package's name and source."""

    module: KernelModule
    kernels: ModuleType
    package: str
    source: str


def defined(layer: Layer, extents: Mapping[str, Expr] | None = None) -> Definition:
    """A definition for a formula, with only its tensors as arguments."""
    arguments = tuple(TensorArgument(name=t.name, differentiable=t.kind == "real") for t in layer.inputs)
    return Definition(
        name=layer.name,
        title="A formula of a test.",
        source="a test",
        variants=(Variant(layer),),
        function=layer.name,
        arguments=arguments,
        result=layer.outputs,
        extents=extents or {},
    )


def sources_of(module: KernelModule) -> dict[str, str]:
    """A package with the kernels of one definition and everything they need."""
    templates = environment()
    return formatted(
        {
            "__init__.py": "",
            "launching.py": templates.get_template("launching.py.jinja").render(),
            "memory.py": templates.get_template("memory.py.jinja").render(),
            "plans.py": templates.get_template("plans.py.jinja").render(),
            **schedule_sources(),
            **kernels_package_sources(),
            f"kernels/{module.definition.name}.py": module_source(module),
        }
    )


@contextmanager
def scratch(definition: Definition) -> Iterator[Scratch]:
    """Build, print and import a definition's kernels."""
    module = build(definition)
    sources = sources_of(module)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        with load_package(Path(folder)) as package:
            path = f"kernels/{definition.name}.py"
            kernels = importlib.import_module(f"{package}.kernels.{definition.name}")
            yield Scratch(module, kernels, package, sources[path])


def failures(made: Scratch, device: str, kind: str = "float32") -> list[str]:
    """Elements that differ from the formula in any of the definition's cases, forward and backward."""
    found = []
    dtype = {"float32": torch.float32, "float64": torch.float64, "integer": torch.float32}[kind]
    for variant in made.module.definition.variants:
        for case in cases(made.module.definition, variant):
            given = of_case(made.module, variant, case, kind)
            lines = misses(outcome(given, made.kernels, dtype, device), given.expected(), dtype)
            found += [f"{case.name}: {line}" for line in lines]
    return found
