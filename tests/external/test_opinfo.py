"""PyTorch's own samples of the functions and modules here: each gives PyTorch's results, or both refuse it."""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from svertka import generated
from svertka.generated import functional, modules, runtime

from ..generated.agreement import equal, nearest
from .samples import FUNCTIONS, MODULES, ModuleErrorEnum, Sample, called_with, compare, samples_of, samples_of_module

REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
CHOSEN = 3
"""So many samples of a function run with the kernels too, because the interpreter is slow."""

SMALL = 400
"""Elements of such a sample, of all its tensors."""

TAKEN = {"eps must be positive": "slide 20 has no eps: with 0 batch norm is the lecture's own formula"}
"""Calls that PyTorch refuses and svertka accepts, by words of PyTorch's message, and why."""

LARGE = 20_000
"""Elements of results of which PyTorch's own Jacobian, by which results are judged, takes gigabytes."""

EVENLY = 100
"""Approximate number of samples, evenly chosen (pooling has thousands), for types other than float64 and float32."""

REFUSED = {
    torch.complex64: "the lecture's formulas are over real numbers",
    torch.complex128: "the lecture's formulas are over real numbers",
    torch.complex32: "the lecture's formulas are over real numbers",
    torch.int8: "sums of integers wrap around in PyTorch; only maxima, which are integers themselves, are taken",
    torch.int16: "as int8",
    torch.int32: "as int8",
    torch.int64: "as int8",
    torch.uint8: "as int8",
    torch.bool: "truth values are no numbers",
}
"""Types that PyTorch accepts for some function and svertka only for those of ``INTEGERS``, and why."""
INTEGERS = {"relu", "max_pool2d", "max_pool3d", "softmax_with_dtype", "log_softmax_with_dtype"}
"""Functions that take integers: maxima, and conversions."""

CHOOSING = {"relu", "max_pool1d", "max_pool2d", "max_pool3d"}
"""Functions that compute nothing, but select elements."""

SILENT = {"relu", "linear", "cross_entropy", "dropout", "batch_norm", "softmax", "elu", "selu", "silu", "mish", "relu6"}
SILENT |= {"hardswish", "hardsigmoid", "sigmoid", "tanh", "softplus", "softsign"}
"""Functions for which PyTorch has no samples of wrong arguments."""

every_function = pytest.mark.parametrize("name", FUNCTIONS)
every_module = pytest.mark.parametrize("name", MODULES)


@pytest.fixture(autouse=True)
def _on_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "INTERPRETED", False)


def ours(name: str) -> Any:
    return getattr(functional, FUNCTIONS[name].name.removeprefix("nn.functional."))


def same_random_numbers(sample: Sample) -> Sample:
    """Dropout draws other numbers than PyTorch's: results can be compared only if nothing is random."""
    share = sample.options.get("p", 0.5)
    settled = share in (0.0, 1.0) or not sample.options.get("training", True)
    return sample if settled else Sample(sample.given, {**sample.options, "p": 0.0})


ROWS: dict[str, Callable[[dict[str, Any]], Tensor]] = {
    "batch_norm": lambda given: given["input"].transpose(0, 1).flatten(1),
    "layer_norm": lambda given: given["input"].reshape(-1, math.prod(given["normalized_shape"])),
    "rms_norm": lambda given: given["input"].reshape(-1, math.prod(given["normalized_shape"])),
    "group_norm": lambda given: given["input"].reshape(len(given["input"]) * given["num_groups"], -1),
    "instance_norm": lambda given: given["input"].flatten(0, 1).flatten(1),
}
"""What a normalization's mean and variance run over, as rows."""


def cancelling(name: str, sample: Sample) -> float:
    """The size of terms that cancel in a gradient, and so do not show in its derivatives.

    In a normalization's, weight / deviation (g - mean(g) - z mean(g z)) of n values, no |z| exceeds sqrt(n).
    """
    kind = next((kind for kind in ROWS if name.startswith(kind)), "")
    if not kind:
        return 0.0
    bound = inspect.signature(getattr(functional, kind)).bind(*sample.given, **sample.options)
    bound.apply_defaults()
    given = {n: v.detach() if isinstance(v, Tensor) else v for n, v in bound.arguments.items()}
    if not given.get("training", given.get("use_input_stats", True)) or not given["input"].numel():
        return 0.0
    rows = ROWS[kind](given)
    weight = 1.0 if given["weight"] is None else float(given["weight"].abs().max())
    spread = rows.square().mean(1) if kind == "rms_norm" else rows.var(1, correction=0)
    return float((weight / (spread + (given["eps"] or 2.0**-52)).sqrt()).max()) * (2 + rows.shape[1])


