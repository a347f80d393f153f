"""Gradients of gradients of this library's layers, made when they are first asked for.

They are two thirds of what can be generated, and few users need them. So ``svertka generate`` derives and proves them,
keeps their certificates beside those of the layers, and writes none of them. Whoever differentiates a layer twice makes
its kernels anew from the formula, into the user's cache. The kernels that the certificate names are proven; others (of
another version of SymPy, or while the generator is altered) are proven now, which takes up to minutes, or refused.

Input: a name. Output: a folder of modules.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

from svertka.codegen.driver.certificate import certificate_path, kernel_digests
from svertka.codegen.driver.from_python import definition_folder, in_interpreter
from svertka.codegen.driver.generate import PACKAGE, SHARED, headed, second_order_sources
from svertka.codegen.driver.write import check_writable, write
from svertka.codegen.lowering.built import built
from svertka.spec.definition import Definition
from svertka.spec.gradient import gradient_definition, gradient_name
from svertka.spec.layers import DEFINITIONS

__all__ = ["made_sources", "second_order"]

PARTS = ("kernels", "formulas", "gradients")


def second_order(name: str, folder: Path) -> Path:
    """The folder of a gradient's modules: ``kernels``, ``formulas`` and ``gradients`` hold one each.

    Args:
        name: of a gradient's definition, such as ``"softmax_gradient"``.
        folder: where those of the library's certificate belong; others have a folder by the digest of the generator.

    Raises:
        StopIteration: no layer of this library has such a gradient.
        ValueError: the user's cache cannot be written to.
        RuntimeError: its kernels are not those that are proven, and differ from their formula.
    """
    gradient, sources = _sources(name)
    certified = _is_certified(gradient, sources)
    if not certified:
        folder = definition_folder(gradient) / "second_order"
    if not folder.exists():
        check_writable(folder.parent, "SVERTKA_CACHE")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):  # if several processes need it, one makes it and the others wait
            if folder.exists():
                return folder
            if certified:
                write(sources, folder)
            else:
                in_interpreter(name, __name__, name, str(folder))
    return folder


def made_sources(definition: Definition) -> dict[str, str]:
    """The modules of the gradient of a layer of this library, by path; none if it cannot be differentiated twice."""
    if definition.orders < 2:
        return {}
    name = gradient_name(definition)
    found = {f"{part}/{name}.py": find_spec(f"svertka.generated.{part}.{name}") for part in PARTS}
    origins = {path: spec.origin for path, spec in found.items() if spec is not None and spec.origin is not None}
    return {path: Path(origin).read_text(encoding="utf-8") for path, origin in origins.items()}


def _sources(name: str) -> tuple[Definition, dict[str, str]]:
    definition = next(d for d in DEFINITIONS.values() if d.orders > 1 and gradient_name(d) == name)
    module = built(gradient_definition(definition))
    return module.definition, headed(second_order_sources(definition, module), [module])


def _is_certified(gradient: Definition, sources: dict[str, str]) -> bool:
    """Whether the library's certificate is of these kernels."""
    path = PACKAGE / certificate_path(gradient)
    if not path.exists():
        return False
    shown = json.loads(path.read_text(encoding="utf-8"))["digests"]
    shared = {name: (PACKAGE / name).read_text(encoding="utf-8") for name in SHARED}
    return all(shown[part] == digest for part, digest in kernel_digests(shared | sources, gradient).items())


def main(name: str, folder: str) -> int:
    """Make the modules of a gradient, and write them if every level shows that they are right; 1 if not."""
    from svertka.codegen.verify.validate import validate_package

    gradient, sources = _sources(name)
    library = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    verdicts = validate_package(library | sources, [gradient])
    failures = [line for verdict in verdicts for line in verdict.failures]
    sys.stderr.write("".join(f"{line}\n" for line in failures))
    if not failures:
        write(sources, Path(folder))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
