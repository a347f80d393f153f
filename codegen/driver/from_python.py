"""One call from a formula to a layer: derived, proven, generated and imported.

The package lies in the user's cache (``$SVERTKA_CACHE``, else ``$XDG_CACHE_HOME/svertka``, else ``~/.cache/svertka``)
under a digest of the formula, its public interface and this version of the generator. So a second call, in any process,
only imports it. Validation runs in a separate process: it needs Triton's interpreter, and the caller may need Triton's
compiler.

Input: a ``Layer`` or a ``Definition``. Output: a module's class, or a function.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock

from svertka.codegen.cached import imported
from svertka.codegen.driver.certificate import certificate_path
from svertka.codegen.driver.generate import VERSION
from svertka.codegen.driver.write import check_writable
from svertka.codegen.frontend.supported import check_supported
from svertka.codegen.lowering.built import definition_digest
from svertka.codegen.torch_api.public_names import check_definitions
from svertka.codegen.user_cache import cache_folder, digest, generator_digest
from svertka.spec import Layer, define
from svertka.spec.definition import Definition

if TYPE_CHECKING:
    import torch

__all__ = [
    "certificate_of",
    "definition_folder",
    "in_interpreter",
    "layer_function",
    "layer_module",
    "layer_package",
]

UNPROVEN = "unproven"


def layer_module(layer: Layer | Definition, *, validate: bool = True) -> type[torch.nn.Module]:
    """The class of a formula's module.

    Args:
        layer: a formula, or one with its public interface (``define``).
        validate: whether the package is kept only if it passes every level of validation; takes seconds to minutes,
            once.

    Raises:
        TypeError: it is no formula.
        ValueError: the formula has no public interface, a name is not allowed, or the cache cannot be written to.
        RuntimeError: the kernels differ from their formula; the message has the levels' failures.
    """
    definition = _face(layer)
    if not definition.modules:
        raise ValueError(f"layer {definition.name}: it defines no module; call layer_function, or add a ModuleFace")
    package = layer_package(definition, validate=validate)
    return cast("type[torch.nn.Module]", getattr(package, definition.modules[0].name))


def layer_function(layer: Layer | Definition, *, validate: bool = True) -> Callable[..., Any]:
    """A formula's function; arguments and errors as in ``layer_module``."""
    definition = _face(layer)
    package = layer_package(definition, validate=validate)
    return cast("Callable[..., Any]", getattr(package.functional, definition.function))


def certificate_of(layer: Layer | Definition) -> Path:
    """Path of the certificate of a formula's kernels, after ``layer_module`` or ``layer_function`` has made it.

    Raises:
        FileNotFoundError: it was not made, or without validation.
    """
    definition = _face(layer)
    path = definition_folder(definition) / "proven" / certificate_path(definition)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: {definition.name} has no certificate yet; call layer_module({definition.name})"
        )
    return path


def layer_package(layer: Layer | Definition, *, validate: bool = True) -> ModuleType:
    """The package of one formula; arguments and errors as in ``layer_module``.

    Raises:
        ValueError: the cache cannot be written to; or as in ``layer_module``.
    """
    definition = _face(layer)
    check_definitions([definition])
    for variant in definition.variants:
        check_supported(variant.layer)
    root = definition_folder(definition)
    folder = root / "proven"
    if not validate and not folder.exists():
        folder = root / UNPROVEN
    if not (folder / "__init__.py").exists():
        check_writable(root, "SVERTKA_CACHE")
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "lock"):  # if several processes need it, one generates and the others wait
            if not (folder / "__init__.py").exists():
                _generate(definition, folder, validate)
    return imported(folder)


def _face(layer: Layer | Definition) -> Definition:
    if not isinstance(layer, Layer | Definition):
        raise TypeError(
            f"layer={layer!r} is a {type(layer).__name__}, but must be a Layer or what define(...) gives; "
            "put tensors and equations together in svertka.spec.Layer"
        )
    definition = define(layer) if isinstance(layer, Layer) else layer
    return replace(definition, source=definition.source or "a formula in Python")


def definition_folder(definition: Definition) -> Path:
    """Folder of a formula's package; it differs for every formula, interface and generator."""
    text = "\n".join([definition_digest(definition), VERSION, generator_digest()])
    return cache_folder() / definition.name / digest(text)


def _generate(definition: Definition, folder: Path, validate: bool) -> None:
    """Generate in a separate process; errors as in ``in_interpreter``."""
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(scratch) / "definition"
        given.write_bytes(pickle.dumps(definition))
        in_interpreter(definition.name, __name__, str(given), str(folder), *["--validate"] * validate)


def in_interpreter(layer: str, module: str, *arguments: str) -> None:
    """Run a module's program in a separate process, with Triton's interpreter on.

    Args:
        layer: what it generates, for the message.
        module: its name.
        arguments: of the program.

    Raises:
        RuntimeError: it fails; its output is the message.
    """
    found = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": found}
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        import_module("torch")  # meanwhile: what is generated needs it, and to import it takes as long as a proof
        said = process.communicate()[1]
    if process.returncode:
        told = "\n".join(said.strip().splitlines()[:20])
        raise RuntimeError(f"layer {layer}: nothing was generated\n{told}")


def main(given: str, folder: str, *options: str) -> int:
    """Generate the package of a pickled definition, validate it if asked, and write it; 1 if a kernel fails."""
    from svertka.codegen.driver.certificate import certificates
    from svertka.codegen.driver.generate import generate_package
    from svertka.codegen.driver.write import write
    from svertka.codegen.emit.formatting import formatted_if_possible
    from svertka.codegen.verify.validate import validate_package

    definition: Definition = pickle.loads(Path(given).read_bytes())
    package = generate_package([definition], layout=formatted_if_possible)
    sources = package.sources
    if "--validate" in options:
        verdicts = validate_package(sources, [definition])
        failures = [line for verdict in verdicts for line in verdict.failures]
        if failures:
            sys.stderr.write("\n".join(failures) + "\n")
            return 1
        sources = sources | certificates(package, {}, verdicts)
    write(sources, Path(folder))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
