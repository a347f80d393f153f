"""A layer's public interface, as data beside its formula: function, module, arguments and their binding.

This module computes nothing. ``svertka.codegen`` turns a ``Definition`` into kernels, a function with torch's
signature, a ``torch.nn`` module, the checks of its arguments and their error messages.

Every symbol named here is a symbol of the formula: a parameter (``stride_h``), or an axis's extent (``R``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Expr
from sympy.logic.boolalg import Boolean

from svertka.spec.layer import Layer

__all__ = [
    "Argument",
    "Choice",
    "Definition",
    "Dimension",
    "ElementType",
    "Equivalent",
    "Facade",
    "Flag",
    "ModuleFace",
    "Older",
    "Padding",
    "Part",
    "PerAxis",
    "Real",
    "Required",
    "Rule",
    "Seed",
    "Setting",
    "TensorArgument",
    "TrailingShape",
    "Variant",
    "Whole",
    "facades_of",
    "with_facades",
]


class Required:
    """Marks an argument without default."""

    def __repr__(self) -> str:
        return "REQUIRED"

    def __reduce__(self) -> str:
        return "REQUIRED"  # one object, also after unpickling in another process


REQUIRED = Required()


@dataclass(frozen=True, kw_only=True)
class Argument:
    """An argument of the public function, in torch's order.

    Attributes:
        name: its name in the signature.
        default: its default; ``REQUIRED`` if it has none. For ``PerAxis``, the name of another argument in
            angle brackets (``"<kernel_size>"``) stands for that argument's value when None is given.
    """

    name: str
    default: Any = REQUIRED


@dataclass(frozen=True, kw_only=True)
class TensorArgument(Argument):
    """A tensor of the formula, bound by its name; optional where the formula's tensor has a default.

    Attributes:
        tensor: name of the formula's tensor if it differs from the argument's.
        differentiable: whether a gradient is offered (if it is real).
        updated_by: name of the output that replaces its contents, for state such as running estimates.
        unbatched: whether the first dimension may be left out (torch's unbatched input).
        labels_below: extent that integer values must stay below, or None.
        ignored: name of an argument whose value is allowed as a label too, or None.
        integers: whether integers are accepted for a real tensor too; results then have their type.
        shapeless: whether an empty tensor with too few dimensions is returned unchanged.
    """

    tensor: str = ""
    differentiable: bool = True
    updated_by: str = ""
    unbatched: bool = False
    labels_below: str = ""
    ignored: str = ""
    integers: bool = False
    shapeless: bool = False

    @property
    def bound(self) -> str:
        """Name of the formula's tensor."""
        return self.tensor or self.name


@dataclass(frozen=True, kw_only=True)
class PerAxis(Argument):
    """An integer, or one per spatial axis (``stride=(2, 1)``); ``symbols`` has the formula's symbols, one per axis.

    Attributes:
        minimum: least integer.
        missing: what None binds to, for all axes or for one; None if None is not allowed.
    """

    symbols: tuple[str, ...]
    minimum: int = 1
    missing: int | None = None


@dataclass(frozen=True, kw_only=True)
class Padding(Argument):
    """Zero padding: an integer, one per axis, ``(low, high)`` pairs, or a word (see ``named``).

    Attributes:
        low: symbols of the padding before the first element, one per axis.
        high: symbols of the padding after the last element, one per axis; they may occur in ``Definition.extents``
            only.
        named: for ``'same'``: the arguments of kernel extents and dilation,
            ``(extents, dilation symbols, stride symbols)``; empty if words are not allowed. ``'same'`` needs stride 1
            and puts the odd element after the last element, as torch does.
    """

    default: Any = 0
    low: tuple[str, ...]
    high: tuple[str, ...]
    named: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Whole(Argument):
    """An integer bound to ``symbol``, at least ``minimum``; ``optional``: None binds to ``missing``, else invalid."""

    symbol: str
    minimum: int | None = None
    optional: bool = False
    missing: int = 0


@dataclass(frozen=True, kw_only=True)
class Real(Argument):
    """A real number bound to ``symbol``, ``low <= value < high`` (None: unbounded; ``closed``: <=).

    Attributes:
        varies: it changes from call to call (momentum, a schedule), so a kernel must not be specialized for its value.
        epsilon: None stands for the machine epsilon of the type in which kernels compute: float64 for float64, else
            float32.
    """

    symbol: str
    low: float | None = None
    high: float | None = None
    closed: bool = False
    varies: bool = False
    epsilon: bool = False


@dataclass(frozen=True, kw_only=True)
class Flag(Argument):
    """True or False; selects a ``Variant`` or, with ``symbol``, binds 1 or 0.

    Attributes:
        in_place: with this flag the result overwrites the first tensor.
    """

    symbol: str = ""
    in_place: bool = False


@dataclass(frozen=True, kw_only=True)
class Choice(Argument):
    """One of several words; selects a ``Variant``."""

    choices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Dimension(Argument):
    """The tensor dimension that an axis of the formula stands for.

    The formula's tensors then have three axes (before, ``axis``, behind); the first and the last have ``many=True``.
    """

    axis: str
    tensors: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TrailingShape(Argument):
    """The extents of a tensor's last dimensions, at least one, for which an axis of the formula with ``many`` stands.

    A tensor of the formula that has two such axes then has nothing but these: those before, and ``axis``.
    """

    axis: str


@dataclass(frozen=True, kw_only=True)
class ElementType(Argument):
    """The dtype into which a tensor is converted first; None leaves it as it is."""

    default: Any = None
    tensor: str


@dataclass(frozen=True, kw_only=True)
class Seed(Argument):
    """Seed of a random field; None draws one from torch's default generator."""

    default: Any = None
    symbol: str = "seed"


@dataclass(frozen=True, kw_only=True)
class Setting(Argument):
    """An argument of a ``Facade``, which the facade's statements read.

    Attributes:
        annotation: its type, as Python.
        meaning: what it is, for the documentation.
        check: name of the helper that refuses values without a tensor, given name and value; empty if there is none.
    """

    annotation: str
    meaning: str
    check: str = ""


@dataclass(frozen=True, kw_only=True)
class Older(Setting):
    """An argument that torch keeps for older code; the formula has none, ``translated`` or ``first`` reads it.

    Attributes:
        behind: name of the argument that it follows in the signature.
    """

    default: Any = None
    behind: str


@dataclass(frozen=True)
class Rule:
    """A condition over the formula's symbols that arguments must satisfy.

    Attributes:
        condition: must be true.
        argument: name of the argument that the message reports, with its value.
        rule: what must hold, in words ("at most half of kernel_size").
        remedy: what to do ("lower padding or enlarge kernel_size").
    """

    condition: Boolean
    argument: str
    rule: str
    remedy: str


@dataclass(frozen=True)
class Variant:
    """A formula and when it applies.

    Attributes:
        layer: the formula; its name is ``<definition>`` or ``<definition>_<variant>``.
        when: values of ``Flag`` and ``Choice`` arguments; for a ``TensorArgument`` the kind ``"integer"`` or
            ``"real"`` of the tensor that was given, or None if it must not be given.
        rules: conditions that hold for this variant only.
    """

    layer: Layer
    when: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Equivalent:
    """A torch module that computes the same as a module of svertka, under a condition.

    Attributes:
        base: torch's class.
        names: the attribute of the torch module, by the attribute of svertka's module, where they differ.
        when: the condition as a Python expression; ``self`` is the torch module.
    """

    base: str
    names: Mapping[str, str]
    when: str


@dataclass(frozen=True)
class ModuleFace:
    """The layer as a module.

    Attributes:
        name: class name.
        base: torch's class to subclass, or ``"torch.nn.Module"``: then the constructor takes the function's arguments
            except the tensors, with their defaults, and keeps them as attributes.
        like: torch's class that has the same constructor and state but is not a base class, so that no tool treats the
            module as that class (batch norm with ReLU must not be folded like batch norm); ``base`` is then a common
            base class of both.
        constructor: Python statements that define ``__init__``, if it differs from the base's.
        call: expressions, by argument, that forward passes to the function; ``self.<argument>`` for arguments not named
            here.
        before: Python statements that forward runs first (``self`` and ``input`` in scope).
        after: Python statements that forward runs last (``output`` in scope too).
        fixed: attributes of torch's class that must have one value because the formula supports no other, with that
            value.
        buffers: with base ``"torch.nn.Module"``: optional tensor arguments that the constructor takes as well (a
            tensor, a sequence of numbers, or None) and registers as buffers.
        takes: tensor arguments of each call, in addition to those that the forward of torch's class takes.
        options: further arguments of each call that are no tensors, with their annotation and default as Python;
            ``before`` and ``call`` say what they do.
        parameters: with base ``"torch.nn.Module"``: tensor arguments that the module holds as ``torch.nn.Parameter``,
            with their initial number; None means the tensor's default, or a uniform draw within 1 / sqrt(fan in). The
            constructor takes their extents.
        attributes: attributes of torch's class that say an argument of ``call``, as Python over the function's
            arguments.
        dims: number of dimensions of an input for which it computes the function, if it takes another number for an
            input without its first dimension; 0 if that is not so.
        equivalents: torch modules, in addition to ``base``, that compute the same under a condition.
    """

    name: str
    base: str = "torch.nn.Module"
    like: str = ""
    constructor: tuple[str, ...] = ()
    call: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    buffers: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, float | None] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    dims: int = 0
    equivalents: tuple[Equivalent, ...] = ()


