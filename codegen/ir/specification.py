"""What kernel IR is, as rules that can be checked.

A lowering that breaks a rule makes a kernel that a template prints wrongly or not at all. Tests hold every kernel to
these rules; they are not checked when layers are generated, because each kernel is proven then.

Input: a ``Kernel``. Output: a sentence for each place where a rule is broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from svertka.codegen.ir.kernel import (
    Accumulator,
    Apply,
    ChainTiles,
    Constant,
    Extent,
    Kernel,
    Let,
    Load,
    Name,
    Node,
    PhasedLanes,
    Section,
    Tap,
    TapRange,
    walk_node,
)
from svertka.codegen.ir.loop_patterns import LoopPattern

__all__ = ["OPERATIONS", "violations"]

INTEGER, REAL, CONDITION = "integer", "real", "condition"

Signature = tuple[tuple[str, ...], str]


def _alike(names: str, *signatures: Signature) -> dict[str, set[Signature]]:
    """Operations with the same signatures."""
    return {name: {*signatures} for name in names.split()}


def _both(arguments: int, value: str = "") -> list[Signature]:
    """The signatures of an operation on integers and on reals."""
    return [((kind,) * arguments, value or kind) for kind in (INTEGER, REAL)]


OPERATIONS: dict[str, set[Signature]] = {
    **_alike("add subtract multiply", *_both(2)),
    **_alike("negate", *_both(1)),
    **_alike("< <= > >= == !=", *_both(2, CONDITION)),
    **_alike("exp expm1 log log1p tanh erf sin cos Abs sign sqrt rsqrt", ((REAL,), REAL)),
    **_alike("maximum minimum divide power", ((REAL, REAL), REAL)),
    **_alike("whole_power", ((REAL, INTEGER), REAL)),
    **_alike("floor_divide remainder", ((INTEGER, INTEGER), INTEGER)),
    **_alike("and or", ((CONDITION, CONDITION), CONDITION)),
    **_alike("not", ((CONDITION,), CONDITION)),
    **_alike("real", ((INTEGER,), REAL)),
    **_alike("uniform", ((INTEGER, INTEGER), REAL)),
    **_alike("where", *(((CONDITION, kind, kind), kind) for kind in (INTEGER, REAL))),
}
"""Every operation, with the kinds of its arguments and of its value."""
NAMED = {"inf", "-inf", "nan"}
TRUTHS = {"True", "False"}


def violations(kernel: Kernel) -> Iterator[str]:
    """Where a kernel breaks a rule."""
    yield from _signature(kernel)
    scope = _given(kernel)
    if kernel.pattern == LoopPattern.CONTRACTION:
        inner = scope | _indices(kernel.columns.order)
        for operand in kernel.operands:
            yield from _statements(kernel, operand.lets, dict(inner), (operand.value, *operand.guards))
        yield from _cuts(kernel, scope)
        scope[kernel.accumulator] = REAL
    tiles: dict[str, str] = {}
    if kernel.chain is not None:
        yield from _chain(kernel, kernel.chain, scope)
        yield from _cuts(kernel, scope)
        tiles = {tile.name: REAL for tile in kernel.chain.inner}
    for section in kernel.sections:
        known = scope | tiles if section.loops else scope
        yield from _section(kernel, section, known)
        scope |= {name: kind for name, kind in known.items() if name not in tiles}
    if kernel.phased is not None:
        yield from _phased(kernel, kernel.phased)


def _phased(kernel: Kernel, phased: PhasedLanes) -> Iterator[str]:
    """Lanes that compute several results: what is stored is the same, and loops store nothing."""
    stored = [
        [store.tensor for one in sections for store in one.stores] for sections in (kernel.sections, phased.sections)
    ]
    if kernel.pattern != LoopPattern.WINDOW or stored[0] != stored[1]:
        yield f"{kernel.name}: with phases a window kernel, and nothing else, stores the same results"
    if any(section.stores and (section.loops or section.accumulators) for section in phased.sections):
        yield f"{kernel.name}: with phases a section that stores does nothing else"
    scope = _given(kernel) | _indices(phased.rows.order)
    scope |= {f"phase_{axis.index}": INTEGER for axis in phased.phases}
    for section in phased.sections:
        yield from _section(kernel, section, scope)


def _chain(kernel: Kernel, chain: ChainTiles, scope: dict[str, str]) -> Iterator[str]:
    """Tiles of inner products, and a contraction's other factor, each in the scope of its own indices."""
    loops = [section for section in kernel.sections if section.loops]
    reduced = loops[0].accumulators if loops else ()
    if len(loops) != 1 or loops[0].loops != kernel.columns.order or loops[0].stores:
        yield f"{kernel.name}: a chain has one loop, over its columns, which stores nothing"
    if any(accumulator.operation not in ("sum", "max") for accumulator in reduced):
        yield f"{kernel.name}: a chain finds sums and maxima"
    own = any(a.name == kernel.accumulator and a.operation == "sum" for a in reduced)
    if not chain.inner or (chain.other is not None) != own or bool(kernel.accumulator) != own:
        yield f"{kernel.name}: a chain has inner products, and another factor where a sum of it is a contraction"
    rows = scope.keys() - kernel.groups[2].names if len(kernel.groups) == 3 else scope.keys()
    at = {name: kind for name, kind in scope.items() if name in rows}
    columns = _indices(kernel.columns.order)
    for tile in chain.inner:
        if [one.extent for one in tile.axes.order] != [one.extent for one in tile.right_axes.order]:
            yield f"{kernel.name}: {tile.name} has the same summed extents on both sides"
        sides = ((tile.left, _indices(tile.axes.order)), (tile.right, columns | _indices(tile.right_axes.order)))
        for operand, own_indices in sides:
            yield from _statements(kernel, operand.lets, at | own_indices, (operand.value, *operand.guards))
    if chain.other is not None:
        inner = scope | columns
        yield from _statements(kernel, chain.other.lets, inner, (chain.other.value, *chain.other.guards))


