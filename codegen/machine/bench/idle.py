"""Kernels that do nothing, so that the host time of a call can be measured without a GPU.

All of a call runs (checks, plan, allocations and autograd) except the driver: a launch returns at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

__all__ = ["idle_kernels"]


Tell = Callable[[str, Mapping[str, Any]], None]


class _Compiled:
    """Stands for the result of a Triton launch."""

    packed_metadata = ()

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments: None


class _Kernel:
    """A kernel that is launched like a Triton kernel."""

    def __init__(self, kernel: Any, tell: Tell | None) -> None:
        self.arg_names, self.name, self.tell = kernel.arg_names, kernel.__name__, tell

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., _Compiled]:
        def launch(*arguments: Any, **constants: Any) -> _Compiled:
            if self.tell is not None:
                self.tell(self.name, constants)
            return _Compiled()

        return launch


@contextmanager
def idle_kernels(package: str = "svertka.generated", tell: Tell | None = None) -> Iterator[None]:
    """CPU tensors take the kernel path, with kernels that compute nothing; results are uninitialized memory.

    Args:
        package: name of the package.
        tell: called with a kernel's name and constants where Triton would compile it for the first time; plans do not
            call it.
    """
    runtime, plans = (importlib.import_module(f"{package}.{name}") for name in ("runtime", "plans"))
    with ExitStack() as stack:
        # All are imported before any is altered: a module imports kernels that it shares from others.
        for module in list(_modules(importlib.import_module(f"{package}.kernels"))):
            kernels: dict[str, Any] = {
                name: _Kernel(value, tell) for name, value in vars(module).items() if hasattr(value, "arg_names")
            }
            if kernels:
                stack.enter_context(mock.patch.multiple(module, **kernels))
        for where, name, value in ((runtime, "INTERPRETED", True), (plans, "ENABLED", True), (plans, "_PLANS", {})):
            stack.enter_context(mock.patch.object(where, name, value))
        yield


def _modules(kernels: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(kernels.__path__):
        yield importlib.import_module(f"{kernels.__name__}.{found.name}")
