"""Steps that stand between layers: sums, means and maxima over channels or places, and maps with learnt numbers.

Channels are the second dimension; a result has no dimension that was reduced.
"""

from sympy import exp, log, sqrt, tanh

from svertka.spec import Equation, Layer, Max, Sum, Tensor, axis, define, maximum, minimum, number, softplus

n, c = axis("n", "examples", batch=True), axis("c", "channels")
d, h, w = axis("d", "depth"), axis("h", "height"), axis("w", "width")
s, i = axis("s", "places", many=True), axis("i", "elements", many=True)
j, t = c.twin("j"), s.twin("t")
x, y = Tensor("input", n, c, s), Tensor("output", n, c, s)
per_example, per_channel, per_place = Tensor("output", n), Tensor("output", n, c), Tensor("output", n, s)

# The product of a batch of vectors with a matrix

k = axis("k", "inputs")
vectors, weight, bias = Tensor("input", n, k), Tensor("weight", c, k), Tensor("bias", c, default=0)
product = Sum(vectors[n, k] * weight[c, k], k) + bias[c]
gemm = Layer("gemm", (vectors, weight, bias), (Equation(per_channel, product),), ("output",))

# Maps with a number for every channel, or one for all

shift, scale, one = Tensor("shift", c), Tensor("scale", c), Tensor("one")
channel_add = Layer("channel_add", (x, shift), (Equation(y, x[n, c, s] + shift[c]),), ("output",))
channel_subtract = Layer("channel_subtract", (x, shift), (Equation(y, x[n, c, s] - shift[c]),), ("output",))
channel_scale = Layer("channel_scale", (x, scale), (Equation(y, x[n, c, s] * scale[c]),), ("output",))

element, mapped = Tensor("input", i), Tensor("output", i)
add_one = Layer("add_one", (element, one), (Equation(mapped, element[i] + one[()]),), ("output",))
scale_by_one = Layer("scale_by_one", (element, one), (Equation(mapped, element[i] * one[()]),), ("output",))

amount = number("amount")
shifted = Layer("shifted", (element,), (Equation(mapped, element[i] + amount),), ("output",))
at_most = Layer("at_most", (element,), (Equation(mapped, minimum(element[i], amount)),), ("output",))

# Maps with another tensor

other = Tensor("other", i)
add = Layer("add", (element, other), (Equation(mapped, element[i] + other[i]),), ("output",))
add_multiply = Layer(
    "add_multiply", (element, other), (Equation(mapped, (element[i] + other[i]) * other[i]),), ("output",)
)

# Products of an element with an activation of itself

mish = element[i] * tanh(softplus(element[i]))
times_mish = Layer("times_mish", (element,), (Equation(mapped, element[i] * mish),), ("output",))
hardswish = element[i] * minimum(maximum(element[i] + 3, 0), 6) / 6
times_hardswish = Layer("times_hardswish", (element,), (Equation(mapped, element[i] * hardswish),), ("output",))

# Over channels

channel_sum = Layer("channel_sum", (x,), (Equation(per_place, Sum(x[n, c, s], c)),), ("output",))
channel_min = Layer("channel_min", (x,), (Equation(per_place, -Max(-x[n, c, s], c)),), ("output",))
every = Sum(exp(x[n, j, s]), j)
channel_logsumexp = Layer("channel_logsumexp", (x,), (Equation(per_place, log(every)),), ("output",))
channel_softmax = Layer("channel_softmax", (x,), (Equation(y, exp(x[n, c, s]) / every),), ("output",))

# Over places, or all of an example

place_mean = Layer("place_mean", (x,), (Equation(per_channel, Sum(x[n, c, s], s) / s.extent),), ("output",))
all_of_one = Sum(x[n, c, s], c, s) / (c.extent * s.extent)
example_mean = Layer("example_mean", (x,), (Equation(per_example, all_of_one),), ("output",))
around_mean = x[n, c, s] - Sum(x[n, c, t], t) / s.extent
without_mean = Layer("without_mean", (x,), (Equation(y, around_mean),), ("output",))
share = exp(x[n, c, s]) / Sum(exp(x[n, c, t]), t)
place_softmax = Layer("place_softmax", (x,), (Equation(y, share),), ("output",))

# Over one of several dimensions

volume, area = Tensor("input", n, c, d, h, w), Tensor("output", n, c, h, w)
depth_mean = Layer("depth_mean", (volume,), (Equation(area, Sum(volume[n, c, d, h, w], d) / d.extent),), ("output",))
depth_min = Layer("depth_min", (volume,), (Equation(area, -Max(-volume[n, c, d, h, w], d)),), ("output",))
image, row = Tensor("input", n, h, w), Tensor("output", n, w)
row_sum = Layer("row_sum", (image,), (Equation(row, Sum(image[n, h, w], h)),), ("output",))

# Normalization of an example's features

features, normalized = Tensor("input", n, c), Tensor("output", n, c)
mean, variance, eps = Tensor("mean", n), Tensor("variance", n), number("eps", positive=True)
feature_norm = define(
    Layer(
        "feature_norm",
        (features,),
        (
            Equation(mean, Sum(features[n, c], c) / c.extent),
            Equation(variance, Sum((features[n, c] - mean[n]) ** 2, c) / c.extent),
            Equation(normalized, (features[n, c] - mean[n]) / sqrt(variance[n] + eps)),
        ),
        ("output",),
    ),
    defaults={"eps": 1e-5},
)
