"""Adapters of ONNX's other operators, and the table of all."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from ..reference.bounds import ROUNDINGS_OF_ACTIVATION
from . import windows
from .answers import Answer, NotRun
from .roads import REFERENCE, Road
from .suite import Array, Case

__all__ = ["ADAPTERS"]

Adapter = Callable[[Case, Road], list[Answer]]

# NumPy documents float32 errors of at most 2.52 (exp) and 3.83 (log) units in the last place, CUDA of 2 and 1; its
# log2, exp2 and power stay below 4. A unit in the last place is at most two roundings.
FUNCTION = 8


def _wide(values: Array) -> Array:
    return values.astype(np.float64)


def linear(left: Array, right: Array, bias: Array | None, road: Road) -> Answer:
    """``left @ right + bias``, with a bias for every output, or rows of such biases, each with a call of its own."""
    weight = np.ascontiguousarray(right.T)
    absolute = None if bias is None else np.abs(_wide(bias))
    calls = [(left, bias, absolute)]
    if bias is not None and bias.ndim == 2 and len(bias) > 1:
        assert absolute is not None
        calls = list(zip(left, bias, absolute, strict=True))
    elif bias is not None and absolute is not None:
        shape = (len(weight),)
        calls = [(left, np.broadcast_to(bias.ravel(), shape), np.broadcast_to(absolute.ravel(), shape))]
    values = [road("linear", input=rows, weight=weight, bias=row)[0] for rows, row, _ in calls]
    sizes = [REFERENCE("linear", input=np.abs(rows), weight=np.abs(weight), bias=size)[0] for rows, _, size in calls]
    if len(calls) == 1:
        return Answer(values[0], sizes[0], left.shape[-1] + 4)
    return Answer(np.stack(values), np.stack(sizes), left.shape[-1] + 4)


def gemm(case: Case, road: Road) -> list[Answer]:
    """The caller scales and transposes; scaling rounds once, and is counted."""
    left, right, bias = _wide(case.input(0)), _wide(case.input(1)), case.optional(2)
    left = case.get("alpha", 1.0) * (left.T if case.get("transA", 0) else left)
    right = right.T if case.get("transB", 0) else right
    return [linear(left, right, None if bias is None else case.get("beta", 1.0) * _wide(bias), road)]


def matmul(case: Case, road: Road) -> list[Answer]:
    """One call for every matrix of the right operand."""
    left, right = case.input(0), case.input(1)
    shape = np.matmul(left, right).shape
    rows = left[None] if left.ndim == 1 else left
    columns = right[:, None] if right.ndim == 1 else right
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    rows = np.broadcast_to(rows, (*batch, *rows.shape[-2:]))
    columns = np.broadcast_to(columns, (*batch, *columns.shape[-2:]))
    found = [linear(rows[place], columns[place], None, road) for place in np.ndindex(batch)]
    values = np.stack([answer.value for answer in found]).reshape(shape)
    magnitudes = np.stack([answer.magnitude for answer in found if answer.magnitude is not None]).reshape(shape)
    return [Answer(values, magnitudes, found[0].roundings)]


def relu(case: Case, road: Road) -> list[Answer]:
    (value,) = road("relu", input=case.input(0))
    return [Answer(value)]


def activation(function: str, **attributes: tuple[str, Any]) -> Adapter:
    """An adapter of an activation.

    Args:
        function: the public function.
        attributes: its arguments, as ONNX's attribute and that attribute's default.
    """

    def adapter(case: Case, road: Road) -> list[Answer]:
        options = {name: case.get(given, default) for name, (given, default) in attributes.items()}
        (value,) = road(function, input=case.input(0), **options)
        return [Answer(value, np.abs(_wide(case.input(0))) + 1, ROUNDINGS_OF_ACTIVATION)]

    return adapter


def _scores(scores: Array, axis: int) -> tuple[Array, Array, Array]:
    """Probabilities p; |d| + sum p |d| + 1; |log sum exp d|, for differences d from the largest score.

    The second is the effect of d, each rounded once, on exp(d) and on the sum, relative to these.
    """
    distance = scores.max(axis, keepdims=True) - _wide(scores)
    share = np.exp(-distance)
    total = share.sum(axis, keepdims=True)
    share /= total
    return share, distance + (share * distance).sum(axis, keepdims=True) + 1, np.log(total)


def softmax(case: Case, road: Road) -> list[Answer]:
    """Relative error: K additions, exp above and below, a division; and that of the differences (see ``_scores``)."""
    scores, axis = case.input(0), case.get("axis", -1)
    (value,) = road("softmax", input=scores, dim=axis)
    share, moved, _ = _scores(scores, axis)
    return [Answer(value, share * moved, scores.shape[axis] + 2 * FUNCTION + 2)]


def _log_softmax(scores: Array, axis: int, road: Road) -> Answer:
    """Absolute error: the sum's relative error, the logarithm's error as a share of it, and one of the result."""
    (value,) = road("log_softmax", input=scores, dim=axis)
    _, moved, logarithm = _scores(scores, axis)
    return Answer(value, moved + logarithm, scores.shape[axis] + 2 * FUNCTION + 2)


def log_softmax(case: Case, road: Road) -> list[Answer]:
    return [_log_softmax(case.input(0), case.get("axis", -1), road)]


def cross_entropy(case: Case, road: Road) -> list[Answer]:
    """Sums over N elements add N roundings each, one sum of the losses and one of the weights."""
    scores, target, weight = case.input(0), case.input(1), case.optional(2)
    reduction, ignored = case.get("reduction", "mean"), case.get("ignore_index", -100)
    options: dict[str, Any] = {"weight": weight, "ignore_index": ignored, "reduction": reduction}
    (value,) = road("cross_entropy", input=scores, target=target, **options)
    logs = _log_softmax(scores, 1, road)
    assert logs.magnitude is not None
    kept = target != ignored
    labels = np.where(kept, target, 0)
    weights = (np.ones(scores.shape[1]) if weight is None else np.abs(_wide(weight)))[labels] * kept
    magnitude = np.take_along_axis(logs.magnitude, labels[:, None], 1)[:, 0] * weights
    if reduction != "none":
        magnitude = magnitude.sum() / (weights.sum() if reduction == "mean" else 1.0)
    terms = 0 if reduction == "none" else 2 * target.size
    loss = Answer(value, np.asarray(magnitude), logs.roundings + terms + 3)
    return [loss, logs][: len(case.outputs)]


def batch_normalization(case: Case, road: Road) -> list[Answer]:
    """ONNX's momentum is the share of the old value, and its running variance is that of the population."""
    input, scale, bias, mean, variance = (_wide(case.input(place)) for place in range(5))
    stays, eps = case.get("momentum", 0.9), case.get("epsilon", 1e-5)
    training = bool(case.get("training_mode", 0))
    arrays = {"input": input, "running_mean": mean, "running_var": variance, "weight": scale, "bias": bias}
    options: dict[str, Any] = {"training": training, "momentum": 1 - stays, "eps": eps}
    state = ("running_mean", "running_var") if training else ()
    output, *moved = road("batch_norm", state=state, **arrays, **options)

    def channels(values: Array) -> Array:
        return values.reshape(-1, *[1] * (input.ndim - 2))

    axes = (0, *range(2, input.ndim))
    count = input.size // len(mean)
    if not training:
        size = (np.abs(input) + channels(np.abs(mean))) / np.sqrt(channels(variance) + eps)
        return [Answer(output, size * channels(np.abs(scale)) + channels(np.abs(bias)), 12)]
    # Absolute values instead of differences: e = |x| + mean |x|, v = mean e**2; the variance errs by (3 n + 4) u v, the
    # reciprocal of its root by half of that over variance + eps, relative to itself.
    centred = np.abs(input) + channels(np.abs(input).mean(axes))
    spread = (centred**2).mean(axes)
    true = input.var(axes) + eps
    size = centred * channels(np.abs(scale) / np.sqrt(true) * (1 + spread / true)) + channels(np.abs(bias))
    roundings = 3 * count + 16
    old = stays * variance
    population = old + (_wide(moved[1]) - old) * (count - 1) / count
    means = stays * np.abs(mean) + (1 - stays) * np.abs(input).mean(axes)
    spreads = old + (1 - stays) * spread
    return [
        Answer(output, size, roundings),
        Answer(moved[0], means, count + 8),
        Answer(population.astype(moved[1].dtype), spreads, roundings),
    ]


