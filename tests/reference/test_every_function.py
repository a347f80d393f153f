"""Properties of every function."""

import inspect
from typing import Any

import numpy as np
import pytest

import svertka.reference as reference

from .against_torch import normal

IMAGE = (2, 4, 6, 5)

# For each function: the input's shape, the other arguments.
EXAMPLES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "conv1d": ((2, 4, 6), {"weight": normal(1, 3, 4, 2), "bias": normal(2, 3)}),
    "conv2d": (IMAGE, {"weight": normal(1, 6, 2, 3, 2), "groups": 2, "padding": 1}),
    "conv3d": ((2, 1, 4, 3, 5), {"weight": normal(1, 2, 1, 2, 3, 2), "stride": 2}),
    "max_pool1d": ((2, 3, 7), {"kernel_size": 2}),
    "max_pool2d": (IMAGE, {"kernel_size": (3, 2), "stride": 1}),
    "max_pool3d": ((2, 3, 4, 3, 5), {"kernel_size": 2, "padding": 1}),
    "avg_pool1d": ((2, 3, 7), {"kernel_size": 2}),
    "avg_pool2d": (IMAGE, {"kernel_size": (3, 2), "divisor_override": 5}),
    "avg_pool3d": ((2, 3, 4, 3, 5), {"kernel_size": 2, "ceil_mode": True}),
    "linear": ((2, 3, 4), {"weight": normal(1, 5, 4), "bias": normal(2, 5)}),
    "relu": (IMAGE, {}),
    "softmax": (IMAGE, {"dim": 1}),
    "log_softmax": (IMAGE, {"dim": -1}),
    "cross_entropy": ((2, 4, 3), {"target": None, "weight": np.arange(1.0, 5)}),
    "dropout": (IMAGE, {"p": 0.3, "seed": 4}),
    "batch_norm": (
        IMAGE,
        {"weight": normal(1, 4), "bias": normal(2, 4), "training": True},
    ),
    "local_response_norm": (IMAGE, {"size": 3, "alpha": 2.0}),
    "cross_channel_norm": (IMAGE, {"window_channel_size": 4, "alpha": 2.0}),
    "resize": (IMAGE, {"size": (4, 7)}),
    "center_crop": (IMAGE, {"size": (3, 2)}),
    "image_input": (IMAGE, {"mean": [0.1, 0.2, 0.3, 0.4], "size": (3, 4), "crop": True}),
    "normalize": (IMAGE, {"mean": [0.1, 0.2, 0.3, 0.4], "std": 0.5}),
    "conv2d_relu": (IMAGE, {"weight": normal(1, 6, 2, 3, 2), "bias": normal(2, 6), "groups": 2, "stride": (2, 1)}),
    "batch_norm_relu": (IMAGE, {"weight": normal(1, 4), "bias": normal(2, 4), "training": True}),
    "batch_norm_add_relu": (
        IMAGE,
        {"running_mean": None, "running_var": None, "residual": None, "weight": normal(1, 4), "training": True},
    ),
    "relu_cross_channel_norm": (IMAGE, {"window_channel_size": 4, "alpha": 2.0}),
}

every = pytest.mark.parametrize("name", EXAMPLES)


def example(name: str, batch: int = 2) -> tuple[np.ndarray, dict[str, Any]]:
    """Return a function's input and its other arguments, for a batch of some size."""
    shape, options = EXAMPLES[name]
    options = dict(options)
    if "target" in options:
        options["target"] = np.arange(batch * 3).reshape(batch, 3) % shape[1]
    if "residual" in options:
        options["residual"] = normal(5, batch, *shape[1:])
    return normal(3, batch, *shape[1:]), options


def as_type(options: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Convert the float arrays among some arguments to another type."""
    return {
        key: value.astype(dtype) if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.floating) else value
        for key, value in options.items()
    }


def run(name: str, input: np.ndarray, options: dict[str, Any]) -> list[np.ndarray]:
    """Return a function's output, and its gradients for an output gradient of ones."""
    output = getattr(reference, name)(input, **options)
    grad = np.ones_like(output)
    gradients = getattr(reference, f"{name}_backward")(grad, input, **options)
    return [output, *(gradient for gradient in gradients if gradient is not None)]


def test_the_list_is_complete() -> None:
    public = {n for n in reference.__all__ if not n.endswith("_backward")}
    assert public - {"philox", "uniform"} == set(EXAMPLES)
    assert {f"{name}_backward" for name in EXAMPLES} <= set(reference.__all__)


@every
def test_backward_takes_what_forward_takes(name: str) -> None:
    forward = inspect.signature(getattr(reference, name)).parameters
    backward = inspect.signature(getattr(reference, f"{name}_backward")).parameters
    assert list(backward) == ["grad_output", *forward]
    for key, parameter in forward.items():
        assert backward[key] == parameter


@every
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_types_are_rounded_once(name: str, dtype: Any) -> None:
    """The result is computed in float64 and rounded once."""
    input, options = example(name)
    narrow, narrow_options = input.astype(dtype), as_type(options, dtype)
    wide_options = as_type(narrow_options, np.float64)
    wide = run(name, narrow.astype(np.float64), wide_options)
    for found, expected in zip(run(name, narrow, narrow_options), wide, strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected.astype(dtype))


@every
def test_empty_batch(name: str) -> None:
    input, options = example(name, batch=0)
    full, full_options = example(name)
    sample = run(name, full, full_options)
    results = run(name, input, options)
    for found, like in zip(results[1:], sample[1:], strict=True):
        assert found.shape[1:] == like.shape[1:]
    assert results[1].shape == input.shape
    assert all(not gradient.any() for gradient in results[1:])


@every
def test_arguments_stay_as_they_are(name: str) -> None:
    input, options = example(name)
    input.flags.writeable = False
    for value in options.values():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    try:
        results = run(name, input, options)
    finally:
        for value in options.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = True
    assert not any(np.shares_memory(result, input) for result in results)


@every
def test_strides_do_not_matter(name: str) -> None:
    input, options = example(name)
    strided = np.repeat(np.asfortranarray(input), 2, axis=-1)[..., ::2]
    for found, expected in zip(run(name, strided, options), run(name, input, options), strict=True):
        np.testing.assert_array_equal(found, expected)


@every
def test_integers_are_refused(name: str) -> None:
    input, options = example(name)
    with pytest.raises(TypeError, match=r"input\.dtype='int64'.*astype"):
        getattr(reference, name)(input.astype(np.int64), **options)
    with pytest.raises(TypeError, match=r"input=.*must be a NumPy array"):
        getattr(reference, name)(input.tolist(), **options)


@every
def test_gradient_of_another_shape_is_refused(name: str) -> None:
    input, options = example(name)
    backward = getattr(reference, f"{name}_backward")
    with pytest.raises(ValueError, match=r"grad_output\.shape=\(1, 1, 9\)"):
        backward(np.ones((1, 1, 9)), input, **options)
