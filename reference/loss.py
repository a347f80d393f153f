"""Cross-entropy of a softmax (slide 18).

With t the target distribution and w the class weights, the loss of one sample is

    l = - sum over c of t_c w_c log softmax(x)_c

For a class label y, t is 1 at y and 0 elsewhere. Label smoothing e replaces t by (1 - e) t + e / C. The mean divides by
the sum of w_y over labels not ignored, or, for probabilities as targets, by the number of samples.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from svertka.reference.activation import log_softmax_over, softmax_over
from svertka.reference.arguments import (
    complaint,
    real_number,
    require,
    whole_number,
)
from svertka.reference.arrays import (
    Array,
    Float64Array,
    as_float64,
    as_float64_with_shape,
    as_gradient,
    rounded,
)

Target: TypeAlias = NDArray[np.integer[Any]] | Array
_Description: TypeAlias = tuple[Float64Array, NDArray[np.bool_]]


def cross_entropy(
    input: Array,
    target: Target,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """Return the cross-entropy; as `torch.nn.functional.cross_entropy`.

    Args:
        input: Unnormalised log-probabilities, (C,), (N, C) or (N, C, d1, ...); float16, float32 or float64.
        target: Class labels, integers of shape (), (N,) or (N, d1, ...); or probabilities, floats of the shape of
            `input`.
        weight: (C,), one weight per class.
        ignore_index: A label whose samples do not count; with probabilities it must be negative.
        reduction: 'mean', 'sum' or 'none'.
        label_smoothing: e in [0, 1].

    Returns:
        The loss, of the type of `input`: a scalar array, or for 'none' one loss per sample. A mean over no samples is
        NaN.

    Raises:
        TypeError: An array or a number has the wrong type.
        ValueError: Shapes disagree, a label is no class, the reduction is unknown, the smoothing lies outside [0, 1],
            or there are no classes.
    """
    problem = _Problem.of(input, target, weight, ignore_index, reduction, label_smoothing)
    terms = np.zeros_like(problem.shares)
    logarithms = log_softmax_over(problem.logits, 1)
    # If a class has no share in a label, log 0 must not turn 0 into NaN; if the class's weight is 0 it does, as in
    # PyTorch.
    with np.errstate(invalid="ignore"):
        np.multiply(problem.shares, logarithms, out=terms, where=problem.present)
    losses = -terms.sum(axis=1)
    if reduction == "none":
        return rounded(losses.reshape(problem.sample_shape), input.dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        return rounded(losses.sum() / problem.normaliser, input.dtype)


def cross_entropy_backward(
    grad_output: Array,
    input: Array,
    target: Target,
    weight: Array | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Array, Array | None]:
    """Gradients of `cross_entropy`: g (softmax(x) sum of t w - t w), -g w log softmax.

    Args:
        grad_output: Gradient of the loss, of its shape.
        input: As in `cross_entropy`, and so the arguments that follow.
        target: As in `cross_entropy`.
        weight: As in `cross_entropy`.
        ignore_index: As in `cross_entropy`.
        reduction: As in `cross_entropy`.
        label_smoothing: As in `cross_entropy`.

    Returns:
        The gradients of input and target, of their shapes and types; None for a target of labels.

    Raises:
        TypeError: As `cross_entropy`.
        ValueError: As `cross_entropy`, and where `grad_output` has another shape.
    """
    problem = _Problem.of(input, target, weight, ignore_index, reduction, label_smoothing)
    grad = problem.sample_gradients(grad_output, reduction)
    with np.errstate(invalid="ignore"):
        pulls = np.where(problem.present, grad * problem.shares, 0.0)
        grad_logits = softmax_over(problem.logits, 1) * pulls.sum(axis=1, keepdims=True) - pulls
    grad_input = rounded(grad_logits.reshape(input.shape), input.dtype)
    if problem.labelled:
        return grad_input, None
    slopes = -(1 - label_smoothing) * problem.weights
    with np.errstate(invalid="ignore"):
        grad_target = grad * slopes * log_softmax_over(problem.logits, 1)
    return grad_input, rounded(grad_target.reshape(input.shape), target.dtype)


@dataclass(frozen=True)
class _Problem:
    """The checked arguments, with axes for samples, classes and places: (N, C, D).

    Attributes:
        logits: (N, C, D).
        shares: (N, C, D), t w after smoothing, 0 where the label is ignored.
        present: (N, C, D), which shares count.
        weights: (1, C, 1).
        normaliser: What the sum of losses is divided by.
        labelled: Whether the target holds labels, not probabilities.
        sample_shape: The input's shape without the class axis.
    """

    logits: Float64Array
    shares: Float64Array
    present: NDArray[np.bool_]
    weights: Float64Array
    normaliser: float
    labelled: bool
    sample_shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        input: Array,
        target: Target,
        weight: Array | None,
        ignore_index: int,
        reduction: str,
        label_smoothing: float,
    ) -> "_Problem":
        logits, sample_shape = _logits(input)
        weights = _weights(weight, logits.shape[1])
        ignored_label = whole_number("ignore_index", ignore_index)
        smoothing = real_number("label_smoothing", label_smoothing)
        rule, remedy = "must lie between 0 and 1", "Pass a share of 1"
        inside = 0 <= smoothing <= 1
        require(inside, "label_smoothing", label_smoothing, rule, remedy)
        rule, remedy = "unknown reduction", "Pass 'mean', 'sum' or 'none'"
        known = reduction in ("mean", "sum", "none")
        require(known, "reduction", reduction, rule, remedy)
        labelled = not _is_distribution(input, target)
        describe = _labels if labelled else _probabilities
        distribution, counted = describe(target, logits, sample_shape, ignored_label)
        smooth = (1 - smoothing) * distribution + smoothing / logits.shape[1]
        shares = smooth * weights * counted
        normaliser = float(counted.sum())
        if labelled:
            normaliser = float((distribution * weights * counted).sum())
        asked = (distribution != 0) | (smoothing > 0) if labelled else True
        present = np.broadcast_to(asked & counted, shares.shape)
        return cls(
            logits,
            shares,
            present,
            weights,
            normaliser if reduction == "mean" else 1.0,
            labelled,
            sample_shape,
        )

    def sample_gradients(self, grad_output: Array, reduction: str) -> Float64Array:
        """Spread the loss's gradient over the samples: (N, 1, D) or a scalar."""
        if reduction == "none":
            grad = as_gradient(grad_output, self.sample_shape)
            return grad.reshape(len(self.logits), 1, self.logits.shape[2])
        grad = as_gradient(grad_output, ())
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(grad / self.normaliser)


