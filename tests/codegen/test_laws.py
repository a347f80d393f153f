"""The laws of the house: nothing per layer in codegen, formulas rule, nothing is written unproven, same bytes."""

from __future__ import annotations

import dataclasses
import importlib
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from sympy import sqrt

from svertka.codegen import render
from svertka.codegen.build import build
from svertka.codegen.generate import PACKAGE, Package, generate_package, kernels_path
from svertka.codegen.triton_printer import TritonPrinter
from svertka.codegen.validate import load_package, validate_package
from svertka.spec.definition import Definition, Variant
from svertka.spec.layer import Equation, Layer
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Read
from svertka.spec.rewrite import replace

ROOT = PACKAGE.parent


def code_words(path: Path) -> set[str]:
    """Words of a file's code: names and strings, without comments and docstrings; all words of a template."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jinja":
        return set(re.findall(r"\w+", re.sub(r'""".*?"""|#.*', "", text, flags=re.S if '"""' in text else 0)))
    words: set[str] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        docstring = token.type == tokenize.STRING and token.string.lstrip("rf").startswith('"""')
        if token.type in (tokenize.NAME, tokenize.STRING) and not docstring:
            words |= set(re.findall(r"\w+", token.string))
    return words


def test_nothing_in_codegen_names_a_layer() -> None:
    names = set(DEFINITIONS) | {d.function for d in DEFINITIONS.values()}
    names |= {face.name for d in DEFINITIONS.values() for face in d.modules}
    names |= {v.layer.name for d in DEFINITIONS.values() for v in d.variants}
    files = [p for p in (ROOT / "codegen").rglob("*") if p.suffix in (".py", ".jinja")]
    found = {str(path.name): sorted(names & code_words(path)) for path in files if path.name != "slides.py"}
    # torch.Tensor.normalize and the like are no layers here; `linear_position` and such are other words.
    assert {name: words for name, words in found.items() if words} == {}


def test_every_backward_comes_from_the_adjoint() -> None:
    for definition in DEFINITIONS.values():
        for variant in definition.variants:
            assert not any(e.target.name.startswith("grad") for e in variant.layer.equations)
        for _, _, backward in build(definition).programs:
            assert backward.results
            assert all(name is not None and name.startswith("grad_") for name in backward.results)


# Law 3: an altered formula alters forward and backward, to what an equally altered reference computes.

Alteration = Callable[[Layer], Layer]


def altered(name: str, variant: int, alteration: Alteration) -> Definition:
    definition = DEFINITIONS[name]
    variants = list(definition.variants)
    chosen = variants[variant]
    variants[variant] = Variant(alteration(chosen.layer), chosen.when, chosen.rules)
    return dataclasses.replace(definition, variants=tuple(variants))


def each_equation(layer: Layer, change: Callable[[Equation], Equation]) -> Layer:
    return Layer(layer.name, layer.inputs, tuple(map(change, layer.equations)), layer.outputs)


def flipped(layer: Layer) -> Layer:
    """Convolution as the word means elsewhere: the kernel turned round."""

    def change(equation: Equation) -> Equation:
        turned = {}
        for node in _reads(equation, "weight"):
            g, k, c, r, s = node.indices
            weight = layer.tensors["weight"]
            turned[node] = weight[g, k, c, r.extent - 1 - r, s.extent - 1 - s]
        return Equation(equation.target, replace(equation.value, turned))

    return each_equation(layer, change)


def _reads(equation: Equation, tensor: str) -> list[Read]:
    from svertka.spec.layer import reads

    return [read for read in reads(equation.value) if read.tensor == tensor]


def misprinted(layer: Layer) -> Layer:
    """Batch normalization as slide 20 has it: no square root."""

    def change(equation: Equation) -> Equation:
        if equation.target.name != "output":
            return equation
        (spread,) = _reads(equation, "variance")
        eps = next(symbol for symbol in layer.parameters if symbol.name == "eps")
        root = {1 / sqrt(spread + eps): 1 / (spread + eps)}
        return Equation(equation.target, replace(equation.value, root))

    return each_equation(layer, change)


def squared_denominator(layer: Layer) -> Layer:
    """Cross-channel normalization with twice the exponent."""
    beta = next(symbol for symbol in layer.parameters if symbol.name == "beta")
    return each_equation(layer, lambda e: Equation(e.target, replace(e.value, {beta: 2 * beta, -beta: -2 * beta})))


def plain_convolution(x: np.ndarray, w: np.ndarray, turned: bool) -> np.ndarray:
    w = w[:, :, ::-1, ::-1] if turned else w
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.einsum("ncpqrs,kcrs->nkpq", windows, w)


def run_altered(definition: Definition, package: Package, folder: Path) -> Mapping[str, object]:
    """Write the kernels of an altered definition to a folder of their own and import them."""
    for name, text in package.sources.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    with load_package(folder) as package_name:
        return vars(importlib.import_module(f"{package_name}.kernels.{definition.name}"))


