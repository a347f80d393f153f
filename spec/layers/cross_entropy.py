"""Cross-entropy of a softmax and a target, based on slide 18.

The loss of an example is minus the sum over the classes of target times log-probability, with a weight per class. A
label stands for the target that is 1 at its class; ``label_smoothing`` spreads that share of the target over all
classes. An example whose label is ``ignore_index`` adds nothing to a sum, and nothing to the weight that a mean divides
by.
"""

from __future__ import annotations

from sympy import Eq, Expr, Gt, Lt, exp, log

from svertka.spec.definition import Choice, Definition, ModuleFace, Older, Real, Rule, TensorArgument, Variant, Whole
from svertka.spec.layer import Equation, Layer
from svertka.spec.notation import Select, Sum, Tensor, axis, integer, number

__all__ = ["DEFINITIONS"]

n = axis("n", "examples", batch=True)
k = axis("k", "classes")
m = axis("m", "elements of an example", many=True)
j = k.twin("j")
x = Tensor("input", n, k, m)
label = Tensor("target", n, m, kind="integer")
share = Tensor("target", n, k, m)
weight = Tensor("weight", k, default=1, above=0)
log_probability = Tensor("log_probability", n, k, m)
loss = Tensor("loss", n, m)
kept = Tensor("kept", n, m)
label_smoothing = number("label_smoothing")
ignore_index = integer("ignore_index")

is_label = Eq(label[n, m], k)
is_ignored = Eq(label[n, m], ignore_index)
weighted = weight[k] * log_probability[n, k, m]

LOG_SOFTMAX = Equation(log_probability, x[n, k, m] - log(Sum(exp(x[n, j, m]), j)))

# An infinite log-probability (a masked class) does not enter the loss unless target or smoothing has a share there.
at_label = Sum(Select(is_label, weighted, 0), k)
at_every_class = Select(Gt(label_smoothing, 0), label_smoothing / k.extent * Sum(weighted, k), 0)
LABELS = (
    LOG_SOFTMAX,
    Equation(loss, Select(is_ignored, 0, -(1 - label_smoothing) * at_label - at_every_class)),
    Equation(kept, Select(is_ignored, 0, Sum(Select(is_label, weight[k], 0), k))),
)
smoothed = (1 - label_smoothing) * share[n, k, m] + label_smoothing / k.extent
PROBABILITIES = (LOG_SOFTMAX, Equation(loss, -Sum(weighted * smoothed, k)))


NO_LABELS = Rule(
    Lt(ignore_index, 0), "ignore_index", "negative where the target holds probabilities", "leave it out, or pass labels"
)


def _layer(name: str, target: Tensor, reduction: str, count: Expr) -> Layer:
    """The loss of labels or probabilities, reduced over the examples."""
    equations = LABELS if target is label else PROBABILITIES
    total = Sum(loss[n, m], n, m)
    reduced = {
        "none": Equation(Tensor("output", n, m), loss[n, m]),
        "sum": Equation(Tensor("output"), total),
        "mean": Equation(Tensor("output"), total / count),
    }
    layer = Layer(name, (x, target, weight), (*equations, reduced[reduction]), ("output",))
    return layer.only(("output",))


def _variants() -> tuple[Variant, ...]:
    found = []
    for target, word, count in (
        (label, "labels", Sum(kept[n, m], n, m)),
        (share, "probabilities", n.extent * m.extent),
    ):
        for reduction in ("mean", "sum", "none"):
            layer = _layer(f"cross_entropy_{word}_{reduction}", target, reduction, count)
            rules = (NO_LABELS,) if target is share else ()
            found.append(Variant(layer, {"target": target.kind, "reduction": reduction}, rules))
    return tuple(found)


def _older(name: str, instead: str, behind: str) -> Older:
    meaning = f"torch's former argument, as reduction says it: False asks for {instead}; deprecated."
    return Older(name=name, annotation="bool | None", meaning=meaning, behind=behind)


DEFINITIONS = (
    Definition(
        name="cross_entropy",
        title="Cross-entropy of scores and a target: class labels, or a probability for every class.",
        source="slide 18; torch.nn.functional.cross_entropy",
        variants=_variants(),
        function="cross_entropy",
        arguments=(
            TensorArgument(name="input", unbatched=True),
            TensorArgument(name="target", unbatched=True, labels_below="K", ignored="ignore_index"),
            TensorArgument(name="weight", default=None, differentiable=False),
            Whole(name="ignore_index", default=-100, symbol="ignore_index"),
            Choice(name="reduction", default="mean", choices=("none", "mean", "sum")),
            Real(
                name="label_smoothing",
                default=0.0,
                symbol="label_smoothing",
                low=0.0,
                high=1.0,
                closed=True,
                varies=True,
            ),
        ),
        older=(_older("size_average", "sums", "weight"), _older("reduce", "single losses", "ignore_index")),
        translated=(
            "if size_average is not None or reduce is not None:",
            "    reduction = legacy_reduction(size_average, reduce)",
        ),
        modules=(ModuleFace("CrossEntropyLoss", base="torch.nn.CrossEntropyLoss"),),
    ),
)
