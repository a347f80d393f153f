"""Launches of Triton kernels of any library on the machine instead of a GPU.

Inside ``executing_foreign`` every launch in this process is compiled for the target, as Triton's own ``run`` would, and
runs on tensors of the CPU. Where a library would search settings by their times, the first of those that it leaves to
choose from is taken: there is no clock.

Input: a target, and calls of a library. Output: what ran.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from triton.runtime import Autotuner, JITFunction
from triton.runtime.autotuner import Heuristics
from triton.runtime.jit import KernelInterface

from svertka.codegen.ptx.launch import Executed, run_launch
from svertka.codegen.verify.recording import Launched

__all__ = ["executing_foreign", "launch"]


@contextmanager
def executing_foreign(target: str) -> Iterator[Executed]:
    """Run and count every Triton launch of this process on the machine.

    Raises:
        PtxError: what the machine refuses.
    """
    done = Executed(target, foreign=True, counting=True)

    def run(kernel: Any, *arguments: Any, grid: Any, warmup: bool = False, **constants: Any) -> None:
        for hook in kernel.pre_run_hooks:
            hook(*arguments, **constants)
        launch(kernel, grid, arguments, constants, done)

    replaced: dict[Any, Callable[..., Any]] = {JITFunction: run}
    for kind in _kinds(KernelInterface):
        if issubclass(kind, Autotuner):
            replaced[kind] = _with_the_first_setting
        elif not issubclass(kind, JITFunction | Heuristics) and "run" in vars(kind):
            replaced[kind] = _straight
    with ExitStack() as stack:
        for kind, function in replaced.items():
            stack.enter_context(mock.patch.object(kind, "run", function))
        yield done


def launch(kernel: Any, grid: Any, arguments: tuple[Any, ...], constants: dict[str, Any], done: Executed) -> None:
    """Run one launch.

    Args:
        kernel: the ``@triton.jit`` function.
        grid: how many programs along up to three axes, or a function of all arguments that gives it.
        arguments: by place.
        constants: arguments by name, and options of the compiler.
        done: where to note it.
    """
    names, arguments = kernel.arg_names, tuple(map(_tensor, arguments))
    defaults = {name: p.default for name, p in kernel.signature.parameters.items() if p.default is not p.empty}
    given = {**defaults, **constants}
    for name in names[: len(arguments)]:
        given.pop(name, None)
    programs = grid({**given, **dict(zip(names, arguments, strict=False))}) if callable(grid) else grid
    along = tuple(int(extent) for extent in (*programs, 1, 1)[:3])
    if math.prod(along):
        run_launch(Launched(kernel, math.prod(along), arguments, given, (), ""), done, (along[0], along[1], along[2]))


def _tensor(value: Any) -> Any:
    """The tensor that a library's own pointer type stands for; another value as it is."""
    if isinstance(value, torch.Tensor) or not hasattr(value, "data_ptr"):
        return value
    base = next(one for one in vars(value).values() if isinstance(one, torch.Tensor))
    flat = base.new_empty(0).set_(base.untyped_storage())
    return flat[(value.data_ptr() - flat.data_ptr()) // flat.itemsize :]


def _kinds(kind: Any) -> Iterator[Any]:
    for one in kind.__subclasses__():
        yield one
        yield from _kinds(one)


def _with_the_first_setting(tuner: Any, *arguments: Any, **options: Any) -> Any:
    """Run an autotuned kernel with its first setting."""
    tuner.nargs = dict(zip(tuner.arg_names, arguments, strict=False))
    config = tuner.prune_configs(options)[0]
    tuner.best_config = config
    if config.pre_hook is not None:
        config.pre_hook({**tuner.nargs, **options, **config.all_kwargs()})
    return tuner.fn.run(*arguments, **options, **config.all_kwargs())


def _straight(wrapper: Any, *arguments: Any, **options: Any) -> Any:
    """Run what a library wraps around a kernel, without its cache of compiled kernels."""
    return wrapper.fn.run(*arguments, **options)
