"""Triton's interpreter with expressions in place of floats.

The kernel's source runs unmodified. Replaced are the interpreter's builder, whose operations on floating-point tiles
now work on node numbers, its loads and stores, its reductions, and the launch, which passes artificial addresses.
Integers, masks and control flow stay numbers. An unknown operation on floats is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter as engine

from svertka.codegen.verify import together
from svertka.codegen.verify.replay import by_name, replaying
from svertka.codegen.verify.symbolic.arithmetic import APPROXIMATED
from svertka.codegen.verify.symbolic.coverage import Coverage, marking
from svertka.codegen.verify.symbolic.graph import ONE, Graph
from svertka.codegen.verify.symbolic.lanes import Lanes
from svertka.codegen.verify.symbolic.memory import Memory
from svertka.codegen.verify.together_builder import for_all, spread_load

__all__ = ["symbolic"]

_Builder = engine.InterpreterBuilder
_Handle = engine.TensorHandle
COMPUTED_BITS, WIDE_BITS = 32, 64
_COMPARISONS = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}


@by_name
def _holds_reals(kind: Any) -> bool:
    scalar = kind.scalar
    return not isinstance(scalar, tl.pointer_type) and bool(scalar.is_floating())


def _real(handle: Any) -> bool:
    """Whether a tile holds nodes."""
    return bool(_holds_reals(handle.dtype))


@contextmanager
def symbolic(graph: Graph, memory: Memory, primitives: ModuleType, coverage: Coverage) -> Iterator[None]:
    """Run every kernel that is launched inside on nodes of ``graph`` and tensors of ``memory``.

    ``coverage`` notes which statements ran.

    The package's ``primitives`` that approximate a function stand here for that function, as the builder's own do.
    """
    lanes = Lanes(graph)
    replaced = (
        _arithmetic(graph, lanes)
        | _special_operations(graph, lanes)
        | _casts(graph, lanes)
        | _accesses(memory)
        | _refused()
    )
    with ExitStack() as stack:
        stack.enter_context(replaying())
        stack.enter_context(marking(coverage, {primitives.__name__}))
        for name, method in replaced.items():
            stack.enter_context(mock.patch.object(_Builder, name, method))
        for name, method in _scans(graph, lanes).items():
            stack.enter_context(mock.patch.object(engine.ScanOps, name, method))
        for name, method in _reductions(graph, lanes).items():
            stack.enter_context(mock.patch.object(engine.ReduceOps, name, method))
        stack.enter_context(mock.patch.object(engine.GridExecutor, "__call__", _launcher(memory)))
        stack.enter_context(mock.patch.object(engine, "_get_np_dtype", _kind_of_array(engine._get_np_dtype)))
        stack.enter_context(mock.patch.object(engine, "_validate_np_data_size", _fits(engine._validate_np_data_size)))
        for name, function in APPROXIMATED.items():
            stack.enter_context(mock.patch.object(primitives, name, _function(graph, lanes, function)))
        yield


def _function(graph: Graph, lanes: Lanes, function: Callable[[Graph, int], int]) -> Callable[[Any], Any]:
    def applied(argument: Any) -> Any:
        handle = _Handle(lanes.unary(partial(function, graph), argument.handle.data), argument.dtype.scalar)
        return tl.tensor(handle, argument.type)

    return applied


def _kind_of_array(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Nodes are int64 for every width of the float; node 0 is the number 0."""
    nodes = np.dtype(np.int64)

    def kind(dtype: Any) -> Any:
        return nodes if _holds_reals(dtype) else original(dtype)

    return kind


