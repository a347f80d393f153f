"""Faults planted in the text of emitted kernels are found; equivalent rewrites pass."""

from __future__ import annotations

import functools
import importlib
import re
import shutil
from pathlib import Path

import pytest

import svertka.generated
from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.lowering.built import built
from svertka.codegen.verify import together
from svertka.codegen.verify.cases import Case
from svertka.codegen.verify.symbolic import Proof, prove
from svertka.codegen.verify.symbolic.small import small_cases
from svertka.codegen.verify.validate import load_package
from svertka.spec.definition import Variant
from svertka.spec.layers import DEFINITIONS

GENERATED = Path(svertka.generated.__file__).parent
GUARDED = "tl.where(live_column, grown, 0.0)"

FAULTS = (
    ("relu", "input_value <= 0.0", "input_value < 0.0"),
    ("relu", "live = lane < tl.cast(I, INDEX)", "live = lane <= tl.cast(I, INDEX)"),
    ("relu", "live = lane < tl.cast(I, INDEX)", "live = lane < tl.cast(I, INDEX) - 1"),
    ("relu", "* BLOCK + tl.arange(0, BLOCK)", "* (BLOCK // 2) + tl.arange(0, BLOCK)"),
    ("relu", "input_ptr + i * input_stride_i", "input_ptr + i"),
    ("softmax", "(1.0 / output_sum_shifted)", "(1.0 * output_sum_shifted)"),
    ("softmax", "- grad_output_sum_sum_shifted /", "+ grad_output_sum_sum_shifted /"),
    ("softmax", GUARDED, "grown"),
    ("softmax", "output_sum_shifted * faded", "output_sum_shifted"),
    ("softmax", "tl.exp(input_value - output_sum_shift) *", "tl.exp(input_value) *"),
    ("softmax", "b = row % B", "b = row % A"),
    ("softmax", "mask=live_row & live_column", "mask=live_row"),
    ("log_softmax", "tl.log(", "tl.exp("),
    ("convolution_2d", "inside = (place >= 0) &", "inside = (place >= -1) &"),
    ("convolution_2d", "(place < H)", "(place <= H)"),
    ("convolution_2d", "r * weight_stride_r", "r * weight_stride_s"),
    ("convolution_2d", "(dilation_w, padding_w + phase_w, stride_w, S)", "(dilation_w, phase_w, stride_w, S)"),
    ("convolution_2d", "dilation_h * r ", "dilation_w * r "),
    ("convolution_2d", "if bias_ptr is not None:", "if bias_ptr is None:"),
    ("convolution_2d", "bias_value + output_sum", "output_sum"),
    ("convolution_2d", "chunks * R * S", "chunks * R * S - 1"),
    ("linear", "i * weight_stride_i", "i * weight_stride_o"),
    ("batch_normalization", "tl.rsqrt(", "tl.sqrt("),
    ("batch_normalization", "tl.rsqrt(eps + ", "tl.rsqrt("),
    ("batch_normalization", "(1.0 - momentum)", "(1.0 + momentum)"),
    ("cross_channel_normalization", "2.0 * grad_input_sum", "grad_input_sum"),
    ("cross_channel_normalization", "place < C", "place < C - 1"),
    ("cross_channel_normalization", "-beta, ACC", "beta, ACC"),
    ("cross_channel_normalization", "c + j - (J - 1) // 2", "c + j - (J - 1) // 2 + 1"),
    ("max_pooling_2d", "(element > output)", "(element >= output)"),
    ("max_pooling_2d", "take = take & (inside)", "take = take"),
    ("max_pooling_2d", "position_value == S * r + s", "position_value == R * r + s"),
    ("cross_entropy", "(1.0 - label_smoothing)", "(1.0 + label_smoothing)"),
    ("dropout", "1.0 - p, 1.0)", "2.0 - p, 1.0)"),
    ("dropout", "uniform(seed, i) >= p", "uniform(seed, i + 1) >= p"),
    ("average_pooling_2d", "place_2 *", "place *"),
)

HARMLESS = (
    ("softmax", "1.0 / output_sum_shifted)", "output_sum_shifted / (output_sum_shifted * output_sum_shifted))"),
    ("softmax", "tl.exp(input_value - output_sum_shift)", "tl.exp(input_value) / tl.exp(output_sum_shift)"),
    ("convolution_2d", "bias_value + output_sum", "output_sum - (-bias_value)"),
    ("batch_normalization", "tl.rsqrt(", "1.0 / tl.sqrt("),
    ("cross_channel_normalization", "tl.full([], -beta, ACC)", "tl.full([], -1.0 - beta + 1.0, ACC)"),
    ("relu", "tl.where(input_value <= 0.0, 0.0, grad_output_value)", "tl.where(input_value > 0, grad_output_value, 0)"),
)


@functools.cache
def _problem(name: str) -> tuple[KernelModule, tuple[tuple[Variant, Case], ...]]:
    module = built(DEFINITIONS[name])
    cases = [(v, case) for v in module.definition.variants for case in small_cases(module.definition, v)]
    return module, tuple(cases)


def _proofs(folder: Path, name: str, old: str, new: str) -> list[Proof]:
    """Proofs of a package in which one text is replaced, up to the first that fails."""
    copy = folder / "package"
    shutil.copytree(GENERATED, copy, ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / "kernels" / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    wrong, count = re.subn(r"\s+".join(map(re.escape, old.split())), new.strip(), text)  # wherever lines break
    assert count, f"{name} no longer says {old!r}; plant the fault elsewhere"
    path.write_text(wrong, encoding="utf-8")
    module, cases = _problem(name)
    proofs = []
    with load_package(copy) as package:
        kernels = importlib.import_module(f"{package}.kernels.{name}")
        for variant, case in cases:
            proofs.append(prove(module, variant, kernels, case))
            if not proofs[-1].holds:
                break
    return proofs


@pytest.mark.thinned(4)
@pytest.mark.parametrize(("name", "old", "new"), FAULTS)
def test_a_fault_is_found(tmp_path: Path, name: str, old: str, new: str) -> None:
    failures = _proofs(tmp_path, name, old, new)[-1].failures
    assert failures
    assert not any("does not run" in failure for failure in failures)


def _told(proofs: list[Proof]) -> list[tuple[object, ...]]:
    """What proofs say, without the order of summands, which is that in which the graph met them."""
    return [
        (
            proof.elements,
            proof.certain,
            proof.nodes,
            [text.partition("the kernel computes")[0] for text in proof.failures],
        )
        for proof in proofs
    ]


@pytest.mark.thinned(4)
@pytest.mark.parametrize(("name", "old", "new"), FAULTS[::3])
def test_a_fault_is_told_as_where_programs_run_one_after_another(tmp_path: Path, name: str, old: str, new: str) -> None:
    with together.one_after_another():
        alone = _proofs(tmp_path / "alone", name, old, new)
    assert _told(_proofs(tmp_path / "together", name, old, new)) == _told(alone)


@pytest.mark.thinned(4)
@pytest.mark.parametrize(("name", "old", "new"), HARMLESS)
def test_a_harmless_rewrite_passes(tmp_path: Path, name: str, old: str, new: str) -> None:
    assert [proof.failures for proof in _proofs(tmp_path, name, old, new) if not proof.holds] == []


def test_a_failure_names_the_element_and_both_expressions(tmp_path: Path) -> None:
    failure = _proofs(tmp_path, "relu", "input_value, 0.0", "input_value, 1.0")[-1].failures[0]
    assert "output[" in failure
    assert "the kernel computes 1, the formula" in failure