def _logits(input: Array) -> tuple[Float64Array, tuple[int, ...]]:
    """Return the input as (N, C, D), and its shape without the class axis."""
    values = as_float64("input", input)
    shape = values.shape
    rule, remedy = "must have a class axis", "Pass (C,), (N, C) or (N, C, d1, ...)"
    require(len(shape) > 0, "input.shape", shape, rule, remedy)
    batch = shape[:1] if len(shape) > 1 else (1,)
    classes, places = (*shape[1:2], *shape)[0], shape[2:]
    rule, remedy = "must have at least one class", "Pass more classes"
    require(classes > 0, "input.shape", shape, rule, remedy)
    logits = values.reshape(*batch, classes, int(np.prod(places)))
    return logits, (*shape[:1], *places) if len(shape) > 1 else ()


def _weights(weight: Array | None, classes: int) -> Float64Array:
    if weight is None:
        return np.ones((1, classes, 1))
    reason = "one weight per class"
    values = as_float64_with_shape("weight", weight, (classes,), reason)
    return values.reshape(1, classes, 1)


def _is_distribution(input: Array, target: Target) -> bool:
    """Whether the target holds probabilities; like torch, this also depends on the shape."""
    remedy = "Pass integer labels, or float probabilities of the shape of input"
    if not isinstance(target, np.ndarray | np.generic):
        rule = "must be a NumPy array"
        raise TypeError(complaint("target", target, rule, remedy))
    same = target.shape == input.shape
    if not np.issubdtype(target.dtype, np.floating if same else np.integer):
        held = "probabilities" if same else "labels"
        rule = f"the type does not fit {held}, which shape {target.shape} implies"
        raise TypeError(complaint("target.dtype", target.dtype.name, rule, remedy))
    return same


def _labels(target: Target, logits: Float64Array, sample_shape: tuple[int, ...], ignored: int) -> _Description:
    """Return labels as distributions, and which samples count."""
    require(
        target.shape == sample_shape,
        "target.shape",
        target.shape,
        f"labels must have shape {sample_shape}, input's without its class axis",
        "Match input and target",
    )
    labels = target.astype(np.int64).reshape(len(logits), 1, logits.shape[2])
    counted = labels != ignored
    classes = logits.shape[1]
    wrong = labels[counted & ((labels < 0) | (labels >= classes))]
    rule = f"labels must lie in [0, {classes})"
    remedy = "Correct the labels, or pass one of them as ignore_index"
    require(wrong.size == 0, "target", wrong[:1].tolist(), rule, remedy)
    return (labels == np.arange(classes).reshape(1, classes, 1)).astype(float), counted


def _probabilities(target: Target, logits: Float64Array, sample_shape: tuple[int, ...], ignored: int) -> _Description:
    """Return probabilities in the logits' layout; every sample counts."""
    rule = "must be negative where the target holds probabilities"
    remedy = "Leave it out, or pass labels"
    require(ignored < 0, "ignore_index", ignored, rule, remedy)
    distribution = as_float64("target", target).reshape(logits.shape)
    return distribution, np.ones((len(logits), 1, logits.shape[2]), dtype=np.bool_)
