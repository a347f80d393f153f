"""Kernels that several modules need are defined once, whoever launches them."""

from __future__ import annotations

import ast
import importlib
from dataclasses import replace

import pytest

from svertka.codegen.driver.certificate import certificate_path, outdated
from svertka.codegen.driver.generate import PACKAGE, generate_package
from svertka.codegen.emit.kernel_pool import KernelPool, imported_kernels, imported_modules
from svertka.codegen.verify.levels import LEVELS
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS

KERNEL = '''@triton.jit
def {name}({x}_ptr, output_ptr, I, TILE: tl.constexpr, n: tl.constexpr):
    """Compute {x}."""
    lane = tl.arange(0, TILE)
    {x}_value = tl.load({x}_ptr + lane)
    tl.store(output_ptr + lane, {x}_value {sign} n)
'''


def kernel(name: str, x: str = "input", sign: str = "*") -> str:
    return KERNEL.format(name=name, x=x, sign=sign)


def test_kernels_that_differ_in_names_alone_are_one() -> None:
    pool = KernelPool()
    first, fourth = kernel("first_output"), kernel("first_other", sign="+")
    assert pool.placed("first", [first, kernel("first_again", "seed"), fourth]) == (
        [first, "first_again = first_output", fourth],
        [],
    )
    second = kernel("second_output", "grad_output")
    third = kernel("second_other", sign="-")
    assert pool.placed("second", [second, third]) == ([third], ["from .first import first_output as second_output"])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n: tl.constexpr", "m: tl.constexpr"),
        ("* n", "* TILE"),
        ("output_ptr + lane", "output_ptr + input_value"),
        ("I, TILE", "I, J, TILE"),
        ("0, TILE", "1, TILE"),
    ],
)
def test_kernels_that_differ_in_more_are_two(old: str, new: str) -> None:
    """A constant is passed by its name, so that its name counts; so does which parameter is used where."""
    pool = KernelPool()
    pool.placed("first", [kernel("first_output")])
    another = kernel("second_output").replace(old, new)
    if "m:" in new:
        another = another.replace("* n", "* m")
    assert pool.placed("second", [another]) == ([another], [])


def test_no_two_kernels_of_the_library_are_equal() -> None:
    """A pool that sees all kernels as they are on disk finds nothing to share."""
    pool, count = KernelPool(), 0
    for path in sorted((PACKAGE / "kernels").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        nodes = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.decorator_list]
        sources = [str(ast.get_source_segment(text, node)) for node in nodes if ast.get_docstring(node)]
        if path.stem in DEFINITIONS:
            assert pool.placed(path.stem, sources) == (sources, [])
            count += len(sources)
    assert count > 100


TRANSPOSED = ("convolution", "transposed_convolution")


def test_a_shared_kernel_is_one_object_and_is_compiled_once() -> None:
    own = importlib.import_module("svertka.generated.kernels.convolution_2d")
    fused = importlib.import_module("svertka.generated.kernels.convolution_2d_relu")
    assert fused.convolution_2d_relu_grad_input is own.convolution_2d_grad_input
    assert fused.convolution_2d_relu_grad_weight_boxes is own.convolution_2d_grad_weight_boxes
    assert fused.convolution_2d_relu_output is not own.convolution_2d_output
    for rank in (1, 2):
        own, other = (importlib.import_module(f"svertka.generated.kernels.{n}_{rank}d") for n in TRANSPOSED)
        for end in ("grad_weight", "grad_weight_boxes"):
            assert getattr(other, f"{TRANSPOSED[1]}_{rank}d_{end}") is getattr(own, f"{TRANSPOSED[0]}_{rank}d_{end}")


@pytest.mark.slow
def test_a_certificate_is_of_imported_kernels_too() -> None:
    """A change of a kernel makes every certificate out of date whose layer launches it, and no other."""
    names = ("convolution_1d", "convolution_2d", "convolution_2d_relu", "convolution_3d")
    every = with_gradients([DEFINITIONS[name] for name in names])
    package = generate_package(list(DEFINITIONS.values()), [d.name for d in every], on_demand=True)
    committed = {certificate_path(d): (PACKAGE / certificate_path(d)).read_text(encoding="utf-8") for d in every}
    assert outdated(package, committed) == {}
    path = "kernels/convolution_2d.py"
    head = "def convolution_2d_grad_input("
    changed = package.sources[path].replace(head, "def convolution_2d_grad_input(  # another\n        ")
    assert changed != package.sources[path]
    due = outdated(replace(package, sources={**package.sources, path: changed}), committed)
    assert due == dict.fromkeys(["convolution_2d", "convolution_2d_relu"], tuple(LEVELS))


def test_a_layer_is_generated_with_the_modules_whose_kernels_it_imports() -> None:
    """These have the bytes that they have when they are asked for by name."""
    package = generate_package(list(DEFINITIONS.values()), ["convolution_2d_relu"], on_demand=True)
    assert package.modules.keys() == {"convolution_2d_relu"}
    for path in package.written:
        assert package.sources[path] == (PACKAGE / path).read_text(encoding="utf-8"), path
    found = imported_modules(package.sources["kernels/convolution_2d_relu.py"])
    assert found == ["convolution_1d", "convolution_2d"]
    assert {f"kernels/{name}.py" for name in found} < package.sources.keys()
    assert all(module in found for module, _ in imported_kernels(package.sources["kernels/convolution_2d_relu.py"]))


def test_modules_that_are_imported_bring_those_that_they_import() -> None:
    """A kernel is defined once, so that an imported module may import others, which its importer does not name."""
    package = generate_package(list(DEFINITIONS.values()), ["transposed_convolution_2d"], on_demand=True)
    paths = {f"kernels/{name}.py" for name in DEFINITIONS}
    there = {path: text for path, text in package.sources.items() if path in paths}
    needed = {f"kernels/{name}.py" for text in there.values() for name in imported_modules(text)}
    named = {f"kernels/{name}.py" for name in imported_modules(there["kernels/transposed_convolution_2d.py"])}
    assert named < needed < there.keys()