def local_response(case: Case, road: Road) -> list[Answer]:
    """ONNX's window, with its odd element behind, is ``cross_channel_norm``'s; if odd, ``local_response_norm``'s too.

    The base b > 0 errs by J + 4 roundings, its power by beta times that; a power computed as exp2(-beta log2 b) also
    errs by the logarithm's error times beta |ln b|.
    """
    input, size = case.input(0), case.attributes["size"]
    alpha, beta, k = case.get("alpha", 1e-4), case.get("beta", 0.75), case.get("bias", 1.0)
    options = {"alpha": alpha, "beta": beta, "k": k}
    (value,) = road("cross_channel_norm", input=input, window_channel_size=size, **options)
    if size % 2:
        (other,) = road("local_response_norm", input=input, size=size, **options)
        np.testing.assert_array_equal(value, other)
    padded = np.pad(_wide(input) ** 2, [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (input.ndim - 2)])
    squares = sum(padded[:, shift : shift + input.shape[1]] for shift in range(size))
    base = k + alpha * squares / size
    magnitude = np.abs(_wide(input)) * base**-beta * (1 + beta + beta * np.abs(np.log(base)))
    return [Answer(value, magnitude, size + 4 + 2 * FUNCTION + 4)]


def dropout(case: Case, road: Road) -> list[Answer]:
    """Without training, or if nothing is dropped, the input; the mask is dropout of ones."""
    ratio, training = case.optional(1), case.optional(2)
    p = case.get("ratio", 0.5) if ratio is None else float(ratio)
    options = {"p": p, "training": training is not None and bool(training), "seed": case.get("seed", 0)}
    if options["training"] and p > 0:
        raise NotRun("NumPy's mask")
    (value,) = road("dropout", input=case.input(0), **options)
    (left,) = road("dropout", input=np.ones_like(case.input(0)), **options)
    return [Answer(value), Answer(left != 0)][: len(case.outputs)]


