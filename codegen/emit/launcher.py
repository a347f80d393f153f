"""Host programs as source: read extents, allocate, launch.

Input: a ``Program``. Output: the lines its template prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from svertka.codegen.emit.kernel_pool import KernelPool
from svertka.codegen.emit.launcher_printer import host_expression, host_node
from svertka.codegen.emit.render import environment, kernel_sources
from svertka.codegen.ir.coalescing import is_side_by_side
from svertka.codegen.ir.kernel import (
    Axes,
    Boxes,
    BoxOperand,
    Kernel,
    Section,
    Tap,
    TapRange,
    TensorArgument,
    TileAxis,
)
from svertka.codegen.ir.loop_patterns import LoopPattern
from svertka.codegen.lowering.build import Allocation, KernelModule, Launch, Program
from svertka.codegen.lowering.cut_loops import every
from svertka.spec.notation import Tensor

__all__ = ["module_source"]


def module_source(module: KernelModule, pool: KernelPool | None = None) -> str:
    """The kernels and programs of one definition, unformatted; kernels that others in the pool have are imported."""
    programs = []
    for (forward, saving, backward), variant in zip(module.programs, module.definition.variants, strict=True):
        programs.append(
            {
                "name": variant.layer.name,
                "forward": _Host(forward),
                "saving": _Host(saving),
                "same": forward.launches == saving.launches,
                "backward": _Host(backward),
                "saved": module.saved[variant.layer.name],
            }
        )
    sources = [source for kernel in module.kernels for source in kernel_sources(kernel)]
    kernels, imports = (pool or KernelPool()).placed(module.definition.name, sources)
    template = environment().get_template("kernels.py.jinja")
    recurrent = any(a.step for kernel in module.kernels for section in kernel.sections for a in section.accumulators)
    given = {"kernels": kernels, "imports": imports, "programs": programs, "recurrent": recurrent}
    return template.render(definition=module.definition, **given)


@dataclass(frozen=True)
class _Host:
    """What the template prints of a program."""

    program: Program

    @property
    def parameters(self) -> str:
        """The parameter list without ``save`` and ``wanted``."""
        optional = {t.name for t in self.program.arguments if t.default is not None}
        typed = [f"{t.name}: torch.Tensor{' | None' if t.name in optional else ''}" for t in self.program.arguments]
        keywords = [f"{name}: {self._type(name)}" for name in self.program.keywords]
        return ", ".join([*typed, "*", *keywords])

    @property
    def optional(self) -> list[str]:
        """Results that a caller can ask not to compute."""
        return [a.name for launch in self.program.launches for a in launch.allocations if a.optional]

    @property
    def passed(self) -> str:
        """The arguments, passed on under their own names."""
        names = [f"{name}={name}" for name in self.program.keywords]
        return ", ".join([*(t.name for t in self.program.arguments), *names])

    def _type(self, name: str) -> str:
        symbol = next((s for s in self.program.layer.parameters if s.name == name), None)
        return "int" if symbol is None or symbol.is_integer else "float"

    @property
    def extents(self) -> list[str]:
        """Assignments of the extents that shapes show, for extents that the program uses."""
        shown: dict[str, str] = {}
        for tensor in self.program.layer.inputs:
            for place, dim in enumerate(tensor.dims):
                if tensor.default is None and len(dim) == 1:
                    shown.setdefault(str(dim[0].extent), f"{tensor.name}.shape[{place}]")
        used = self._used()
        return [f"{name} = {shape}" for name, shape in shown.items() if name in used]

    def _used(self) -> set[str]:
        names: set[str] = set()
        for launch in self.program.launches:
            kernel = launch.kernel
            names |= {*kernel.extents, *kernel.constants}
            names |= {extent.extent for axes in _loops(kernel) for extent in axes.order}
            for allocation in launch.allocations:
                names |= {s.name for axis in allocation.tensor.axes for s in axis.extent.free_symbols}
            tensors = self._tensors(launch)
            for argument in kernel.tensors:
                for dim in tensors[argument.name].dims:
                    names |= {s.name for axis in dim[1:] for s in axis.extent.free_symbols}
        return names

    def _tensors(self, launch: Launch) -> Mapping[str, Tensor]:
        known = {t.name: t for t in self.program.arguments}
        for other in self.program.launches:
            for allocation in other.allocations:
                known[allocation.name] = Tensor(allocation.name, *allocation.tensor.dims, kind=allocation.tensor.kind)
        return known

    @property
    def launches(self) -> list[dict[str, object]]:
        """Allocations and calls in order."""
        return [
            {
                "allocations": [self._allocation(a) for a in launch.allocations],
                "test": " or ".join(f"wanted[{n}]" for n in launch.serves) if self.program.wanted else "",
                "first": launch.allocations[0].name,
                "calls": self._calls(launch),
            }
            for launch in self.program.launches
        ]

    @property
    def absent(self) -> list[str]:
        """Results that the program computes only if they are wanted."""
        made = {a.name for launch in self.program.launches if launch.serves for a in launch.allocations}
        return [name for name in self.program.results if name in made]

    @property
    def results(self) -> str:
        """The returned tuple."""
        names = ", ".join(str(name) for name in self.program.results)
        return f"({names},)" if names else "()"

    def _allocation(self, allocation: Allocation) -> str:
        name = allocation.name
        if allocation.role == "gradient":
            made = f"launching.gradient_like({allocation.like})"
            test = f" if wanted[{self.program.results.index(name)}] else None" if allocation.optional else ""
            return f"{name} = {made}{test}"
        shape = ", ".join(" * ".join(host_expression(a.extent) for a in dim) for dim in allocation.tensor.dims)
        shape = f"({shape},)" if allocation.tensor.dims else "()"
        dtype = {
            "result": f"{self._present(allocation.like)}.dtype",
            "temporary": "how.accumulator",
            "integer": "torch.int64",
            "position": "torch.int32",
        }[allocation.role]
        made = f"launching.empty({shape}, {dtype}, how)"
        return f"{name} = None if {name!r} in skipped else {made}" if allocation.optional else f"{name} = {made}"

    def _present(self, name: str) -> str:
        """A tensor; for one that may be absent, the leading tensor in its place if it is None."""
        absent = any(tensor.name == name and tensor.default is not None for tensor in self.program.arguments)
        return f"({self.program.leading} if {name} is None else {name})" if absent else name

    def _calls(self, launch: Launch) -> list[str]:
        kernel = launch.kernel
        tensors = self._tensors(launch)
        arguments = [t.name for t in kernel.tensors]
        for argument in kernel.tensors:
            arguments += _strides(argument, tensors[argument.name])
        arguments += [*kernel.extents, *kernel.scalars]
        constants = ", ".join([*(f'"{name}": {name}' for name in kernel.constants), *_operand_types(kernel)])
        varying = "".join(f'"{name}", ' for name in kernel.scalars)
        given = f"({', '.join(arguments)},), {{{constants}}}{f', ({varying})' if varying else ''}"
        schedule = self._schedule(launch)
        if kernel.pattern != LoopPattern.CONTRACTION and not kernel.splitting:
            return [f"launching.run({kernel.name}, how, {schedule}, {given})"]
        if kernel.boxes is None:
            return [f"launching.reduce({kernel.name}, how, {schedule}, {given})"]
        operands = [self._operand(box, tensors[box.tensor]) for box in (kernel.boxes.left, kernel.boxes.right)]
        chosen = f"{kernel.name}_boxes if chosen else {kernel.name}"
        return [
            f"chosen = {self._boxes(kernel, kernel.boxes)} if launching.boxed({', '.join(operands)}) else None",
            f"launching.reduce({chosen}, how, chosen or {schedule}, {given})",
        ]

    def _operand(self, box: BoxOperand, tensor: Tensor) -> str:
        """A tensor with the stride of its fastest axis, and extents and strides of its other axes."""
        *slow, fast = ((host_node(axis.extent), _stride_of(tensor, axis.axis)) for axis in (*box.base, *box.axes))
        return f"({box.tensor}, {fast[1]}, {', '.join(f'({extent}, {stride})' for extent, stride in slow)})"

    def _boxes(self, kernel: Kernel, boxes: Boxes) -> str:
        def group(axes: tuple[TileAxis, ...]) -> str:
            pairs = (f'("{axis.index}", {_places(axis)})' for axis in axes)
            return f"({', '.join(pairs)},)"

        walks, taps, phases = (
            " * ".join(host_node(one.extent) for one in some) or "1" for some in (boxes.walks, boxes.taps, boxes.phases)
        )
        groups = ", ".join(group(axes) for axes in (boxes.rows, boxes.columns, boxes.summed))
        return f"schedule.boxes({walks}, {groups}, {taps}, {phases}, {self._operand_type(kernel)}, how{_held(kernel)})"

    def _operand_type(self, kernel: Kernel) -> str:
        plain = all(operand.stored for operand in kernel.operands)
        tensors = ", ".join(operand.tensor for operand in kernel.operands) if plain else ""
        return f"launching.operand_type(how, {tensors})"

    def _schedule(self, launch: Launch) -> str:
        kernel = launch.kernel
        if kernel.pattern == LoopPattern.CONTRACTION:
            batch, left, right = (_product(axes) for axes in kernel.groups)
            taps, along = (_depth(kernel, axes) for axes in kernel.window)
            depth = f"{along}, {taps}"
            access = "how.gathered" if kernel.gathers else '"plain"'
            kind = self._operand_type(kernel)
            return f"schedule.contraction({batch}, {left}, {right}, {depth}, {kind}, {access}, how{_held(kernel)})"
        if kernel.chain is not None:
            batch, left, right = (_product(axes) for axes in kernel.groups)
            depths = sorted({_product(one.axes) for one in kernel.chain.inner})
            depth = depths[0] if len(depths) == 1 else f"max({', '.join(depths)})"
            return f"schedule.chain({batch}, {left}, {right}, {_product(kernel.columns)}, {depth}, how)"
        if kernel.pattern in (LoopPattern.ROW, LoopPattern.SCAN):
            last = kernel.rows.order[-1] if kernel.rows.order else None
            inner = last.index if last else ""
            given = [t for t in kernel.tensors if not t.output and t.default is None]
            rows = [t for t in given if inner in t.axes and len(t.axes) > 1]
            contiguous = "False"
            if last and rows:  # an axis of extent 1 has no neighbours; its stride says nothing
                probe = max(rows, key=lambda tensor: len(tensor.axes)).name
                contiguous = f"{last.extent} > 1 and {_stride_of(self._tensors(launch)[probe], inner)} == 1"
            sizes = f"{_product(kernel.rows)}, {_product(kernel.columns)}"
            if kernel.maps:
                return f"schedule.maps({sizes}, {contiguous}, how.target)"
            more = _held(kernel) + (f", again={kernel.read_again}" if kernel.read_again else "")
            if kernel.splitting:
                values = sum(len(kernel.sections[place].accumulators) for place in kernel.splitting)
                more += f", walks={len(kernel.splitting)}" if len(kernel.splitting) > 1 else ""
                more += ", spread=True" if kernel.spread else ""
                return f"schedule.reduction({sizes}, {contiguous}, {values}, how{more})"
            return f"schedule.rows({sizes}, {contiguous}, how.accumulator, how.target{more})"
        sizes = f"{_product(kernel.rows)}, {_window(kernel.sections)}, {_side_by_side(kernel)}"
        return f"schedule.lanes({sizes}, how.itemsize, how.target{_cells(kernel)})"


def _window(sections: Sequence[Section]) -> str:
    """The number of steps through windows."""
    steps = {_steps(section.tap(loop.index)) or loop.extent for section in sections for loop in section.loops}
    return " * ".join(sorted(steps)) or "1"


def _cells(kernel: Kernel) -> str:
    """A last argument of the schedule, if a lane can compute all phases of a cell."""
    phased = kernel.phased
    if phased is None:
        return ""
    windows = {loop.extent for section in phased.sections for loop in section.loops}
    steps = {axis.index: host_node(axis.step) for axis in phased.phases if axis.step is not None}
    size = f"max({' * '.join(sorted(windows))}, {' * '.join(steps.values())})"
    rows = (every(axis, steps[axis.index]) if axis.index in steps else axis for axis in kernel.rows.order)
    apart = steps.get(kernel.rows.order[-1].index, "1")
    return f", ({_product(Axes(tuple(rows), ()))}, {size}, {apart})"


def _held(kernel: Kernel) -> str:
    """A last argument of the schedule, if a program holds more tiles than tables of tiles are made for."""
    count = len(kernel.held)
    return f", {count}" if count > (2 if kernel.pattern in (LoopPattern.ROW, LoopPattern.SCAN) else 0) else ""


def _operand_types(kernel: Kernel) -> list[str]:
    """Constants of a chain: for each of its inner products the type in which operands enter the matrix unit."""
    found = []
    for one in kernel.chain.inner if kernel.chain else ():
        stored = one.left.stored and one.right.stored
        tensors = [one.left.tensor, one.right.tensor] if stored else []
        found.append(f'"DOT_{one.name}": launching.operand_type({", ".join(["how", *tensors])})')
    return found


def _side_by_side(kernel: Kernel) -> str:
    """Python for whether neighbouring lanes access neighbouring elements; the memory format can decide it."""
    fastest = (axes[-1].index if axes else "" for axes in (kernel.rows.order, kernel.rows.last))
    row_major, last = (is_side_by_side(kernel, index) for index in fastest)
    return str(row_major) if row_major == last else "how.last" if last else "not how.last"


def _loops(kernel: Kernel) -> list[Axes]:
    loops = [Axes(section.loops, section.loops) for section in kernel.sections]
    inner = () if kernel.chain is None else kernel.chain.inner
    return [kernel.rows, kernel.columns, *kernel.groups, *loops, *(one.axes for one in inner)]


def _product(axes: Axes) -> str:
    return " * ".join(extent.extent for extent in axes.order) or "1"


def _places(axis: TileAxis) -> str:
    """The number of values of an index in each phase."""
    extent = host_node(axis.extent)
    return extent if axis.step is None else f"-(-{extent} // {host_node(axis.step)})"


def _depth(kernel: Kernel, axes: Axes) -> str:
    """The number of steps through summed indices of a contraction, in the phase that has the most."""
    taps = {tap.index: tap for tap in kernel.taps}
    return " * ".join(_steps(taps.get(extent.index)) or extent.extent for extent in axes.order) or "1"


def _steps(tap: Tap | TapRange | None) -> str:
    """The number of steps through an index of which not all values are walked, "" for others."""
    if isinstance(tap, TapRange):
        return f"-(-{host_node(tap.width)} // max({host_node(tap.slope)}, 1))"
    if tap is None or tap.slope is None or tap.modulus is None:
        return ""
    return f"primitives.most_taps({', '.join(host_node(node) for node in (tap.extent, tap.slope, tap.modulus))})"


def _strides(argument: TensorArgument, tensor: Tensor) -> list[str]:
    """Strides of the formula's axes, from those of the tensor's dimensions; 0 for an absent tensor."""
    absent = argument.default is not None or argument.optional
    if not absent and all(len(dim) == 1 for dim in tensor.dims):
        return [f"*{tensor.name}.stride()"] if tensor.dims else []
    strides = (_stride_of(tensor, axis.name) for axis in tensor.axes)
    return [f"0 if {argument.name} is None else {stride}" if absent else stride for stride in strides]


def _stride_of(tensor: Tensor, axis: str) -> str:
    for place, dim in enumerate(tensor.dims):
        names = [index.name for index in dim]
        if axis in names:
            inner = [host_expression(index.extent) for index in dim[names.index(axis) + 1 :]]
            return " * ".join([*inner, f"{tensor.name}.stride({place})"])
    return "0"
