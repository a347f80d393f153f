"""The torch API of a package as source: functions, modules, and the support code that they call.

Input: ``Definition``s. Output: unformatted Python, by file.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from inspect import signature

from svertka.codegen.emit.render import environment
from svertka.codegen.lowering.build import KernelModule
from svertka.codegen.torch_api.lines import Body, helpers_in
from svertka.codegen.torch_api.operators import (
    OperatorDescription,
    gradient_operator,
    kinds_of,
    may_be_absent,
    operator_of,
)
from svertka.codegen.torch_api.wrapper import function_body
from svertka.spec.define import argument_name
from svertka.spec.definition import (
    REQUIRED,
    Argument,
    Choice,
    Definition,
    Dimension,
    ElementType,
    Flag,
    ModuleFace,
    Padding,
    PerAxis,
    Real,
    Seed,
    TensorArgument,
    Whole,
)
from svertka.spec.notation import Tensor

__all__ = [
    "function_path",
    "functional_sources",
    "gradients_source",
    "kernels_package_sources",
    "modules_source",
    "package_source",
    "runtime_sources",
    "signature_of",
]

SUPPORT = (
    "arguments",
    "runtime",
    "library",
    "transforms",
    "autograd",
    "forward_mode",
    "saving",
    "roads",
    "host",
    "views",
    "memory",
    "plans",
    "exporting",
    "convert",
    "fusing",
    "holding",
    "traced",
    "tracing",
)


def runtime_sources() -> dict[str, str]:
    """Support code that is the same for all layers, by path."""
    return {f"{name}.py": environment().get_template(f"{name}.py.jinja").render() for name in SUPPORT}


def kernels_package_sources() -> dict[str, str]:
    """Modules of the kernels' package that hold no layer's kernels, by path."""
    names = {"__init__": "kernels_package", "primitives": "primitives", "interpreting": "interpreting"}
    templates = environment()
    return {f"kernels/{name}.py": templates.get_template(f"{of}.py.jinja").render() for name, of in names.items()}


def function_path(definition: Definition) -> str:
    """Path of a definition's function and operators."""
    return f"functions/{definition.name}.py"


def functional_sources(definitions: Sequence[Definition], modules: Mapping[str, KernelModule]) -> dict[str, str]:
    """Functions with torch's signatures, one module each, and the operators that they call, with their kernels."""
    functions = [_Function(definition, modules) for definition in definitions]
    templates = environment()
    found = {"functional.py": templates.get_template("functional.py.jinja").render(functions=functions)}
    found["functions/__init__.py"] = '"""Functions and their operators: one module a layer."""\n'
    for function in functions:
        imports = {module: helpers_in(module, set(function.body.reads)) for module in ("arguments", "runtime")}
        source = templates.get_template("function.py.jinja").render(function=function, **imports)
        found[function_path(function.definition)] = source
    return found


def gradients_source(definition: Definition, module: KernelModule) -> str:
    """Operators of the gradients of a definition that can be differentiated twice, with their kernels."""
    operators = []
    for place in range(len(definition.variants)):
        name, operator = gradient_operator(definition, place)
        operators.append((name, operator.keeping(module, place)))
    template = environment().get_template("gradients.py.jinja")
    return template.render(operators=operators, function=definition.function)


def modules_source(definitions: Sequence[Definition]) -> str:
    """Modules; those that torch has too are drop-in replacements."""
    modules = [_Module(d, module) for d in definitions for module in d.modules]
    return environment().get_template("modules.py.jinja").render(modules=modules)


def package_source(definitions: Sequence[Definition], on_demand: bool) -> str:
    """The package's ``__init__``: modules by name, imported at their first access."""
    names = sorted(module.name for d in definitions for module in d.modules)
    return environment().get_template("package.py.jinja").render(names=names, on_demand=on_demand)


def _type(argument: Argument, definition: Definition) -> str:
    """Annotation of an argument."""
    if isinstance(argument, TensorArgument):
        return "Tensor | None" if may_be_absent(definition, argument) else "Tensor"
    if isinstance(argument, PerAxis):
        own = "int | Sequence[int]"
        return f"{own} | None" if isinstance(argument.default, str) else own
    if isinstance(argument, Padding):
        own = "int | Sequence[int] | Sequence[tuple[int, int]]"
        return f"{own} | str" if argument.named else own
    if isinstance(argument, Whole):
        return "int | None" if argument.optional else "int"
    if isinstance(argument, Seed | Dimension):  # None: a module of torch may hold it; the call refuses it
        return "int | None"
    return {Real: "float", Flag: "bool", Choice: "str", ElementType: "torch.dtype | None"}[type(argument)]


def _default(argument: Argument) -> str:
    """Default of an argument, as Python."""
    if isinstance(argument.default, str) and argument.default.startswith("<"):
        return "None"
    return repr(argument.default)


def signature_of(definition: Definition) -> str:
    """Parameters of a definition's public function, as Python."""
    return _signature(definition.arguments, definition)