@dataclass(frozen=True, eq=False)
class Facade:
    """A function that calls functions of several definitions: one of torch whose tensors have various ranks.

    Attributes:
        function: its name.
        title, source: as of a definition.
        arguments: its arguments in order; ``TensorArgument``, ``Choice``, ``Flag`` and ``Setting``.
        shape: the first tensor's shape and the result's, for the documentation.
        calls: functions that it calls.
        helpers: functions of ``arguments`` that its statements call.
        body: Python statements, from checks to the result's return.
        modules: the function as one or several modules.
    """

    function: str
    title: str
    source: str
    arguments: tuple[Argument, ...]
    shape: str
    calls: tuple[str, ...]
    helpers: tuple[str, ...]
    body: tuple[str, ...]
    modules: tuple[ModuleFace, ...] = ()

    @property
    def tensor_arguments(self) -> tuple[TensorArgument, ...]:
        """The arguments that are tensors."""
        return tuple(argument for argument in self.arguments if isinstance(argument, TensorArgument))

    @property
    def signature(self) -> tuple[Argument, ...]:
        """The parameters of the function."""
        return self.arguments


@dataclass(frozen=True)
class Definition:
    """A layer with its public interface.

    Attributes:
        name: name of the module of its kernels, an identifier.
        title: one line of documentation.
        source: slide, paper or torch function.
        variants: formulas; the first whose ``when`` matches is used.
        function: name of the public function.
        arguments: its arguments in order; tensors among them.
        result: names of the outputs that the function returns, in order (state outputs are not returned).
        extents: extents and integer parameters that neither a tensor's shape nor an argument gives, over the formula's
            symbols and the ``high`` paddings; in the order in which they can be computed.
        rules: conditions for every variant.
        identity_when: argument values; with any of them the function returns its first tensor unchanged.
        modules: the layer as one or several modules (``BatchNorm1d``, ``BatchNorm2d``).
        optional_results: ``Flag`` argument by name of the output that it adds to the results (``return_indices``).
        reference: name of the functions of ``svertka.reference`` that compute it and, with ``_backward``, its gradient;
            empty if there are none: on the CPU the formula itself is then evaluated.
        orders: how often it can be differentiated: 2 generates kernels for the gradient of the gradient too.
        parts: the parts of a composed layer, in order; empty for others.
        gradient: whether it is the gradient of another definition.
        facades: functions that call this definition's and others'; a package has those whose calls it has all.
        autocast: the type of its tensors under ``torch.autocast``, where torch's differs from what follows from the
            formula's operations: ``"lowered"``, ``"full"`` (float32) or ``"kept"``.
        older: arguments of torch's function that are none of the formula.
        translated: Python statements that the function runs first: they say by arguments of the formula what ``older``
            ones mean, and read no others. A fused layer runs them too.
        first: Python statements that the function runs behind these: what else is meant by ``older``, and inputs with
            fewer dimensions than the formula knows.
        row_major: whether the first tensor is made row-major, and with it results and gradients, where torch's are
            row-major for images of every memory format.
    """

    name: str
    title: str
    source: str
    variants: tuple[Variant, ...]
    function: str
    arguments: tuple[Argument, ...]
    result: tuple[str, ...] = ("output",)
    extents: Mapping[str, Expr] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    identity_when: Mapping[str, Any] = field(default_factory=dict)
    modules: tuple[ModuleFace, ...] = ()
    optional_results: Mapping[str, str] = field(default_factory=dict)
    reference: str = ""
    orders: int = 1
    parts: tuple[Part, ...] = ()
    gradient: bool = False
    autocast: str = ""
    older: tuple[Older, ...] = ()
    translated: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    row_major: bool = False
    facades: tuple[Facade, ...] = ()

    @property
    def tensor_arguments(self) -> tuple[TensorArgument, ...]:
        """The arguments that are tensors."""
        return tuple(argument for argument in self.arguments if isinstance(argument, TensorArgument))

    @property
    def signature(self) -> tuple[Argument, ...]:
        """The parameters of the function: the arguments, and older ones between them."""
        behind = {a.name: [one for one in self.older if one.behind == a.name] for a in self.arguments}
        return tuple(one for argument in self.arguments for one in (argument, *behind[argument.name]))

    def differentiable(self, layer: Layer) -> tuple[str, ...]:
        """The real tensors of one of the formulas for which a gradient is offered, in the order of the arguments.

        None if no result is real: positions have no gradient.
        """
        if not self.real_results(layer):
            return ()
        real = {tensor.name for tensor in layer.inputs if tensor.kind == "real"}
        return tuple(a.bound for a in self.tensor_arguments if a.differentiable and a.bound in real)

    def real_results(self, layer: Layer) -> tuple[str, ...]:
        """The real results of one of the formulas: those that have an output gradient."""
        tensors = layer.tensors
        return tuple(name for name in self.result if name in tensors and tensors[name].kind == "real")


@dataclass(frozen=True)
class Part:
    """A layer within a composed one.

    Attributes:
        definition: the layer.
        into: its tensor argument that the part before it computes; for the first part, the composed layer's input.
    """

    definition: Definition
    into: str = "input"


def with_facades(definitions: Sequence[Definition]) -> tuple[Definition | Facade, ...]:
    """A package's definitions and their facades: all that has a function and modules."""
    return (*definitions, *facades_of(definitions))


def facades_of(definitions: Sequence[Definition]) -> list[Facade]:
    """The facades of a package's definitions: those whose calls it has all."""
    functions = {definition.function for definition in definitions}
    every = dict.fromkeys(facade for definition in definitions for facade in definition.facades)
    return [facade for facade in every if functions.issuperset(facade.calls)]