def resize(case: Case, road: Road) -> list[Answer]:
    """Bilinear, half-pixel centres, over the last two axes.

    At a border ONNX repeats its pixel, whereas svertka with antialias, like torch, leaves out pixels outside; so with
    antialias the caller repeats the border, as far as the image is large, and cuts the middle out.

    A centre W (q + 1/2) / Q is at most W and rounds three times, a distance from it once more; so a weight errs by (5 W
    + 2) u. The at most 2 L weights of a triangle of half-width L >= 1 sum to L / 2 or more, also at a border: all
    weights of one output, normalised, err together by 8 (5 W + 2) u, and the sum of products by another 4 L u.
    """
    input, (height, width) = case.input(0), case.input(0).shape[2:]
    if case.get("mode", "nearest") != "linear":
        raise NotRun("not bilinear")
    mode = case.get("coordinate_transformation_mode", "half_pixel")
    if mode not in ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"):
        raise NotRun("not half-pixel centres")
    scales, sizes = case.optional(2), case.optional(3)
    assert "axes" not in case.attributes
    assert case.get("keep_aspect_ratio_policy", "stretch") == "stretch"
    size = case.outputs[0].shape[2:]
    if scales is not None and not np.array_equal(_wide(scales) * input.shape, case.outputs[0].shape):
        raise NotRun("not the scale of the sizes")
    if sizes is not None and mode == "pytorch_half_pixel" and 1 in size:
        raise NotRun("not half-pixel centres")
    antialias = bool(case.get("antialias", 0))
    repeated = antialias and not case.get("exclude_outside", 0)
    given = np.pad(input, [(0, 0), (0, 0), (height, height), (width, width)], mode="edge") if repeated else input
    target = [3 * extent for extent in size] if repeated else list(size)
    (value,) = road("resize", input=given, size=target, antialias=antialias)
    if repeated:
        value = value[..., size[0] : 2 * size[0], size[1] : 2 * size[1]]
    half = max(1.0, *(old / new for old, new in zip((height, width), size, strict=True)))
    magnitude = np.full(value.shape, np.abs(_wide(input)).max() * sum(given.shape[2:]))
    return [Answer(value, magnitude, 8 * 7 + int(np.ceil(4 * half)))]


def center_crop(case: Case, road: Road) -> list[Answer]:
    """Two axes at a time, which the caller moves to the end; the other axes stay whole."""
    input, wanted = case.input(0), case.input(1)
    axes = [axis % input.ndim for axis in case.get("axes", range(input.ndim))]
    changed = {axis: int(size) for axis, size in zip(axes, wanted, strict=True) if size != input.shape[axis]}
    if any(size > input.shape[axis] for axis, size in changed.items()):
        raise NotRun("pads")
    rest = {axis: input.shape[axis] - size for axis, size in changed.items()}
    if any(round(odd / 2) != odd // 2 for odd in rest.values()):
        raise NotRun("an odd rest")
    last = [*changed, *(axis for axis in range(input.ndim) if axis not in changed)][:2]
    moved = np.moveaxis(input, last, (-2, -1))
    (value,) = road("center_crop", input=moved, size=[changed.get(axis, input.shape[axis]) for axis in last])
    assert prod(value.shape) == prod(case.outputs[0].shape)
    return [Answer(np.moveaxis(value, (-2, -1), last))]


def lacking(reason: str) -> Adapter:
    """An adapter for an operator that svertka does not have."""

    def adapter(case: Case, road: Road) -> list[Answer]:
        raise NotRun(reason)

    return adapter


ADAPTERS: dict[str, Adapter] = {
    "AveragePool": windows.average_pooling,
    "BatchNormalization": batch_normalization,
    "CenterCropPad": center_crop,
    "Conv": windows.convolution,
    "ConvTranspose": windows.transposed,
    "Dropout": dropout,
    "Elu": activation("elu", alpha=("alpha", 1.0)),
    "Flatten": lacking("no flatten"),
    "Gelu": activation("gelu", approximate=("approximate", "none")),
    "Gemm": gemm,
    "GlobalAveragePool": windows.global_average,
    "GlobalMaxPool": windows.global_maximum,
    "HardSwish": activation("hardswish"),
    "LRN": local_response,
    "LeakyRelu": activation("leaky_relu", negative_slope=("alpha", 0.01)),
    "LogSoftmax": log_softmax,
    "MatMul": matmul,
    "MaxPool": windows.max_pooling,
    "Mish": activation("mish"),
    "NegativeLogLikelihoodLoss": lacking("no loss of log-probabilities"),
    "Relu": relu,
    "Resize": resize,
    "Sigmoid": activation("sigmoid"),
    "Softmax": softmax,
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "Softplus": activation("softplus"),
    "Softsign": activation("softsign"),
    "Tanh": activation("tanh"),
    "Upsample": lacking("not bilinear"),
}
