"""Two networks with the same weights: their results, and the largest difference that rounding alone can cause.

The bound is measured in torch itself. In float32 its network differs from its own float64 results by some amount,
tensor by tensor; rounding errors are proportional to the unit roundoff, so in float64 the same computation has 2^29
times smaller errors, and rounding the result itself is no less than a unit roundoff of its largest element. Another
order of summation can be worse: a sum of n terms errs in any order by less than n units of roundoff, and in none by
less than one for its result, so orders differ by at most n, the longest sum in the network. Two computations have
errors, not one. So

    bound = 2 n 2^-29 (largest |float32 - float64| + 2^-24 largest |float64|)

for each output, each gradient and each buffer; nothing in it was chosen from results. A computation in float32 has the
same bound without the 2^-29.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils import _pytree

__all__ = ["Bounds", "Results", "bounds", "longest_sum", "results", "still"]

Named = Mapping[str, Tensor]
SCALE = 2.0**-29
ROUNDOFF = 2.0**-24


@dataclass(frozen=True)
class Results:
    """The results of a network: outputs, gradients of input and parameters, and its buffers afterwards."""

    outputs: Named
    gradients: Named
    buffers: Named

    def parts(self) -> Iterator[tuple[str, Named]]:
        """The three by name."""
        yield from (("outputs", self.outputs), ("gradients", self.gradients), ("buffers", self.buffers))


@dataclass(frozen=True)
class Bounds:
    """Results of torch's network, and the largest allowed differences from them."""

    expected: Results
    allowed: Mapping[str, Mapping[str, float]]

    def check(self, found: Results) -> tuple[dict[str, float], float]:
        """Check that every result is within its bound.

        Returns:
            The largest difference by part, and the largest share of a bound.
        """
        largest, share = {}, 0.0
        for (part, theirs), (_, ours) in zip(self.expected.parts(), found.parts(), strict=True):
            assert ours.keys() == theirs.keys()
            largest[part] = 0.0
            for name, value in theirs.items():
                assert ours[name].dtype == value.dtype
                assert ours[name].shape == value.shape
                difference = float((ours[name] - value).abs().max()) if value.numel() else 0.0
                allowed = self.allowed[part][name]
                assert difference <= allowed, (part, name, difference, allowed)
                largest[part] = max(largest[part], difference)
                share = max(share, difference / allowed if allowed else 0.0)
        return largest, share


def bounds(network: nn.Module, images: Tensor, dtype: torch.dtype = torch.float64) -> Bounds:
    """Results of torch's network in float64, and the largest change by rounding in a type."""
    single = results(copy.deepcopy(network).float(), images.float())
    expected = results(network, images)
    factor = 2 * longest_sum(network, images) * (SCALE if dtype == torch.float64 else 1.0)
    allowed = {
        part: {name: factor * _rounding(value, dict(single.parts())[part][name]) for name, value in theirs.items()}
        for part, theirs in expected.parts()
    }
    return Bounds(expected, allowed)


def _rounding(exact: Tensor, rounded: Tensor) -> float:
    if not exact.numel() or not exact.is_floating_point():
        return 0.0
    return float((rounded.double() - exact).abs().max() + ROUNDOFF * exact.abs().max())


def longest_sum(network: nn.Module, images: Tensor) -> int:
    """The largest number of terms of one sum: over a filter, or over all positions of all examples."""
    filters = [p[0].numel() for p in network.parameters() if p.dim() > 1]
    return max(*filters, images.shape[0] * images[0, 0].numel(), 1)


def results(network: nn.Module, images: Tensor) -> Results:
    """Run a network forward and backward on its own copy of the images; parameters keep their gradients."""
    torch.manual_seed(7)  # random layers that are torch's in both networks draw the same
    network.zero_grad()
    given = images.clone().requires_grad_()
    found = [one for one in _pytree.tree_leaves(network(given)) if isinstance(one, Tensor) and one.requires_grad]
    assert found
    weighted = [(one * _weights(one)).sum() for one in found]
    torch.stack(weighted).sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    assert given.grad is not None
    outputs = {str(place): one.detach() for place, one in enumerate(found)}
    buffers = {name: one.detach().clone() for name, one in network.named_buffers()}
    return Results(outputs, {"input": given.grad, **{k: g.clone() for k, g in gradients.items()}}, buffers)


def _weights(like: Tensor) -> Tensor:
    """Fixed numbers, so that no gradient is 0 because of symmetry; the same in every type."""
    generator = torch.Generator().manual_seed(3)
    return torch.rand(like.shape, generator=generator, dtype=torch.float32).to(like.dtype)


@contextmanager
def still(network: nn.Module) -> Iterator[None]:
    """Dropout keeps everything, because its random field differs from torch's."""
    drops = [(one, one.training) for one in network.modules() if isinstance(one, nn.Dropout)]
    for one, _ in drops:
        one.eval()
    try:
        yield
    finally:
        for one, training in drops:
            one.train(training)