@pytest.mark.parametrize(
    ("name", "variant", "alteration"),
    [
        ("convolution_2d", 0, flipped),
        ("batch_normalization", 1, misprinted),
        ("cross_channel_normalization", 0, squared_denominator),
    ],
)
def test_a_changed_formula_changes_forward_backward_and_passes(name: str, variant: int, alteration: Alteration) -> None:
    definition = altered(name, variant, alteration)
    assert definition.variants[variant].layer.equations != DEFINITIONS[name].variants[variant].layer.equations
    package = generate_package([definition])
    text = package.sources[kernels_path(definition)]
    original = (PACKAGE / "kernels" / f"{name}.py").read_text(encoding="utf-8")
    layer = definition.variants[variant].layer
    for kernel in build(definition).kernels:
        if kernel.name.startswith(layer.name) and "grad_bias" not in kernel.stored and "sum" not in kernel.name:
            assert body_of(text, kernel.name) != body_of(original, kernel.name), kernel.name
    (verdict,) = validate_package(package.sources, [definition])
    assert verdict.failures == ()
    assert verdict.elements > 0


def body_of(text: str, kernel: str) -> str:
    found = re.search(rf"def {kernel}\(.*?(?=\n\n\n)", text, re.S)
    return found.group() if found else ""


def test_the_flipped_kernel_equals_an_equally_altered_reference(tmp_path: Path) -> None:
    definition = altered("convolution_2d", 0, flipped)
    kernels = run_altered(definition, generate_package([definition]), tmp_path)
    x = torch.arange(2 * 3 * 6 * 5, dtype=torch.float32).reshape(2, 3, 6, 5) % 7 - 3
    w = torch.arange(4 * 3 * 3 * 2, dtype=torch.float32).reshape(4, 3, 3, 2) % 5 - 2
    geometry = dict.fromkeys(("stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    geometry |= dict.fromkeys(("padding_h", "padding_w"), 0)
    (got,) = kernels["convolution_2d_forward"](x, w, None, G=1, K=4, P=4, Q=4, **geometry)  # type: ignore[operator]
    assert np.array_equal(got.numpy(), plain_convolution(x.numpy(), w.numpy(), turned=True))
    assert not np.array_equal(got.numpy(), plain_convolution(x.numpy(), w.numpy(), turned=False))


# Law 4: what does not validate is not written.


def test_a_fault_in_the_printer_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("svertka.codegen.triton_printer", fromlist=["_BINARY"])._BINARY, "add", (5, "-"))
    definition = DEFINITIONS["linear"]
    package = generate_package([definition])
    (verdict,) = validate_package(package.sources, [definition])
    assert verdict.failures
    assert any("output[" in line and "the formula" in line for line in verdict.failures)


def test_a_dropped_guard_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TritonPrinter, "guard", lambda self, guards, *more: " & ".join(more))
    definition = DEFINITIONS["average_pooling_1d"]
    (verdict,) = validate_package(generate_package([definition]).sources, [definition])
    assert verdict.failures


def test_generation_with_a_fault_leaves_the_files_alone(tmp_path: Path) -> None:
    from svertka.codegen.command import main

    folder = tmp_path / "package"
    command = [sys.executable, "-c", FAULTY, str(folder)]
    sound = subprocess.run([*command, "sound"], capture_output=True, text=True, check=False)
    assert sound.returncode == 0, sound.stderr
    before = {path: path.read_bytes() for path in folder.rglob("*.py")}
    faulty = subprocess.run([*command, "faulty"], capture_output=True, text=True, check=False)
    assert faulty.returncode == 1
    assert "relu-0" in faulty.stderr
    assert "grad_input[" in faulty.stderr or "output[" in faulty.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.py")} == before
    assert callable(main)


FAULTY = """
import os, sys
os.environ["TRITON_INTERPRET"] = "1"
from svertka.codegen import triton_printer
if sys.argv[2] == "faulty":
    triton_printer._BINARY["<="] = (1, ">=")
    triton_printer._NAN["maximum"] = "tl.minimum"
sys.argv = ["svertka", "generate", "relu", "--into", sys.argv[1]]
from svertka.codegen.command import main
main()
"""


# Law 6: same input, same bytes.


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_generation_does_not_depend_on_the_hash_seed(seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "COLUMNS": "200"}
    command = [sys.executable, "-m", "svertka.codegen", "generate", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


# Law 7: gather, never scatter.


def test_no_kernel_uses_atomics() -> None:
    for path in (PACKAGE / "kernels").glob("*.py"):
        assert "atomic" not in path.read_text(encoding="utf-8")


def test_the_cached_environment_refuses_undefined_names() -> None:
    import jinja2

    with pytest.raises(jinja2.UndefinedError):
        render.environment().from_string("{{ undefined_name }}").render()
