"""Cross-entropy against PyTorch."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import svertka.reference as reference

from .against_torch import Float64Array, normal, torch_run
from .bounds import within

SHAPES = [(5,), (4, 3), (3, 5, 2), (2, 3, 4, 2), (0, 3), (0, 3, 2)]
REDUCTIONS = ["mean", "sum", "none"]


def labels_for(shape: tuple[int, ...], ignored: int) -> Any:
    """Return labels for logits of `shape`; every fourth label is ignored."""
    random = np.random.default_rng(11)
    classes = shape[1] if len(shape) > 1 else shape[0]
    places = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    labels = np.asarray(random.integers(0, classes, places))
    return np.where(np.arange(labels.size).reshape(places) % 4 == 3, ignored, labels)


def size_of_terms(logits: Float64Array, weight: Float64Array | None) -> float:
    """Bound every |t w log p|, for targets whose sum over classes is at most 1.

    |log p| is at most the spread of the logits plus log C; the 1 stands for the error of the logarithm's argument,
    which is relative there and absolute in the result.
    """
    spread = float(np.ptp(logits)) if logits.size else 0.0
    heaviest = 1.0 if weight is None else float(weight.max())
    return heaviest * (1 + spread + math.log(max(logits.shape)))


def check(logits: Float64Array, target: Any, **options: Any) -> None:
    """Compare loss and gradients with PyTorch's.

    Every sample's loss sums C terms, each of at most `size`; a sum over samples has that many times more. The mean
    divides both by the same number. In a gradient each term has one more exponential, and is multiplied by the loss's
    gradient.
    """
    weight = options.get("weight")
    tensors: dict[str, Any] = dict(options)
    if weight is not None:
        tensors["weight"] = torch.tensor(weight)
    soft = np.issubdtype(target.dtype, np.floating) and target.shape == logits.shape
    arrays = [logits, target] if soft else [logits]
    run = partial(functional.cross_entropy, **tensors)
    if not soft:
        run = partial(run, target=torch.tensor(target))
    output, grad, expected = torch_run(run, arrays)
    samples = max(1, logits.size // max(logits.shape))
    operations = 2 * (logits.size + 30)
    size = size_of_terms(logits, weight)
    whole = size * logits.size / _divisor(target, soft, weight, options)
    found = reference.cross_entropy(logits, target, **options)
    assert within(found, output, max(whole, size), operations)
    share = samples * size / _divisor(target, soft, weight, options)
    reach = float(np.abs(grad).max(initial=0.0)) * max(share, size)
    gradients = reference.cross_entropy_backward(grad, logits, target, **options)
    assert within(gradients[0], expected[0], reach, operations)
    if soft:
        assert gradients[1] is not None
        assert within(gradients[1], expected[1], reach, operations)
    else:
        assert gradients[1] is None


def _divisor(target: Any, soft: bool, weight: Float64Array | None, options: dict[str, Any]) -> float:
    """Return a lower bound of the divisor of a mean; 1 if nothing is summed."""
    if soft or options.get("reduction", "mean") != "mean":
        return 1.0
    counted = int(np.sum(target != options.get("ignore_index", -100)))
    lightest = 1.0 if weight is None else float(weight.min())
    return max(1, counted) * lightest


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [-100, 1])
def test_labels(
    shape: tuple[int, ...],
    reduction: str,
    weighted: bool,
    smoothing: float,
    ignored: int,
) -> None:
    classes = shape[1] if len(shape) > 1 else shape[0]
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    options["ignore_index"] = ignored
    if weighted:
        options["weight"] = 0.5 + np.arange(classes)
    check(3 * normal(6, *shape), labels_for(shape, ignored), **options)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
def test_probabilities(shape: tuple[int, ...], reduction: str, weighted: bool, smoothing: float) -> None:
    axis = 1 if len(shape) > 1 else 0
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": smoothing}
    if weighted:
        options["weight"] = 0.5 + np.arange(shape[axis])
    target = reference.softmax(normal(8, *shape), axis)
    check(3 * normal(7, *shape), target, **options)


def test_nothing_but_ignored_labels() -> None:
    check(normal(9, 3, 4), np.full(3, -100))
    check(normal(9, 3, 4), np.full(3, -100), label_smoothing=0.1)


def test_impossible_class_costs_nothing_unless_it_is_the_label() -> None:
    """A logarithm of 0 counts only if a label names the class."""
    logits = np.array([[0.0, -np.inf, 0.0], [0.0, -np.inf, 0.0]])
    losses = reference.cross_entropy(logits, np.array([0, 1]), reduction="none")
    assert losses[1] == np.inf
    assert within(losses[0], np.log(2), np.log(2), 20)


def test_uniform_logits_cost_the_logarithm_of_the_number_of_classes() -> None:
    loss = reference.cross_entropy(np.zeros((4, 8)), np.array([0, 7, 3, 3]))
    assert loss.shape == ()
    assert within(loss, 3 * np.log(2), 3, 20)
