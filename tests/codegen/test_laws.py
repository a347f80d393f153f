"""The laws of the project, as numbered in DESIGN.md. Laws 3 and 4 have their own files."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import svertka.codegen
import svertka.generated
import svertka.spec.layers
from svertka.codegen.frontend import supported
from svertka.codegen.ir.kernel import Load, walk_node
from svertka.codegen.lowering.build import Program
from svertka.spec import adjoint, gradient_name, normal_form
from svertka.spec.layers import DEFINITIONS

from .harness import definition_of, module_of, problem_names

CODEGEN = Path(svertka.codegen.__file__).parent
LAYERS = sorted({name.rsplit("-", 1)[0] for name in problem_names()})


LECTURE = "slides.py"
"""The table of the lecture's worked numbers: it shows layers and makes none."""
FUNCTIONS = {function.__name__ for function in supported.FUNCTIONS}
"""The notation's functions: a layer may be no more than one of them."""
ADJECTIVES = {"symbolic": {"linear"}, "command": {"normalize"}}
"""Words with another meaning, by folder: a linear structure or polynomial, Unicode's normal forms."""


def layer_words() -> set[str]:
    """Every name that a layer may have."""
    words = set(DEFINITIONS) | {d.function for d in DEFINITIONS.values()}
    words |= {face.name for d in DEFINITIONS.values() for face in d.modules}
    return words | {variant.layer.name for d in DEFINITIONS.values() for variant in d.variants}


def words_of_python(source: str, strings: bool = True) -> Iterator[str]:
    """Identifiers and the words of strings, without comments and docstrings."""
    documented = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented.add(node.value.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.string
        elif strings and token.type == tokenize.STRING and token.start[0] not in documented:
            yield from re.findall(r"\w+", token.string)


def words_of_template(source: str) -> Iterator[str]:
    """All words except those of comments and docstrings."""
    bare = re.sub(r"{#.*?#}", "", source, flags=re.DOTALL)
    bare = re.sub(r'""".*?"""', "", bare, flags=re.DOTALL)
    yield from re.findall(r"\w+", re.sub(r"(?m)(?<!\S)#.*$", "", bare))


def test_law_1_no_layer_has_a_name_in_codegen() -> None:
    """Only spec/layers and reference have code for single layers."""
    names = layer_words() - FUNCTIONS
    assert {"relu", "Conv2d", "cross_entropy_labels_mean", "max_pool3d"} <= names
    files = [p for p in sorted(CODEGEN.rglob("*")) if p.suffix in (".py", ".jinja") and p.name != LECTURE]
    assert len(files) > 20
    found = []
    for path in files:
        read = words_of_python if path.suffix == ".py" else words_of_template
        words = set(read(path.read_text(encoding="utf-8"))) - ADJECTIVES.get(path.parent.name, set())
        found += [f"{path.relative_to(CODEGEN)}: {word}" for word in sorted(words & names)]
    assert not found


def test_law_1_would_see_a_name() -> None:
    assert "relu" in words_of_python("def f(layer):\n    return layer.name == 'relu'\n")
    assert "relu" not in words_of_python('def f():\n    """As relu."""  # relu\n')
    assert "softmax" in words_of_template('{% if kernel.name == "softmax" %}x{% endif %}')


def test_law_2_no_gradient_in_a_formula() -> None:
    """Layers are written forward only."""
    folder = Path(svertka.spec.layers.__file__).parent
    for path in sorted(folder.glob("*.py")):
        words = set(words_of_python(path.read_text(encoding="utf-8"), strings=False))
        assert not [word for word in words if re.search(r"backward|adjoint|grad", word)], path.name


@pytest.mark.parametrize("layer", LAYERS)
def test_law_2_backward_kernels_compute_the_adjoint(layer: str) -> None:
    """The stored results of a backward are equations of the adjoint: gradients, or what these need."""
    definition, variant = definition_of(layer)
    forward, saving, backward = module_of(definition.name).programs[definition.variants.index(variant)]
    derived = normal_form(adjoint(variant.layer, wrt=_differentiated(backward.results), outputs=_given(backward)))
    known = {equation.target.name for equation in derived.equations}
    stored = [name for launch in backward.launches for name in launch.kernel.stored]
    gradients = {gradient_name(t.name) for t in variant.layer.inputs}
    assert {name for name in backward.results if name} <= set(stored)
    for name in stored:
        stem = name.removesuffix("_part").removesuffix("_shifted").removesuffix("_shift")
        assert name in gradients or stem in known, name
    kept = module_of(definition.name).saved[layer]
    for program, more in ((forward, ()), (saving, kept)):
        tensors = {t.name for launch in program.launches for t in launch.kernel.tensors}
        assert not [name for name in tensors if name.startswith("grad_") and name not in more]


def _differentiated(results: tuple[str | None, ...]) -> list[str]:
    return [name.removeprefix("grad_") for name in results if name]


def _given(backward: Program) -> list[str]:
    known = set(backward.layer.outputs)
    return [name for t in backward.arguments if (name := t.name.removeprefix("grad_")) in known and name != t.name]


GENERATE = """
import hashlib, sys
from svertka.codegen.driver.generate import generate_package
from svertka.spec.layers import DEFINITIONS
for path, text in sorted(generate_package(list(DEFINITIONS.values()), on_demand=True).written.items()):
    print(path, hashlib.sha256(text.encode()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_law_6_same_input_same_bytes() -> None:
    """For any hash seed, generation gives the committed files, byte for byte; they were made with another one."""
    environment = {**os.environ, "PYTHONHASHSEED": "random"}
    command = [sys.executable, "-c", GENERATE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    digests = dict(line.split() for line in done.stdout.splitlines())
    folder = Path(svertka.generated.__file__).parent
    committed = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.py")
    }
    assert digests == committed


def test_law_7_no_atomics() -> None:
    """Gather, never scatter; test_kernels checks that two runs give the same bits."""
    folder = Path(svertka.generated.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in folder.rglob("*.py")]
    assert any("tl.load" in source for source in sources)
    assert not any("atomic" in source for source in sources)


def test_law_7_no_output_is_read() -> None:
    """If a kernel read what it stores, its result would depend on the order of its programs."""
    for name in DEFINITIONS:
        for kernel in module_of(name).kernels:
            stored = set(kernel.stored)
            lets = [let for section in kernel.sections for let in section.lets]
            lets += [let for operand in kernel.operands for let in operand.lets]
            loads = {n.tensor for let in lets for n in walk_node(let.value) if isinstance(n, Load)}
            assert not loads & stored, kernel.name
