"""The adjoint of a layer: the exact gradient of every input, in gather form, as a ``Layer`` of its own.

For ``y[i] = Σ f(..., x[M i + c], ...)`` the gradient at ``x[j]`` sums ``grad_y * df/dx`` over all index values that
read ``x[j]``; ``svertka.spec.gather`` solves for them. Conventions, which differ from SymPy's: relu'(0) = 0; the
gradient of a maximum goes to the first maximal element in window order; NaN is maximal, and of several NaN the last
gets it.

Input: a ``Layer``. Output: a ``Layer`` whose inputs are the given layer's inputs and ``grad_<output>``, whose outputs
are ``grad_<input>``, and whose equations recompute the intermediates the gradient needs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import count

from sympy import Add, Basic, DiracDelta, Dummy, Eq, Expr, Function, Integer, Mul, Ne, Pow, Tuple, exp, log
from sympy.core.symbol import Str
from sympy.logic.boolalg import true

from svertka.spec.gather import gather
from svertka.spec.layer import Equation, Layer, reads, walk
from svertka.spec.multiples import Terms
from svertka.spec.normal_form import normal_form
from svertka.spec.notation import Divides, FloorDiv, Index, InRange, Read, Reduction, Select, Tensor
from svertka.spec.products import other_factors
from svertka.spec.rewrite import conditions, conjunction, fresh, linear_position, rebuilt, replace, substitute
from svertka.spec.window import window_extents

__all__ = ["adjoint", "gradient_name", "gradient_of", "partial_derivative", "unused_prefix"]


def gradient_name(tensor: str, prefix: str = "grad") -> str:
    """Name of the gradient with respect to a tensor."""
    return f"{prefix}_{tensor}"


def unused_prefix(layer: Layer, word: str = "grad") -> str:
    """The word, with a number if it is taken: ``adjoint(adjoint(layer))`` names its gradients ``grad2_...``."""
    prefixes = (word if number == 1 else f"{word}{number}" for number in count(1))
    return next(p for p in prefixes if not any(name.startswith(f"{p}_") for name in layer.tensors))


def gradient_of(layer: Layer, tensor: str) -> str:
    """Name that ``adjoint(layer)`` gives the gradient with respect to a tensor."""
    return gradient_name(tensor, unused_prefix(layer))


def partial_derivative(value: Expr, read: Read) -> Expr:
    """Derivative of a reduction-free expression by one of the elements it reads."""
    element = Dummy("element", real=True)
    found = rebuilt(rebuilt(replace(value, {read: element}), _as_raised).diff(element), _as_power)
    steps = {node: Integer(0) for node in walk(found) if isinstance(node, DiracDelta)}  # sign has derivative 0 at 0 too
    return replace(replace(found, steps), {element: read})


class _Raised(Function):  # type: ignore[misc]
    """A power of what may be 0, to an exponent that is no number; SymPy's derivative divides by the base."""

    nargs = 2
    is_real = True

    def fdiff(self, argument: int = 1) -> Expr:
        """Derivative by the base or by the exponent; by the base 0 where the exponent is 0."""
        base, exponent = self.args
        if argument == 2:
            return self * log(base)
        slope = exponent * self.func(base, exponent - 1)
        return slope if exponent.is_nonzero else Select(Ne(exponent, 0), slope, 0)


def _as_raised(node: Basic) -> Basic:
    if not isinstance(node, Pow) or isinstance(node, exp) or node.exp.is_number or node.base.is_number:
        return node
    may_be_zero = node.exp.is_integer or (node.base.is_nonnegative and not node.base.is_positive)
    return _Raised(node.base, node.exp) if may_be_zero else node


def _as_power(node: Basic) -> Basic:
    return node.args[0] ** node.args[1] if isinstance(node, _Raised) else node


def _weighted(weight: Expr, value: Expr, read: Read) -> Expr:
    """``weight`` times the derivative of a value by one of the elements it reads.

    The branch of a ``Select`` that is not taken contributes 0 to the gradient, even where the weight is infinite or
    NaN.
    """
    if value.is_Add and value.has(Select):
        return Add(*(_weighted(weight, term, read) for term in value.args))
    moving = [factor for factor in Mul.make_args(value) if read in reads(factor)]
    if len(moving) != 1 or not isinstance(moving[0], Select):
        return weight * partial_derivative(value, read)
    condition, *branches = moving[0].args
    if {partial_derivative(branch, read) for branch in branches} <= {Integer(0), Integer(1)}:  # write it as a factor
        return weight * partial_derivative(value, read)
    others = Mul(*(factor for factor in Mul.make_args(value) if factor is not moving[0]))
    return Select(condition, *(_weighted(weight * others, branch, read) for branch in branches))