def _fits(original: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def fits(array: Any, dtype: Any) -> bool:
        return _holds_reals(dtype) or original(array, dtype)

    return fits


def _arithmetic(graph: Graph, lanes: Lanes) -> dict[str, Any]:
    binary = {
        np.add: graph.add,
        np.subtract: graph.subtract,
        np.multiply: graph.multiply,
        np.divide: graph.divide,
        np.maximum: graph.larger,
        np.minimum: graph.smaller,
    }
    unary: dict[Any, Callable[[int], int]] = {
        np.exp2: graph.exp2,
        np.log2: graph.log2,
        np.sqrt: lambda node: graph.power(node, graph.number(0.5)),
    }
    for operation in (np.exp, np.log, np.sin, np.cos):
        unary[operation] = partial(graph.function, operation.__name__)
    plain_binary, plain_unary = _Builder.binary_op, _Builder.unary_op

    def binary_op(self: Any, left: Any, right: Any, operation: Any) -> Any:
        if not _real(left):
            return plain_binary(self, left, right, operation)
        _refuse_narrow(left, operation.__name__)
        if operation in _COMPARISONS:
            return _Handle(operation(lanes.samples(left.data), lanes.samples(right.data)), tl.int1)
        if operation not in binary:
            raise NotImplementedError(f"{operation.__name__} of floats: symbolic execution does not know it")
        return _Handle(lanes.binary(binary[operation], left.data, right.data), left.dtype.scalar)

    def unary_op(self: Any, argument: Any, operation: Any) -> Any:
        if not _real(argument):
            return plain_unary(self, argument, operation)
        _refuse_narrow(argument, operation.__name__)
        if operation not in unary:
            raise NotImplementedError(f"{operation.__name__} of floats: symbolic execution does not know it")
        return _Handle(lanes.unary(unary[operation], argument.data), argument.dtype.scalar)

    return {"binary_op": binary_op, "unary_op": unary_op}


def _refuse_narrow(handle: Any, what: str) -> None:
    """Half precision is only stored, not computed with: its rounding would precede a cancellation."""
    if handle.dtype.scalar.primitive_bitwidth < COMPUTED_BITS:
        raise TypeError(f"{what} in {handle.dtype.scalar}: kernels compute in float32 or wider; cast it first")


def _special_operations(graph: Graph, lanes: Lanes) -> dict[str, Any]:
    """Operations for which the builder has separate methods."""

    def named(function: Callable[[int], int]) -> Callable[[Any, Any], Any]:
        return lambda self, argument: _Handle(lanes.unary(function, argument.data), argument.dtype.scalar)

    def fused(self: Any, x: Any, y: Any, z: Any) -> Any:
        product = lanes.binary(graph.multiply, x.data, y.data)
        return _Handle(lanes.binary(graph.add, product, z.data), z.dtype.scalar)

    def dot(self: Any, left: Any, right: Any, start: Any, *_: Any) -> Any:
        if left.dtype.scalar != right.dtype.scalar:
            raise TypeError(f"product of {left.dtype.scalar} and {right.dtype.scalar}: operands must have one type")
        _refuse_narrow(start, "accumulating")
        return _Handle(lanes.dot(left.data, right.data, start.data), start.dtype.scalar)

    return {
        "create_fabs": named(lambda node: graph.function("Abs", node)),
        "create_erf": named(lambda node: graph.function("erf", node)),
        "create_rsqrt": named(lambda node: graph.divide(ONE, graph.power(node, graph.number(0.5)))),
        "create_fma": fused,
        "create_dot": dot,
    }


def _casts(graph: Graph, lanes: Lanes) -> dict[str, Any]:
    plain = _Builder.cast_impl

    def cast(self: Any, source: Any, kind: Any) -> Any:
        have, want = _real(source), _real(_Handle(np.zeros(1, dtype=np.int8), kind.scalar))
        if have and want:  # another width of the same value: this level has no rounding
            return _Handle(source.data, kind.scalar)
        if want:
            return _Handle(lanes.numbers(source.data), kind.scalar)
        if have:
            raise NotImplementedError("a float becomes an integer: symbolic execution cannot follow it")
        return plain(self, source, kind)

    def number(kind: Any) -> Callable[[Any, Any], Any]:
        return lambda self, value: _Handle(np.array([graph.number(value)], dtype=np.int64), kind)

    return {
        "cast_impl": cast,
        "create_fp_to_fp": lambda self, source, kind, rounding: cast(self, source, kind),
        "get_fp16": number(tl.float16),
        "get_fp32": number(tl.float32),
        "get_fp64": number(tl.float64),
    }


def _accesses(memory: Memory) -> dict[str, Any]:
    def load(self: Any, pointers: Any, mask: Any, other: Any, *_: Any, **__: Any) -> Any:
        kind = pointers.get_element_ty()
        array = engine._get_np_dtype(kind)
        return _Handle(memory.load(*spread_load(pointers, mask, other), kind.is_floating(), array), kind)

    def store(self: Any, pointers: Any, value: Any, mask: Any, *_: Any) -> None:
        memory.store(*for_all(pointers.data, value.data, mask.data))

    plain_offset = _Builder.create_addptr

    def offset(self: Any, pointer: Any, distance: Any) -> Any:
        if memory.wide and distance.dtype.scalar.primitive_bitwidth < WIDE_BITS:
            memory.fail(f"{memory.kernel}: an offset of {distance.dtype.scalar} where some tensor needs 64 bits")
        return plain_offset(self, pointer, distance)

    return {"create_masked_load": load, "create_masked_store": store, "create_addptr": offset}


def _refuse(name: str) -> Callable[..., Any]:
    def refused(*_: Any) -> Any:
        raise NotImplementedError(f"{name}: symbolic execution does not know it")

    return refused


def _refused() -> dict[str, Any]:
    plain_bits = _Builder.create_bitcast

    def bits(self: Any, source: Any, kind: Any) -> Any:
        if _real(source) or _real(_Handle(np.zeros(1, dtype=np.int8), kind.scalar)):
            raise NotImplementedError("the bits of a float: symbolic execution cannot follow them")
        return plain_bits(self, source, kind)

    names = ("create_atomic_rmw", "create_atomic_cas", "create_clampf", "create_histogram")
    return {"create_bitcast": bits} | {name: _refuse(name) for name in names}


def _reductions(graph: Graph, lanes: Lanes) -> dict[str, Any]:
    plain_sum, plain_extreme = engine.ReduceOps.sum, engine.ReduceOps.min_max

    def total(self: Any, tile: Any) -> Any:
        if not _real(tile.handle):
            return plain_sum(self, tile)
        return self.to_tensor(lanes.total(tile.handle.data, self.axis, self.keep_dims), tile.dtype)

    def extreme(self: Any, tile: Any, val_reduce_op: Any, idx_reduce_op: Any = None) -> Any:
        first = tile[0] if isinstance(tile, tuple) else tile
        if not _real(first.handle):
            return plain_extreme(self, tile, val_reduce_op, idx_reduce_op)
        if idx_reduce_op is not None:
            raise NotImplementedError("argmax of floats along a tile: symbolic execution does not know it")
        choose = graph.larger if val_reduce_op is np.nanmax else graph.smaller
        return self.to_tensor(lanes.extreme(choose, first.handle.data, self.axis, self.keep_dims), first.dtype)

    return {"sum": total, "min_max": extreme}


def _scans(graph: Graph, lanes: Lanes) -> dict[str, Any]:
    def running(name: str, combine: Callable[[int, int], int], plain: Callable[..., Any]) -> Callable[..., Any]:
        def scan(self: Any, tile: Any) -> Any:
            if not _real(tile.handle):
                return plain(self, tile)
            _refuse_narrow(tile.handle, name)
            return [self.to_tensor(lanes.running(combine, tile.handle.data, self.axis), tile.dtype)]

        return scan

    known = {"cumsum": graph.add, "cumprod": graph.multiply}
    return {name: running(name, combine, getattr(engine.ScanOps, name)) for name, combine in known.items()}


def _launcher(memory: Memory) -> Callable[..., None]:
    """A launch: arguments become artificial pointers."""

    def launch(executor: Any, *arguments: Any, **keywords: Any) -> None:
        function = executor.fn
        known = inspect.getfullargspec(function).args
        tensors = [value for value in arguments if isinstance(value, torch.Tensor)]
        memory.begin(function.__name__, tensors)
        bound = inspect.getcallargs(function, *arguments, **{k: v for k, v in keywords.items() if k in known})
        others = tuple(
            (k, str(v), getattr(v, "node", None)) for k, v in bound.items() if not isinstance(v, torch.Tensor)
        )
        for name, value in bound.items():
            if isinstance(value, torch.Tensor):
                bound[name] = memory.pointer(name, value)
        memory.once((function, executor.grid, others), tensors, lambda: _programs(executor, bound, memory))
        memory.end()

    return launch


def _programs(executor: Any, bound: dict[str, Any], memory: Memory) -> None:
    """Run all programs of a launch."""
    scope = engine._patch_lang(executor.fn)
    try:
        for name, value in bound.items():
            if name not in executor.constexprs and not isinstance(value, tl.tensor):
                bound[name] = engine._implicit_cvt(value)
        function = executor.fn
        together.run(function.__name__, (*executor.grid, 1, 1)[:3], lambda: function(**bound), memory)
    finally:
        scope.restore()