def _cuts(kernel: Kernel, scope: dict[str, str]) -> Iterator[str]:
    """What a contraction leaves out of its loops: expressions of its result's indices alone."""
    if kernel.bounds is not None and [kernel.bounds.index] != [extent.index for extent in kernel.columns.order]:
        yield f"{kernel.name}: bounds are those of the only summed index"
    bounds = () if kernel.bounds is None else (*kernel.bounds.first, *kernel.bounds.last)
    for root in (*bounds, *(part for parts in kernel.used for part in parts)):
        yield from _expression(kernel, root, scope)
    yield from _taps(kernel, kernel.taps, kernel.columns.order, scope)


def _taps(
    kernel: Kernel, taps: Iterable[Tap | TapRange], loops: Iterable[Extent], scope: dict[str, str]
) -> Iterator[str]:
    """Indices of which one residue class or a short range is walked."""
    walked = [loop.index for loop in loops]
    for tap in taps:
        if isinstance(tap, TapRange):
            if tap.index not in walked:
                yield f"{kernel.name}: {tap.index} is a loop's index"
            for root in (tap.first, tap.width, tap.slope):
                yield from _expression(kernel, root, scope)
        elif tap.index not in walked or tap.slope is None or tap.residue is None or tap.modulus is None:
            yield f"{kernel.name}: {tap.index} is a loop's index, with slope, residue and modulus"
        else:
            for root in (tap.slope, tap.residue, tap.modulus):
                yield from _expression(kernel, root, scope)


def _signature(kernel: Kernel) -> Iterator[str]:
    """Tensors, and what is stored."""
    outputs = [tensor.name for tensor in kernel.tensors if tensor.output]
    stored = [store.tensor for section in kernel.sections for store in section.stores]
    if sorted(stored) != sorted(outputs):
        yield f"{kernel.name}: outputs are {outputs}, stored are {stored}: each is stored once"
    grouped = (LoopPattern.CONTRACTION, LoopPattern.CHAIN)
    if (kernel.pattern in grouped) != (len(kernel.groups) == 3):
        yield f"{kernel.name}: a contraction or a chain, and nothing else, has three groups of indices"
    if (kernel.pattern == LoopPattern.CONTRACTION) != (len(kernel.operands) == 2):
        yield f"{kernel.name}: a contraction, and nothing else, has two operands"
    if (kernel.pattern == LoopPattern.CHAIN) != (kernel.chain is not None):
        yield f"{kernel.name}: a chain, and nothing else, has tiles of inner products"
    if kernel.reverse and kernel.pattern != LoopPattern.SCAN:
        yield f"{kernel.name}: a scan, and nothing else, has a direction"
    names = [*kernel.extents, *kernel.constants, *kernel.scalars]
    if len({*names}) != len(names):
        yield f"{kernel.name}: a number is an extent, a constant or a scalar, and only one of them: {names}"


def _given(kernel: Kernel) -> dict[str, str]:
    """Names that a kernel has from its arguments and from its place, with their kinds."""
    scope = dict.fromkeys([*kernel.extents, *kernel.constants, *kernel.scalars], "number")
    scope |= dict.fromkeys(kernel.reals, REAL) | _indices(kernel.rows.order)
    return scope | {name: INTEGER for group in kernel.groups for name in group.names}


def _indices(extents: Iterable[Extent]) -> dict[str, str]:
    return {extent.index: INTEGER for extent in extents}


def _section(kernel: Kernel, section: Section, scope: dict[str, str]) -> Iterator[str]:
    """A section in the scope of those before it, to which its names are added."""
    inner = scope | _indices(section.loops)
    yield from _taps(kernel, section.taps, section.loops, scope)
    yield from _when(kernel, section)
    roots: list[Node] = []
    for accumulator in section.accumulators:
        roots += accumulator.expressions
        roots += () if accumulator.position is None else (accumulator.position,)
    for store in section.stores:
        roots += (*store.indices, store.value)
    yield from _statements(kernel, section.lets, inner, roots)
    for accumulator in section.accumulators:
        yield from _accumulator(kernel, accumulator)
        yield from _online(kernel, section, accumulator)
        scope |= {accumulator.name: INTEGER, accumulator.best: REAL} if accumulator.best else {accumulator.name: REAL}
    tensors = {tensor.name: tensor for tensor in kernel.tensors}
    for store in section.stores:
        tensor = tensors.get(store.tensor)
        if tensor is None or not tensor.output or len(store.indices) != len(tensor.axes):
            yield f"{kernel.name}: a store into {store.tensor} fits no output"
        elif store.value.kind != tensor.kind:
            kinds = f"{store.value.kind} value is stored into {store.tensor}, which is {tensor.kind}"
            yield f"{kernel.name}: a {kinds}"
    if not section.loops:
        scope |= {let.name: let.value.kind for let in section.lets}