def adjoint(layer: Layer, wrt: Iterable[str] | None = None, outputs: Iterable[str] | None = None) -> Layer:
    """Derive the gradient layer.

    Args:
        layer: the layer to differentiate.
        wrt: inputs whose gradients are wanted; all real inputs by default.
        outputs: outputs whose gradients are given; all real outputs by default.

    Returns:
        The layer ``<name>_adjoint``: inputs of ``layer`` as needed and ``grad_<output>``, outputs ``grad_<input>`` in
        the order of ``wrt`` (for a gradient layer: ``grad2_``, see ``unused_prefix``). An input on which no output
        depends gets the gradient 0.

    Raises:
        ValueError: ``wrt`` or ``outputs`` has a name that the layer does not have, or the name of an integer tensor.
    """
    wanted = _real(layer, [t.name for t in layer.inputs], wrt, "input")
    given = _real(layer, list(layer.outputs), outputs, "output")
    return _adjoint(layer, tuple(wanted), tuple(given))


@lru_cache(maxsize=512)  # kernels, proofs and pages ask for the same adjoint
def _adjoint(layer: Layer, wanted: tuple[str, ...], given: tuple[str, ...]) -> Layer:
    if not wanted:
        return Layer(f"{layer.name}_adjoint", (), (), ())
    primal = normal_form(layer)
    sweep = _Sweep(primal, set(wanted))
    seeds = []
    for name in given:
        tensor = primal.tensors[name]
        seed = Tensor(gradient_name(name, sweep.prefix), *tensor.dims)
        seeds.append(seed)
        sweep.contributions[name] = [seed[tensor.axes]]
    for equation in reversed(primal.equations):
        sweep.visit(equation)
    for name in wanted:
        sweep.close(primal.tensors[name])
    equations = (*primal.equations, *sweep.positions, *sweep.equations)
    inputs = (*layer.inputs, *seeds)
    names = tuple(gradient_name(name, sweep.prefix) for name in wanted)
    return Layer(f"{layer.name}_adjoint", inputs, equations, names).only(names)


def _real(layer: Layer, every: list[str], chosen: Iterable[str] | None, what: str) -> list[str]:
    real = [name for name in every if layer.tensors[name].kind == "real"]
    if chosen is None:
        return real
    names = list(chosen)
    for name in names:
        if name not in real:
            raise ValueError(f"adjoint of {layer.name}: {name!r} is no real {what}; it has {', '.join(real) or 'none'}")
    return names