def oracle(name: str) -> Any:
    """PyTorch's function; of hard sigmoid, whose gradient it cannot differentiate, the definition."""
    if name == "hardsigmoid":
        return lambda input, inplace=False: torch.nn.functional.relu6(input + 3) / 6
    return FUNCTIONS[name].op


def taken(name: str, dtype: torch.dtype) -> Iterator[Sample]:
    for sample in samples_of(FUNCTIONS[name], dtype):
        if name == "rms_norm" and dtype != torch.float64 and len(sample.given) < 4:
            sample.options.setdefault("eps", 2.0**-23)  # the default depends on the type, and types are compared
        if name == "conv_transpose3d" and FUNCTIONS[name].op(*sample.given, **sample.options).numel() > LARGE:
            continue
        yield same_random_numbers(sample) if name == "dropout" else sample


def test_every_function_of_torch_has_samples() -> None:
    """Functions that PyTorch lacks, or has under another name, have other tests."""
    lacking = {"center_crop", "image_input", "normalize", "resize", "cross_channel_norm"}
    lacking |= {f"interpolate_{kind}{rank}d" for kind in ("nearest", "linear") for rank in (2, 3)}
    fused = {"batch_norm_add_relu", "batch_norm_relu", "conv2d_relu", "relu_cross_channel_norm"}
    here = {FUNCTIONS[name].name.removeprefix("nn.functional.") for name in FUNCTIONS}
    assert here == set(functional.__all__) - lacking - fused
    lacking = {
        "Hardsigmoid",
        "BatchNorm2dAddReLU",
        "BatchNorm2dReLU",
        "Conv2dReLU",
        "CrossChannelNorm",
        "Dropout",
        "ImageInput",
        "Upsample",
        "UpsamplingBilinear2d",
        "UpsamplingNearest2d",
    }
    assert set(MODULES) == set(modules.__all__) - lacking - {"ReLUCrossChannelNorm"}


@pytest.mark.thinned(9)
@every_function
def test_every_sample_in_float64(name: str) -> None:
    """Results, every gradient and state, within the bound from the function's own condition."""
    count = 0
    for count, sample in enumerate(taken(name, torch.float64), 1):  # noqa: B007 - counted after the loop
        try:
            compare(ours(name), oracle(name), sample, name in CHOOSING, cancelling(name, sample))
        except (AssertionError, TypeError, ValueError) as error:
            raise AssertionError(f"{name}({sample}): {error}") from error
    assert count