def _signature(arguments: Iterable[Argument], definition: Definition) -> str:
    parts = []
    for argument in arguments:
        default = "" if argument.default is REQUIRED else f" = {_default(argument)}"
        parts.append(f"{argument.name}: {_type(argument, definition)}{default}")
    return ", ".join(parts)


@dataclass(frozen=True)
class _Function:
    """What the template prints of a function."""

    definition: Definition
    modules: Mapping[str, KernelModule] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.definition.function

    @property
    def tensors(self) -> str:
        """Names of its tensors."""
        return ", ".join(a.name for a in self.definition.tensor_arguments)

    @property
    def passed(self) -> str:
        """Its arguments, as it passes them on."""
        return ", ".join(a.name for a in self.definition.arguments)

    @property
    def signature(self) -> str:
        return signature_of(self.definition)

    @cached_property
    def body(self) -> Body:
        return function_body(self.definition, self.operators)

    @property
    def typed(self) -> bool:
        """Whether a dtype is among the arguments."""
        return any(isinstance(argument, ElementType) for argument in self.definition.arguments)

    @cached_property
    def operators(self) -> list[OperatorDescription]:
        module = self.modules[self.definition.name]
        pairs = enumerate(self.definition.variants)
        return [operator_of(self.definition, variant).keeping(module, place) for place, variant in pairs]

    @property
    def result_type(self) -> str:
        one = "Tensor" if len(self.definition.result) == 1 else "tuple[Tensor, ...]"
        return f"{one} | tuple[Tensor, ...]" if self.definition.optional_results else one

    @property
    def equations(self) -> list[str]:
        """The first formula, wrapped."""
        equations = self.definition.variants[0].layer.equations
        texts = [f"{e.target[e.target.axes]} = {e.value}" for e in equations]
        return [line for text in texts for line in textwrap.wrap(text, 100, subsequent_indent="    ")]

    @property
    def arguments(self) -> list[tuple[str, str]]:
        """Every argument with its description."""
        return [(a.name, self._explained(a)) for a in self.definition.arguments]

    def _explained(self, argument: Argument) -> str:
        if isinstance(argument, TensorArgument):
            return self._tensor(argument)
        if isinstance(argument, PerAxis):
            missing = f"; None stands for {argument.default[1:-1]}" if isinstance(argument.default, str) else ""
            many = f" or {len(argument.symbols)}, one an axis," if len(argument.symbols) > 1 else ""
            return f"an integer{many} of at least {argument.minimum}{missing}."
        if isinstance(argument, Padding):
            words = ", or 'same' or 'valid'" if argument.named else ""
            return f"an integer, one an axis, or (low, high) pairs{words}."
        if isinstance(argument, Choice):
            return f"one of {', '.join(map(repr, argument.choices))}."
        if isinstance(argument, Real):
            high = "" if argument.high is None else f", {'at most' if argument.closed else 'less than'} {argument.high}"
            return f"a number{'' if argument.low is None else f', at least {argument.low}'}{high}."
        if isinstance(argument, Dimension):
            return "the dimension to work along; negative ones count from the end."
        if isinstance(argument, ElementType):
            return f"the type into which {argument.tensor} is converted first, also of integers; None keeps its own."
        if isinstance(argument, Seed):
            return "a whole number that fixes the random field; None draws one from torch's default generator."
        if isinstance(argument, Flag) and argument.in_place:
            return "whether the result overwrites the first tensor."
        if isinstance(argument, Flag):
            added = self.definition.optional_results.get(argument.name)
            return f"whether to return {added} too." if added else "True or False."
        return f"an integer{_least(argument)}."

    @property
    def results(self) -> str:
        """The shapes of the results."""
        optional = self.definition.optional_results
        parts = [f"{name} {self._shapes(name)}" for name in self.definition.result]
        parts += [f"with {flag} also {name} {self._shapes(name)}" for flag, name in optional.items()]
        return f"{'; '.join(parts)}."

    def _shapes(self, output: str) -> str:
        layers = [variant.layer for variant in self.definition.variants]
        return " or ".join(dict.fromkeys(_shape(layer.tensors[output]) for layer in layers))

    def _tensor(self, argument: TensorArgument) -> str:
        own = kinds_of(self.definition, argument) | ({"integer"} if argument.integers else set())
        kinds = " or ".join(sorted(own))
        given = [t for v in self.definition.variants for t in v.layer.inputs if t.name == argument.bound]
        shapes = list(dict.fromkeys(_shape(tensor) for tensor in given))
        unbatched = "; the first dimension may be left out" if argument.unbatched else ""
        absent = "; may be None" if may_be_absent(self.definition, argument) else ""
        return f"{kinds} tensor of shape {' or '.join(shapes)}{unbatched}{absent}."


def _least(argument: Argument) -> str:
    if not isinstance(argument, Whole) or argument.minimum is None:
        return ""
    return f" of at least {argument.minimum}{', or None' if argument.optional else ''}"