def _when(kernel: Kernel, section: Section) -> Iterator[str]:
    """A loop's condition: one of row kernels' loops that store nothing, over what a whole launch has."""
    if section.when is None:
        return
    if kernel.pattern != LoopPattern.ROW or not section.loops or section.stores:
        yield f"{kernel.name}: a condition is of a loop of a row kernel, which stores nothing"
    launch = dict.fromkeys([*kernel.constants, *kernel.scalars], "number") | dict.fromkeys(kernel.reals, REAL)
    yield from _expression(kernel, section.when, launch)


def _accumulator(kernel: Kernel, accumulator: Accumulator) -> Iterator[str]:
    where = f"{kernel.name}: {accumulator.name}"
    guards, step = (*accumulator.guards, *accumulator.step_guards), accumulator.step or accumulator.value
    if {accumulator.value.kind, step.kind} != {REAL} or any(guard.kind != CONDITION for guard in guards):
        yield f"{where} reduces real values under conditions"
    if (accumulator.operation == "argmax") != bool(accumulator.best and accumulator.position):
        yield f"{where}: an argmax, and nothing else, has a position and a largest value"


def _online(kernel: Kernel, section: Section, accumulator: Accumulator) -> Iterator[str]:
    """A sum of exponentials that are shifted by a maximum: this stands in the same loop, over the same elements."""
    if not accumulator.maximum and accumulator.shift is None:
        return
    where = f"{kernel.name}: {accumulator.name}"
    largest = next((a for a in section.accumulators if a.name == accumulator.maximum), None)
    rows = kernel.pattern in (LoopPattern.ROW, LoopPattern.CHAIN)
    if not rows or accumulator.operation != "sum" or accumulator.shift is None:
        yield f"{where}: a sum of a row, and nothing else, is shifted by a maximum"
    elif largest is None or largest.operation != "max" or largest.guards != accumulator.guards:
        yield f"{where}: its shift is a maximum of the same loop under the same conditions"
    else:
        yield from _expression(kernel, accumulator.shift, {largest.name: REAL})


def _statements(kernel: Kernel, lets: Iterable[Let], scope: dict[str, str], roots: Iterable[Node]) -> Iterator[str]:
    """Statements in order, each in the scope of those before it, and the expressions behind them."""
    for let in lets:
        value = let.value
        parts = (*value.indices, *value.masks) if isinstance(value, Load) else (value,)
        if isinstance(value, Load):
            yield from _load(kernel, value)
        for part in parts:
            yield from _expression(kernel, part, scope)
        scope[let.name] = value.kind
    for root in roots:
        yield from _expression(kernel, root, scope)


def _expression(kernel: Kernel, root: Node, scope: dict[str, str]) -> Iterator[str]:
    for node in walk_node(root):
        where = f"{kernel.name}: {node}"
        if isinstance(node, Load):
            yield f"{where}: a load is a statement of its own"
        elif isinstance(node, Name):
            known = scope.get(node.name)
            truth = node.kind == CONDITION and node.name in TRUTHS
            if not truth and (known is None or (known != "number" and known != node.kind)):
                yield f"{where}: nothing of that name and kind is known here"
        elif isinstance(node, Constant):
            whole = isinstance(node.value, Fraction) and node.value.denominator == 1
            if node.value not in NAMED and not isinstance(node.value, Fraction):
                yield f"{where}: a constant is a fraction, an infinity or NaN"
            elif node.kind == CONDITION or (node.kind == INTEGER and not whole):
                yield f"{where}: a constant is whole or real"
        elif isinstance(node, Apply):
            kinds = tuple(argument.kind for argument in node.arguments), node.kind
            if kinds not in OPERATIONS.get(node.operation, ()):
                yield f"{where}: {node.operation} does not take {kinds[0]} to {kinds[1]}"


def _load(kernel: Kernel, load: Load) -> Iterator[str]:
    tensor = next((one for one in kernel.tensors if one.name == load.tensor and not one.output), None)
    where = f"{kernel.name}: a load of {load.tensor}"
    if tensor is None:
        yield f"{where}, which is no tensor that the kernel is given"
    elif len(load.indices) != len(tensor.axes) or any(index.kind != INTEGER for index in load.indices):
        yield f"{where} has an integer index for each axis"
    elif load.kind != tensor.kind or any(mask.kind != CONDITION for mask in load.masks):
        yield f"{where} is {tensor.kind}, and its masks are conditions"
