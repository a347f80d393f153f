"""Law 4: no kernel is written unless it was validated.

Faults are planted in templates, in the printer and in the calculus. Each must be refused; the message names the case,
the element, the kernel's value and the formula's value; and the command must not change the files of the folder.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
from sympy import Expr

from svertka.codegen.driver import generate
from svertka.codegen.driver.certificate import certificate_path, certificates, outdated
from svertka.codegen.driver.generate import generate_package
from svertka.codegen.emit import triton_printer
from svertka.codegen.emit.render import environment
from svertka.codegen.verify.levels import LEVELS
from svertka.codegen.verify.validate import validate_package
from svertka.spec.adjoint import partial_derivative
from svertka.spec.gather import Gather, gather
from svertka.spec.gradient import with_gradients
from svertka.spec.layers import DEFINITIONS
from svertka.spec.notation import Divides, Read


@dataclass(frozen=True)
class Fault:
    """Text of a template (or, without one, of the printer's tables) that is replaced, and a layer that must fail."""

    template: str
    old: str
    new: str
    layer: str


FAULTS = (
    Fault("macros.jinja", "{{ a.name }} += ", "{{ a.name }} -= ", "average_pooling_1d"),
    Fault("macros.jinja", "(element > {{ a.best }})", "(element >= {{ a.best }})", "max_pooling_1d"),
    Fault("lanes.jinja", "live = lane < {{", "live = lane + 1 < {{", "relu"),
    Fault("contraction.jinja", "tl.range(share * split,", "tl.range(share * split + 1,", "linear"),
    Fault("boxes.jinja", "tl.range(share * split,", "tl.range(share * split + 1,", "linear"),
    Fault("primitives.py.jinja", "* inverse % period", "* (inverse + 1) % period", "max_pooling_2d"),
    Fault("contraction.jinja", "live_n = column < total_n", "live_n = column + 1 < total_n", "linear"),
    Fault("row.jinja", "live_row = row < {{", "live_row = row + 1 < {{", "log_softmax"),
    Fault("row.jinja", "tl.sum({{ a.name }}, 1, keep_dims=True)", "tl.max({{ a.name }}, 1, keep_dims=True)", "softmax"),
    Fault("primitives.py.jinja", "tl.exp2(y * tl.log2(x))", "tl.exp2(y + tl.log2(x))", "local_response_normalization"),
    Fault("", "add", "-", "linear"),
    Fault("", "multiply", "+", "cross_channel_normalization"),
    Fault("", "maximum", "tl.minimum", "relu"),
    Fault("", "guard", "", "convolution_1d"),
)


@contextmanager
def planted(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Generate with the fault."""
    with monkeypatch.context() as patch:
        if fault.template:
            templates = environment()
            loader = templates.loader
            assert loader is not None
            text = loader.get_source(templates, fault.template)[0]
            assert fault.old in text, "the fault's place is gone; plant it elsewhere"
            faulty = jinja2.DictLoader({fault.template: text.replace(fault.old, fault.new)})
            patch.setattr(templates, "loader", jinja2.ChoiceLoader([faulty, loader]))
            patch.setattr(templates, "cache", {})
        elif fault.old in triton_printer._NAN:
            patch.setitem(triton_printer._NAN, fault.old, fault.new)
        elif fault.old == "guard":  # an operand in the padding is no longer 0
            mask = triton_printer.TritonPrinter._mask
            patch.setattr(
                triton_printer.TritonPrinter, "_mask", lambda *given: mask(*given).replace("other=0", "other=1")
            )
        else:
            patch.setitem(triton_printer._BINARY, fault.old, (triton_printer._BINARY[fault.old][0], fault.new))
        yield


@pytest.mark.thinned(5)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.template or 'printer'}: {fault.new}")
def test_a_fault_is_refused(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = DEFINITIONS[fault.layer]
    with planted(fault, monkeypatch):
        sources = generate_package([definition]).sources
    assert sources != generate_package([definition]).sources
    (verdict,) = validate_package(sources, [definition])
    assert verdict.failures
    source = [text for text in verdict.failures if text.startswith("source: ")]
    assert source, "running the kernel on symbols misses it"
    assert re.search(r"-\d(-aligned)?: .*: .*\w+", source[0])
    assert any(
        re.search(r"^rounding: .*-\d(-aligned)? \w+: \w+\S*.*\[[\d, ]*\]: the kernel gives .*, the formula ", text)
        for text in verdict.failures
    )


def test_without_a_fault_nothing_is_refused() -> None:
    chosen = [DEFINITIONS[name] for name in ("linear", "relu")]
    verdicts = validate_package(generate_package(chosen).sources, chosen)
    assert [verdict.failures for verdict in verdicts] == [(), ()]
    for verdict in verdicts:
        assert [outcome.level for outcome in verdict.outcomes] == list(LEVELS)
        assert all(outcome.holds for outcome in verdict.outcomes)


def half_of(value: Expr, read: Read) -> Expr:
    return partial_derivative(value, read) / 2


def without_divisibility(*given: Any, **more: Any) -> Gather:
    solved = gather(*given, **more)
    return replace(solved, guards=tuple(guard for guard in solved.guards if not isinstance(guard, Divides)))


@pytest.mark.parametrize(
    ("name", "fault", "layer"),
    [("partial_derivative", half_of, "relu"), ("gather", without_divisibility, "average_pooling_1d")],
)
@pytest.mark.usefixtures("own_cache")
def test_a_fault_of_the_calculus_is_refused(name: str, fault: Any, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel computes exactly the wrong adjoint; differentiation of the formula disagrees."""
    definition = DEFINITIONS[layer]
    module = sys.modules["svertka.spec.adjoint"]  # the module is hidden by its function of the same name
    try:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fault)
            module._adjoint.cache_clear()  # derivations are cached
            package = generate_package([definition])
            (verdict,) = validate_package(package.sources, [definition])
    finally:
        module._adjoint.cache_clear()
    adjoint, source = (verdict.of(level)[0] for level in ("adjoint", "source"))
    assert source.holds or name == "gather"  # a kernel's floor division is not defined below 0
    assert re.search(r"-\d(-aligned)?: input\[[\d, ]*\]: the adjoint gives .*, the derivative ", adjoint.failures[0])
    with pytest.raises(ValueError, match="it gets no certificate"):
        certificates(package, {}, [verdict])


COMMAND = """
import os, sys
os.environ["TRITON_INTERPRET"] = "1"
from svertka.codegen.emit import triton_printer
if sys.argv[2] == "faulty":
    triton_printer._NAN["maximum"] = "tl.minimum"
sys.argv = ["svertka", "generate", "relu", "--into", sys.argv[1]]
from svertka.codegen.command import main
main()
"""


@pytest.mark.slow
def test_generation_with_a_fault_leaves_the_files_alone(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    command = [sys.executable, "-c", COMMAND, str(folder)]
    sound = subprocess.run([*command, "sound"], capture_output=True, text=True, check=False)
    assert sound.returncode == 0, sound.stderr
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    faulty = subprocess.run([*command, "faulty"], capture_output=True, text=True, check=False)
    assert faulty.returncode == 1
    assert "relu-0" in faulty.stderr
    assert "output[" in faulty.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("path", generate.SHARED)
def test_what_all_kernels_share_validates_them_all(path: str) -> None:
    """If a shared function changes, a kernel in an unchanged file computes something else."""
    chosen = [DEFINITIONS["relu"], DEFINITIONS["linear"]]
    package = generate_package(chosen, on_demand=True)
    every = with_gradients(chosen)
    committed = {certificate_path(d): (generate.PACKAGE / certificate_path(d)).read_text() for d in every}
    assert outdated(package, committed) == {}
    names = dict.fromkeys(["relu", "linear", "relu_gradient", "linear_gradient"], tuple(LEVELS))
    assert outdated(package, {}) == names
    changed = {**package.sources, path: package.sources[path] + "# another\n"}
    assert outdated(replace(package, sources=changed), committed) == names
    kernels = generate.kernels_path(DEFINITIONS["relu"])
    changed = {**package.sources, kernels: package.sources[kernels] + "# another\n"}
    assert outdated(replace(package, sources=changed), committed) == {"relu": tuple(LEVELS)}


@pytest.mark.parametrize("path", ["views.py", "runtime.py", "arguments.py", "plans.py"])
def test_another_way_in_is_judged_again_and_nothing_else(path: str) -> None:
    """Code between a call and its kernels is in every certificate of a function; the kernels are unchanged."""
    chosen = [DEFINITIONS["relu"], DEFINITIONS["linear"]]
    package = generate_package(chosen, on_demand=True)
    committed = {
        certificate_path(d): (generate.PACKAGE / certificate_path(d)).read_text() for d in with_gradients(chosen)
    }
    changed = {**package.sources, path: package.sources[path] + "# another\n"}
    due = dict.fromkeys(["relu", "linear"], ("interface",))
    assert outdated(replace(package, sources=changed), committed) == due
    old = {name: text.replace('"interface"', '"another"') for name, text in committed.items()}
    assert set(outdated(package, old).values()) == {tuple(LEVELS)}
    without = {name: json.dumps(_without_interface(json.loads(text))) for name, text in committed.items()}
    assert set(outdated(package, without).values()) == {("interface",)}


def _without_interface(content: dict[str, Any]) -> dict[str, Any]:
    content["digests"].pop("interface")
    for levels in content["formulas"].values():
        levels.pop("interface")
    return content