def _shape(tensor: Tensor) -> str:
    dims = []
    for dim in tensor.dims:
        text = " x ".join(index.meaning for index in dim)
        dims.append(f"*{text}" if dim[0].many else text)
    return f"({', '.join(dims)})" if dims else "()"


@dataclass(frozen=True)
class _Parameter:
    """A tensor that a module holds.

    Attributes:
        start: its initial value; None if the definition has none.
        known: names of the module's settings, by the symbol whose value they are.
    """

    name: str
    tensor: Tensor
    start: float | None
    known: Mapping[str, str]

    @property
    def optional(self) -> bool:
        """Whether it may be absent."""
        return self.tensor.default is not None

    @property
    def shape(self) -> str:
        """Python for its shape."""
        dims = [" * ".join(self.known.get(i.extent.name) or argument_name(i) for i in d) for d in self.tensor.dims]
        return f"({', '.join(dims)}{',' * (len(dims) == 1)})"

    @property
    def initial(self) -> str:
        """Python for its initial value; None for a uniform draw."""
        default = self.tensor.default if self.start is None else self.start
        return "None" if default is None else repr(float(default))


@dataclass(frozen=True)
class _Module:
    """What the template prints of a module."""

    definition: Definition
    description: ModuleFace

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def own(self) -> bool:
        """Whether torch has no such module."""
        return self.description.base == "torch.nn.Module"

    @property
    def inputs(self) -> str:
        """Parameters of forward."""
        parts = []
        for argument in self._forward_tensors():
            optional = self.own and argument.default is None
            parts.append(f"{argument.name}: Tensor{' | None = None' if optional else ''}")
        return ", ".join(parts)

    def _forward_tensors(self) -> list[TensorArgument]:
        """Tensors that each call passes: those of torch's forward; without one, those that the module does not hold."""
        tensors = self.definition.tensor_arguments
        if self.own:
            held = {*self.description.buffers, *self.description.parameters}
            return [a for a in tensors if a.name not in held]
        base = getattr(import_module("torch.nn"), (self.description.like or self.description.base).rpartition(".")[2])
        return [a for a in tensors if a.name in (*signature(base.forward).parameters, *self.description.takes)]

    @property
    def result_type(self) -> str:
        return _Function(self.definition).result_type

    @property
    def settings(self) -> list[Argument]:
        """Arguments of the constructor, for a module that torch does not have."""
        held = {a.name for a in self._forward_tensors()}
        held |= {*self.description.parameters}
        return [a for a in self.definition.arguments if a.name not in held and not (isinstance(a, Flag) and a.in_place)]

    @property
    def parameters(self) -> list[_Parameter]:
        """Tensors that the module holds and trains."""
        tensors = {t.name: t for v in self.definition.variants for t in v.layer.inputs}
        arguments = self.definition.tensor_arguments
        known = {getattr(a, "symbol", ""): a.name for a in self.settings}
        return [
            _Parameter(a.name, tensors[a.bound], self.description.parameters[a.name], known)
            for a in arguments
            if a.name in self.description.parameters
        ]

    @property
    def counts(self) -> list[str]:
        """Arguments of the constructor that are extents of parameters, in the order of the inputs."""
        settings = {getattr(a, "symbol", "") for a in self.settings}
        held = {index for parameter in self.parameters for index in parameter.tensor.axes}
        every = (i for v in self.definition.variants for t in v.layer.inputs for i in t.axes)
        return list(dict.fromkeys(argument_name(i) for i in every if i in held and i.extent.name not in settings))

    @property
    def signature(self) -> str:
        """The constructor's parameters: required ones, then plain settings, then buffers."""
        ordered = sorted(self.settings, key=lambda a: (a.default is not REQUIRED, a.name in self.description.buffers))
        parts = [f"{name}: int" for name in self.counts]
        for argument in ordered:
            default = "" if argument.default is REQUIRED else f" = {_default(argument)}"
            kind = _type(argument, self.definition)
            if argument.name in self.description.buffers:
                kind = "Tensor | Sequence[float] | None"
            parts.append(f"{argument.name}: {kind}{default}")
        parts += [f"{parameter.name}: bool = True" for parameter in self.parameters if parameter.optional]
        if self.parameters:
            parts += ["device: torch.device | str | None = None", "dtype: torch.dtype | None = None"]
        return ", ".join(parts)

    @property
    def shown(self) -> list[str]:
        """Settings that ``repr`` shows."""
        return [*self.counts, *(a.name for a in self.settings if a.name not in self.description.buffers)]

    @property
    def call(self) -> str:
        """Arguments of the function's call."""
        held = {a.name for a in self._forward_tensors()}
        parts = []
        for argument in self.definition.arguments:
            name = argument.name
            if self.own and isinstance(argument, Flag) and argument.in_place:
                continue
            value = name if name in held else self.description.call.get(name, f"self.{name}")
            parts.append(f"{name}={value}")
        return ", ".join(parts)

    @property
    def fixed(self) -> list[tuple[str, str]]:
        """Attributes of torch's class that must have one value."""
        return [(name, repr(value)) for name, value in self.description.fixed.items()]
