"""From a fusion group to kernel IR.

Input: a ``FusionGroup`` and its layer. Output: a ``Kernel``. Every load becomes a statement of its own, in the
outermost section in which its indices are known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any

from sympy import Basic, Expr
from sympy.logic.boolalg import Boolean

from svertka.codegen.frontend.names import RESERVED
from svertka.codegen.ir.chains import Chain
from svertka.codegen.ir.kernel import (
    Accumulator,
    Apply,
    Axes,
    ChainTiles,
    Extent,
    InnerTile,
    Kernel,
    Kind,
    Let,
    Load,
    LoopBounds,
    Name,
    Node,
    Operand,
    PhasedLanes,
    Section,
    Store,
    Tap,
    TapRange,
    walk_node,
)
from svertka.codegen.ir.loop_patterns import Contraction, LoopPattern, as_contraction
from svertka.codegen.ir.online import OnlineSum, online_sums
from svertka.codegen.ir.scans import Scan, as_scan
from svertka.codegen.lowering.common_subexpressions import share
from svertka.codegen.lowering.conditions_of_use import conditions_of_use
from svertka.codegen.lowering.cut_loops import CutLoops, cut_loops
from svertka.codegen.lowering.expressions import ExpressionLowering
from svertka.codegen.lowering.factors import arranged_section
from svertka.codegen.lowering.fusion import FusionGroup, Result
from svertka.codegen.lowering.loop_bounds import bounds_of
from svertka.codegen.lowering.residue_classes import ResidueClass, residue_classes
from svertka.codegen.lowering.signature import Signature
from svertka.codegen.lowering.signed_divisions import signed_divisions
from svertka.codegen.lowering.tap_ranges import tap_ranges
from svertka.codegen.lowering.tensor_descriptors import boxes
from svertka.codegen.lowering.vanishing import vanishes
from svertka.codegen.lowering.window_phases import window_phases
from svertka.spec.layer import Equation, Layer, text_of, walk
from svertka.spec.notation import FloorDiv, Index, Read, Reduction
from svertka.spec.rewrite import conditions, index_set, linear_position

__all__ = ["lower"]


def lower(
    group: FusionGroup,
    layer: Layer,
    name: str,
    constants: Sequence[str] = (),
    scalars: Sequence[str] = (),
    optional: Sequence[str] = (),
    channels: bool = True,
    ignoring: Collection[str] = (),
) -> Kernel:
    """Lower one kernel.

    Args:
        group: what it computes.
        layer: the layer, for its tensors.
        name: name of the kernel.
        constants: extents that are compile-time constants.
        scalars: parameters that vary from call to call and are runtime arguments.
        optional: outputs that a caller may leave out.
        channels: whether the tensor whose memory format the results take may have its second dimension last.
        ignoring: names of maxima that may ignore NaN.
    """
    head = Signature(group, layer, set(constants), set(scalars), set(optional), channels)
    return _Lowering(head, signed_divisions(head.values(), layer), ignoring).kernel(name)


class _Lowering:
    def __init__(self, head: Signature, signed: frozenset[FloorDiv], ignoring: Collection[str]) -> None:
        self.head = head
        self.signed = signed
        self.ignoring = ignoring
        self.group = head.group
        self.layer = head.layer
        self.constants = head.constants
        self.scalars = head.scalars
        self.values: dict[Read, Node] = {}
        self.expressions = ExpressionLowering(self.values, signed)
        self.names: dict[Node, str] = {}
        self.taken: set[str] = _taken_names(self.group, self.layer)
        self.sections: list[Section] = []

    def kernel(self, name: str) -> Kernel:
        group = self.group
        groups: tuple[Axes, ...] = ()
        operands: tuple[Operand, ...] = ()
        accumulator, columns, fetched, cut = "", group.columns, None, CutLoops()
        bounds, tiles = None, None
        if group.pattern == LoopPattern.CONTRACTION:
            equation = group.reductions[0]
            split = as_contraction(equation)
            assert split is not None
            cut = cut_loops(equation, split, [result.value for result in group.results], self._known())
            groups = cut.groups(*(self.head.axes_of(indices) for indices in (split.batch, split.m, split.n)))
            operands = self._operands(equation.value, split, cut)
            fetched = boxes(equation, split, self.layer, self.constants)
            accumulator, columns, bounds = equation.target.name, equation.value.indices, cut.bounds
            self.values[equation.target[equation.target.axes]] = Name(accumulator, "real")
        elif group.chain is not None:
            parts = (group.chain.batch, group.chain.rows, group.chain.across)
            groups = tuple(self.head.axes_of(part) for part in parts)
            accumulator = group.reductions[-1].target.name if group.chain.across else ""
            tiles, bounds = self._chain(group.chain)
        elif group.pattern in (LoopPattern.ROW, LoopPattern.SCAN):
            self._stages(self.head.extents_of(columns))
        else:
            self._windows()
        self._results()
        extents, constants, scalars = self.head.numbers(columns)
        return Kernel(
            name=name,
            pattern=group.pattern,
            equations=tuple(self.head.equations()),
            tensors=tuple(self.head.tensors()),
            extents=extents,
            constants=constants,
            scalars=scalars,
            rows=self.head.rows(),
            columns=self.head.axes_of(columns),
            sections=self._written(),
            groups=groups,
            operands=operands,
            accumulator=accumulator,
            boxes=fetched,
            reals=tuple(name for name in scalars if not self.head.is_whole(name)),
            phases=cut.phases,
            taps=cut.taps,
            bounds=bounds,
            used=cut.used,
            phased=self._phased(),
            reverse=any(scan.reverse for scan in self._scans()),
            chain=tiles,
        )

    def _phased(self) -> PhasedLanes | None:
        """The same kernel with lanes that compute all phases of some indices."""
        found = window_phases(self.group, self._known()) if self.group.pattern == LoopPattern.WINDOW else None
        if found is None:
            return None
        inner = _Lowering(dataclasses.replace(self.head, group=found.group), self.signed, self.ignoring)
        inner._windows()
        inner._results()
        sections = (dataclasses.replace(s, taps=found.taps) if s.loops else s for s in inner._written())
        return PhasedLanes(found.cells(self.head.rows()), found.axes, tuple(sections))

    # Sections -------------------------------------------------------------------------------------------------

    def _written(self) -> tuple[Section, ...]:
        """The sections that have something in them."""
        return tuple(self._shared(s) for s in self.sections if s.lets or s.accumulators or s.stores)

    def _stages(self, columns: tuple[Extent, ...]) -> None:
        """Reductions over the row; those that need none of each other, or only a running maximum, share a loop."""
        pending = list(self.group.reductions)
        while pending:
            ready = [e for e in pending if not self._needs(e.value, pending)]
            online = self._online(ready, pending)
            pending = [e for e in pending if e not in ready and e.target.name not in online]
            loop = tuple(online.values())
            self._loop(columns, ready, loop, self._when([*ready, *(one.sum for one in loop)], pending))

    def _chain(self, chain: Chain) -> tuple[ChainTiles, LoopBounds | None]:
        """One loop: tiles of inner products, and all reductions, of a contraction the factor that reads these tiles."""
        inner = tuple(
            InnerTile(
                one.read.tensor,
                self.head.axes_of(one.depth),
                self.head.axes_of(one.right_depth),
                self._operand(one.left, []),
                self._operand(one.right, []),
            )
            for one in chain.inner
        )
        other = None if chain.other is None else self._operand(chain.other, [])
        self.values |= {one.read: Name(one.read.tensor, "real") for one in chain.inner}
        *rest, last = self.group.reductions
        value: Reduction = last.value
        summed = Reduction(value.args[0], chain.value, value.guard, value.args[3])
        equations = [*rest, Equation(last.target, summed)]
        online = online_sums(equations)
        plain = [equation for equation in equations if equation.target.name not in online]
        self._loop(self.head.extents_of(chain.columns), plain, tuple(online.values()))
        self.values |= {e.target[e.target.axes]: Name(e.target.name, "real") for e in self.group.reductions}
        first, *others = (conditions(e.value.guard) for e in equations)
        common = [condition for condition in first if all(condition in terms for terms in others)]
        single = len(chain.columns) == 1
        return ChainTiles(inner, other), bounds_of(common, chain.columns[0]) if single else None

    def _online(self, ready: list[Equation], pending: list[Equation]) -> dict[str, OnlineSum]:
        """Sums that need nothing pending but a maximum of these equations, by which their exponents are shifted."""
        if self.group.pattern != LoopPattern.ROW:
            return {}
        placed = {(e.value.body, e.value.guard) for e in ready if e.value.operation == "argmax"}
        maxima = [e for e in ready if e.value.operation == "max" and (e.value.body, e.value.guard) not in placed]
        waiting = [e for e in pending if e not in ready]
        found = online_sums([*maxima, *waiting])
        return {name: one for name, one in found.items() if not self._needs(one.weight, pending)}

    def _windows(self) -> None:
        """Reductions over windows; those over the same window share a loop."""
        pending = list(self.group.reductions)
        while pending:
            ready = [e for e in pending if not self._needs(e.value, pending)]
            same = [e for e in ready if e.value.indices == ready[0].value.indices]
            pending = [e for e in pending if e not in same]
            self._loop(self.head.extents_of(same[0].value.indices), same)

    def _needs(self, value: Basic, pending: list[Equation]) -> bool:
        names = {e.target.name for e in pending}
        return any(isinstance(node, Read) and node.tensor in names for node in walk(value))

    def _when(self, ready: list[Equation], pending: list[Equation]) -> Node | None:
        """The condition without which nothing uses any of these reductions."""
        if self.group.pattern == LoopPattern.SCAN:
            return None
        values: list[Any] = [e.value for e in pending] + [result.value for result in self.group.results]
        used = (conditions_of_use(e.target[e.target.axes], values, self.scalars) for e in ready)
        (when,) = self._all_of(sorted(frozenset.intersection(*used), key=text_of)) or (None,)
        return when

    def _loop(
        self,
        loops: tuple[Extent, ...],
        equations: list[Equation],
        online: tuple[OnlineSum, ...] = (),
        when: Node | None = None,
    ) -> None:
        inner: list[Let] = []
        outer: list[Let] = []
        accumulators: list[Accumulator] = []
        indices = {loop.index for loop in loops}
        classes, ranges = self._cut(equations)
        begun = [*(one.tap for one in classes.values()), *ranges]
        for equation in equations:
            accumulators.append(self._accumulator(equation, indices, outer, inner, classes, begun))
            self._known_by_name(equation)
        for one in online:
            weights = self._accumulator(one.weights, indices, outer, inner, classes, begun, shifted=True)
            maximum, shift = one.maximum.target.name, self.expressions.real(one.shift)
            accumulators.append(dataclasses.replace(weights, maximum=maximum, shift=shift))
            self._known_by_name(one.sum)
        taps: tuple[Tap | TapRange, ...] = (*(one.walked() for one in classes.values()), *ranges.values())
        self.sections.append(Section((), tuple(outer)))
        self.sections.append(Section(loops, tuple(inner), tuple(_sharing(accumulators)), taps=taps, when=when))

    def _known_by_name(self, equation: Equation) -> None:
        """Expressions behind a reduction read its result by its name."""
        kind: Kind = "integer" if equation.target.kind == "integer" else "real"
        self.values[equation.target[equation.target.axes]] = Name(equation.target.name, kind)

    def _cut(self, equations: Sequence[Equation]) -> tuple[dict[Boolean, ResidueClass], dict[Index, TapRange]]:
        """What conditions of all of these reductions leave of a window's indices: residue classes and short ranges."""
        if self.group.pattern != LoopPattern.WINDOW:
            return {}, {}
        first, *others = (conditions(equation.value.guard) for equation in equations)
        common = [condition for condition in first if all(condition in other for other in others)]
        bound = equations[0].value.indices
        classes = residue_classes(common, bound, self._known())
        walked = {one.tap for one in classes.values()}
        rest = [index for index in bound if index not in walked]
        return classes, tap_ranges(common, rest, self.group.rows, self._known())

    def _known(self) -> set[str]:
        """Names of compile-time constants."""
        return (self.constants | {symbol.name for symbol in self.layer.parameters}) - self.scalars

    def _accumulator(
        self,
        equation: Equation,
        loops: set[str],
        outer: list[Let],
        inner: list[Let],
        classes: Mapping[Boolean, ResidueClass],
        begun: Sequence[Index],
        shifted: bool = False,
    ) -> Accumulator:
        scan = as_scan(equation) if self.group.pattern == LoopPattern.SCAN else None
        value: Reduction = equation.value if scan is None else scan.element
        terms = [c for c in sorted(conditions(value.guard), key=text_of) if c not in classes]
        ends = [self._before_end(index) for index in begun]
        guards = tuple(self._hoisted(g, loops, outer, inner) for g in self._all_of(terms, ends))
        masks = self._all_of([c for c in terms if not _reads(c)], ends)
        body = self._hoisted(self.expressions.real(value.body, masks), loops, outer, inner)
        if scan is not None and scan.step is not None:
            held = self._all_of(conditions(scan.step.guard))
            step = self._hoisted(self.expressions.real(scan.step.body, held), loops, outer, inner)
            holds = tuple(self._hoisted(g, loops, outer, inner) for g in held)
            return Accumulator(equation.target.name, "sum", body, guards, step=step, step_guards=holds)
        vanishing = not shifted and self._vanishes(value, body, guards, inner)  # exponentials may be infinite
        guards = () if vanishing else guards
        position = self.expressions.integer(linear_position(value.indices)) if value.operation == "argmax" else None
        operation: Any = value.operation
        name = equation.target.name
        best = f"{name}_value" if operation == "argmax" else ""
        ignores = operation == "max" and name in self.ignoring
        return Accumulator(name, operation, body, guards, position, best, ignores_nan=ignores, vanishing=vanishing)

    def _vanishes(self, value: Reduction, body: Node, guards: tuple[Node, ...], inner: list[Let]) -> bool:
        """Whether a sum needs no condition, as its elements are 0 where their loads are masked."""
        if self.group.pattern not in (LoopPattern.WINDOW, LoopPattern.ROW) or value.operation != "sum":
            return False
        absent = {name for name, tensor in self.layer.tensors.items() if tensor.default not in (None, 0)}
        return vanishes(body, guards, inner, absent)

    def _results(self) -> None:
        """Stores along the row, then of the row: elements stay in registers until something is stored."""
        names = {index.name for index in self.group.columns}
        along = [r for r in self.group.results if {i.name for i in r.indices} & names]
        behind = [r for r in self.group.results if r not in along]
        for results, loops in ((along, self.head.extents_of(self.group.columns)), (behind, ())):
            outer: list[Let] = []
            inner: list[Let] = []
            stores = tuple(self._store(r, {loop.index for loop in loops}, outer, inner) for r in results)
            self.sections.append(Section((), tuple(outer)))
            self.sections.append(Section(loops, tuple(inner), (), stores))

    def _store(self, result: Result, loops: set[str], outer: list[Let], inner: list[Let]) -> Store:
        integer = self.layer.tensors[result.name].kind == "integer"
        value: Any = result.value
        node = self.expressions.integer(value) if integer else self.expressions.real(value)
        indices = tuple(self.expressions.integer(index) for index in result.indices)
        return Store(result.name, indices, self._hoisted(node, loops, outer, inner))

    def _operands(self, value: Reduction, split: Contraction, cut: CutLoops) -> tuple[Operand, ...]:
        right_indices = set(split.n)
        terms = [c for c in conditions(value.guard) if c not in cut.answered]
        of_right = [c for c in terms if index_set(c) & right_indices]
        of_left = [c for c in terms if c not in of_right]
        return self._operand(split.left, of_left), self._operand(split.right, of_right)

    def _operand(self, factor: Expr, guards: list[Boolean]) -> Operand:
        masks = self._all_of(sorted(guards, key=text_of))
        lets: list[Let] = []
        node = self.expressions.real(factor, masks)
        value = self._hoisted(node, None, lets, lets)
        statements, (value, *shared) = share(lets, [value, *masks], self._name)
        return Operand(tuple(statements), value, tuple(shared), node.tensor if isinstance(node, Load) else "")

    def _before_end(self, tap: Index) -> Node:
        """That an index is not beyond its last value: not all residue classes and ranges have equally many values."""
        return Apply("<", (self.expressions.integer(tap), self.expressions.integer(tap.extent)), "condition")

    def _all_of(self, terms: Sequence[Boolean], more: Sequence[Node] = ()) -> tuple[Node, ...]:
        """The conjunction of conditions as one node, or nothing."""
        nodes = list(dict.fromkeys([*(self.expressions.condition(term) for term in terms), *more]))
        return (reduce(lambda a, b: Apply("and", (a, b), "condition"), nodes),) if nodes else ()

    def _shared(self, section: Section) -> Section:
        """The section with its products arranged and its repeated expressions named."""
        section = arranged_section(section, self._running())
        roots = [node for a in section.accumulators for node in a.expressions]
        roots += [node for store in section.stores for node in (*store.indices, store.value)]
        lets, nodes = share(section.lets, roots, self._name)
        rest = iter(nodes)
        accumulators = tuple(
            dataclasses.replace(
                a,
                value=next(rest),
                guards=tuple(next(rest) for _ in a.guards),
                step=None if a.step is None else next(rest),
                step_guards=tuple(next(rest) for _ in a.step_guards),
            )
            for a in section.accumulators
        )
        stores = tuple(Store(s.tensor, tuple(next(rest) for _ in s.indices), next(rest)) for s in section.stores)
        return dataclasses.replace(section, lets=tuple(lets), accumulators=accumulators, stores=stores)

    def _running(self) -> set[str]:
        """Names of values that change along the loop that all sections of a scan share."""
        inner = () if self.group.chain is None else self.group.chain.inner
        running = [scan.target.name for scan in self.group.reductions] if self._scans() else []
        return {*running, *(one.read.tensor for one in inner)}

    def _scans(self) -> list[Scan]:
        if self.group.pattern != LoopPattern.SCAN:
            return []
        return [scan for equation in self.group.reductions if (scan := as_scan(equation)) is not None]

    # Loads ----------------------------------------------------------------------------------------------------

    def _hoisted(self, node: Node, loops: set[str] | None, outer: list[Let], inner: list[Let]) -> Node:
        """The node with every load replaced by the name of a statement.

        Statements that do not need the loops' indices go to ``outer``, unless ``loops`` is None.
        """
        if isinstance(node, Load):
            indices = tuple(self._hoisted(i, loops, outer, inner) for i in node.indices)
            masks = tuple(self._hoisted(m, loops, outer, inner) for m in node.masks)
            load = Load(node.tensor, indices, masks, node.kind)
            inside = loops is None or any(isinstance(n, Name) and n.name in loops for n in walk_node(node))
            depends = any(isinstance(n, Name) and n.name in {let.name for let in inner} for n in walk_node(load))
            return Name(self._let(load, inner if inside or depends else outer), node.kind)
        if isinstance(node, Apply):
            arguments = tuple(self._hoisted(a, loops, outer, inner) for a in node.arguments)
            return Apply(node.operation, arguments, node.kind)
        return node

    def _name(self, node: Node, stem: str) -> str:
        """The name of a statement; the same node has the same name in every section."""
        if node not in self.names:
            name, number = stem, 1
            while name in self.taken:
                number += 1
                name = f"{stem}_{number}"
            self.taken.add(name)
            self.names[node] = name
        return self.names[node]

    def _let(self, load: Load, lets: list[Let]) -> str:
        name = self._name(load, f"{load.tensor}_value")
        let = Let(name, load)
        whole = self.group.pattern == LoopPattern.SCAN  # its sections share one loop
        known = {n.name for s in self.sections if whole or not s.loops for n in s.lets}
        if let not in lets and name not in known:
            lets.append(let)
        return name


def _taken_names(group: FusionGroup, layer: Layer) -> set[str]:
    """Names that no statement may take: indices, extents, parameters, tensors, and what the templates use."""
    names = set(RESERVED)
    inner = group.chain.inner if group.chain else ()
    names |= {index.name for one in inner for index in (*one.depth, *one.right_depth)}
    names |= {s.name for s in layer.parameters} | set(layer.tensors)
    for equation in layer.equations:
        names |= {s.name for s in equation.value.free_symbols}
    return names


def _reads(node: Basic) -> bool:
    return any(isinstance(part, Read) for part in walk(node))


def _sharing(accumulators: list[Accumulator]) -> list[Accumulator]:
    """Accumulators of a loop; a maximum and its place become one accumulator that finds both."""
    shared: list[Accumulator] = []
    for one in accumulators:
        same = [a for a in accumulators if a.value == one.value and a.guards == one.guards]
        largest = next((a for a in same if a.operation == "max"), None)
        place = next((a for a in same if a.operation == "argmax"), None)
        if one is largest and place is not None:
            continue
        if one is place and largest is not None:
            one = dataclasses.replace(one, best=largest.name)
        shared.append(one)
    return shared