@pytest.mark.thinned(8)
@every_function
@pytest.mark.parametrize("dtype", REAL[1:], ids=str)
def test_every_sample_in_narrow_types(name: str, dtype: torch.dtype) -> None:
    """The float64 result, rounded once."""
    samples = list(taken(name, dtype))
    for sample in samples if dtype == torch.float32 else samples[:: 1 + len(samples) // EVENLY]:
        results, gradients, _ = called_with(ours(name), sample)
        wide, wide_gradients, _ = called_with(ours(name), widened(sample))
        asked = sample.options.get("dtype")
        for found, expected in zip([*results, *gradients], [*wide, *wide_gradients], strict=True):
            if found.is_floating_point() and asked is None:
                equal(found, nearest(expected, found.dtype))
            else:
                assert found.shape == expected.shape


def widened(sample: Sample) -> Sample:
    """The same arguments in float64."""

    def wide(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return value.detach().double().requires_grad_(value.requires_grad)
        return value

    return Sample(tuple(map(wide, sample.given)), {name: wide(value) for name, value in sample.options.items()})


@pytest.mark.thinned(5)
@every_function
def test_every_other_type_is_taken_or_refused(name: str) -> None:
    """A type that PyTorch accepts and svertka does not is refused by a sentence that names the type."""
    op = FUNCTIONS[name]
    for dtype in sorted(op.supported_dtypes("cpu") - set(REAL), key=str):
        samples = list(samples_of(op, dtype))
        assert samples
        samples = samples[:: 1 + len(samples) // EVENLY]
        for sample in samples:
            if name in INTEGERS and not dtype.is_complex and dtype != torch.bool:
                found, expected = (called_with(function, sample)[0] for function in (ours(name), op.op))
                for one, other in zip(found, expected, strict=True):
                    assert (one.shape, one.dtype) == (other.shape, other.dtype)
                    if not one.is_floating_point():
                        equal(one, other)
            elif sample.options.get("dtype") is None:
                assert REFUSED[dtype]
                with pytest.raises(TypeError, match=rf"input\.dtype={dtype}: must be float16, bfloat16, float32"):
                    sample.call(ours(name), sample.moving())


@pytest.mark.thinned(4)
@every_function
def test_what_torch_refuses_is_refused(name: str) -> None:
    """With svertka's own message, before anything runs."""
    op = FUNCTIONS[name]
    if op.error_inputs_func is None:
        assert name in SILENT or "_" in name
        return
    for wrong in op.error_inputs("cpu"):
        sample = wrong.sample_input
        with pytest.raises((ValueError, TypeError)):  # the message names argument, value, rule and remedy
            ours(name)(sample.input, *sample.args, **sample.kwargs)


@pytest.mark.thinned(5)
@pytest.mark.skipif(not runtime.INTERPRETED, reason="needs the interpreter")
@every_function
def test_some_samples_over_the_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen by the function's name."""
    monkeypatch.setattr(runtime, "INTERPRETED", True)
    samples = list(taken(name, torch.float64))
    small = [s for s in samples if sum(v.numel() for v in s.values if isinstance(v, Tensor)) <= SMALL]
    drawn = random.Random(name).sample(small, min(CHOSEN, len(small)))
    assert drawn
    with np.errstate(all="ignore"):  # the interpreter computes in masked lanes too
        for sample in drawn:
            compare(ours(name), oracle(name), sample, name in CHOOSING, cancelling(name, sample))


@pytest.mark.thinned(5)
@every_module
@pytest.mark.parametrize("training", [False, True])
def test_every_sample_of_a_module(name: str, training: bool) -> None:
    info = MODULES[name]
    for made, passed in samples_of_module(info, torch.float64, training):
        torch.manual_seed(3)
        theirs = info.module_cls(*made.given, **made.options).double().train(training)
        module = getattr(generated, name)(*made.given, **made.options).double().train(training)
        module.load_state_dict(theirs.state_dict())
        names = [key for key, _ in theirs.named_parameters()]
        parameters = [p.detach().clone().requires_grad_() for p in theirs.parameters()]
        buffers = {key: b.clone() for key, b in theirs.named_buffers()}

        def called(house: Any, names: list[str] = names, buffers: dict[str, Tensor] = buffers) -> Any:
            def function(*values: Any, **options: Any) -> Any:
                held = dict(zip(names, values[: len(names)], strict=True))
                state = held | {key: b.clone() for key, b in buffers.items()}
                return torch.func.functional_call(house, state, values[len(names) :], options)

            return function

        compare(called(module), called(theirs), Sample((*parameters, *passed.given), passed.options))


@every_module
def test_what_torch_s_module_refuses_is_refused(name: str) -> None:
    info = MODULES[name]
    if info.module_error_inputs_func is None:
        return
    for wrong in info.module_error_inputs_func(info, "cpu", torch.float64, True, False):
        made = wrong.module_error_input.constructor_input
        passed = wrong.module_error_input.forward_input
        if wrong.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises((ValueError, TypeError, RuntimeError)):
                getattr(generated, name)(*made.args, **made.kwargs)
            continue
        module = getattr(generated, name)(*made.args, **made.kwargs).double()
        if any(reason in str(wrong.error_regex) for reason in TAKEN) and made.kwargs.get("eps") == 0:
            assert module(*passed.args, **passed.kwargs).isfinite().all()
            continue
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            module(*passed.args, **passed.kwargs)