class _Sweep:
    """One reverse pass over a layer in normal form."""

    def __init__(self, layer: Layer, wanted: set[str]) -> None:
        self.layer = layer
        self.prefix = unused_prefix(layer)
        self.contributions: dict[str, list[Expr]] = {}
        self.equations: list[Equation] = []
        self.positions: list[Equation] = []
        self._active = self._depending_on(wanted)

    def _depending_on(self, wanted: set[str]) -> set[str]:
        active = set(wanted)
        for equation in self.layer.equations:
            if any(read.tensor in active for read in reads(equation.value)):
                active.add(equation.target.name)
        return active

    def visit(self, equation: Equation) -> None:
        """Distribute the gradient of an equation's target over the tensors that its value reads."""
        target = equation.target
        if target.name not in self._active or target.name not in self.contributions:
            return
        gradient = self.close(target)[target.axes]
        value = equation.value
        if isinstance(value, Reduction):
            value, bound = self._unbound(value, target)
            weight = gradient * self._share(value, target)
            self._spread(value.body, weight, target.axes, bound, conditions(value.guard))
        else:
            self._spread(value, gradient, target.axes, (), ())

    def close(self, tensor: Tensor) -> Tensor:
        """Write the equation that sums all contributions to a tensor's gradient."""
        parts = self.contributions.get(tensor.name, [])
        name = gradient_name(tensor.name, self.prefix)
        if parts and isinstance(parts[0], Read) and parts[0].tensor == name:  # the gradient of an output is given
            if len(parts) == 1:
                return Tensor(name, *tensor.dims)
            name = f"{name}_total"  # and other equations read that output too
        gradient = Tensor(name, *tensor.dims)
        if any(e.target == gradient for e in self.equations):
            return gradient
        self.equations.append(Equation(gradient, Add(*parts) if parts else Integer(0)))
        return gradient

    def _unbound(self, value: Reduction, target: Tensor) -> tuple[Reduction, tuple[Index, ...]]:
        """The reduction with new bound indices, different from all indices of the tensors."""
        taken = {*target.axes, *(i for t in self.layer.tensors.values() for i in t.axes)}
        renamed: list[Index] = []
        for index in value.indices:
            renamed.append(fresh(index, (*taken, *renamed)))
        mapping = dict(zip(value.indices, renamed, strict=True))
        body, guard = substitute(value.body, mapping), substitute(value.guard, mapping)
        return Reduction(value.args[0], body, guard, Tuple(*renamed)), tuple(renamed)

    def _share(self, value: Reduction, target: Tensor) -> Expr:
        """The part of a reduction's gradient that one of its elements gets."""
        if value.operation == "sum":
            return Integer(1)
        if value.operation == "product":
            return other_factors(value, (*target.axes, *(i for t in self.layer.tensors.values() for i in t.axes)))
        if value.operation == "argmax":
            return Integer(0)
        position = self._position(Reduction(Str("argmax"), *value.args[1:]), target)
        return Select(Eq(position[target.axes], linear_position(value.indices)), 1, 0)

    def _position(self, argmax: Reduction, target: Tensor) -> Tensor:
        """The tensor of the positions of the maxima; the layer's own tensor if it computes one."""
        for equation in (*self.layer.equations, *self.positions):
            if equation.target.axes == target.axes and equation.value == argmax:
                return equation.target
        position = Tensor(f"{target.name}_position", *target.axes, kind="integer")
        self.positions.append(Equation(position, argmax))
        return position

    def _spread(
        self,
        body: Expr,
        weight: Expr,
        free: tuple[Index, ...],
        bound: tuple[Index, ...],
        guards: tuple[Expr, ...],
    ) -> None:
        for read in reads(body):
            if read.tensor not in self._active or read.args[1].name == "integer":
                continue
            term = _weighted(weight, body, read)
            if term != 0:
                self._contribute(read, term, free, bound, guards)

    def _contribute(
        self,
        read: Read,
        term: Expr,
        free: tuple[Index, ...],
        bound: tuple[Index, ...],
        guards: tuple[Expr, ...],
    ) -> None:
        """Add ``term``, for all index values, to the gradient of the element that it reads."""
        tensor = self.layer.tensors[read.tensor]
        taken: list[Index] = list(tensor.axes)
        apart: dict[Index, Index] = {}
        for index in (*free, *bound):
            apart[index] = fresh(index, taken)
            taken.append(apart[index])
        own = tuple(apart[i] for i in free), tuple(apart[i] for i in bound)
        places = substitute(read, apart)
        met = [substitute(guard, apart) for guard in guards]
        solved = gather(places.indices, tensor.axes, *own, known=met, windows=window_extents(self.layer))
        here = tensor[tensor.axes]
        moved = replace(substitute(term, apart), {places: here})
        moved = substitute(moved, solved.solution)
        old = (substitute(_at(guard, places, here), solved.solution) for guard in met)
        names = {apart[i]: i for i in (*free, *bound)}
        terms = Terms(moved, conditions(conjunction([*solved.guards, *old])), solved.remaining, names)
        known = [index for one in self.layer.tensors.values() for index in one.axes]
        self.contributions.setdefault(tensor.name, []).append(_summed(terms.by_quotients(known, taken), tensor.axes))


def _at(guard: Expr, places: Read, here: Read) -> Expr:
    """Conditions that hold at an element because the read lies inside its tensor, or its index is whole."""
    implied = {
        InRange(e, extent): InRange(i, extent)
        for e, i, extent in zip(places.indices, here.indices, here.extents, strict=True)
    }
    implied |= {Divides(e.args[1], e.args[0]): true for e in places.indices if isinstance(e, FloorDiv)}
    return replace(guard, {k: v for k, v in implied.items() if k.args})


def _summed(terms: Terms, axes: tuple[Index, ...]) -> Expr:
    guard = conjunction(terms.conditions)
    if not terms.indices:
        return Select(guard, terms.value, 0)
    mapping: dict[Index, Index] = {}
    for index in terms.indices:
        mapping[index] = fresh(terms.named[index], (*axes, *mapping.values()))
    term, guard = substitute(terms.value, mapping), substitute(guard, mapping)
    return Reduction(Str("sum"), term, guard, Tuple(*(mapping[i] for i in terms.indices)))
