"""For tests on an installed wheel: `worker.x` is `ach._worker.x`, the same module under both names.

It is copied into an environment, and installed by a .pth file there, so that every process has it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

MOVED: Final = ("dsl", "sql", "worker")


class Aliases(MetaPathFinder, Loader):
    """Finds modules of the repository where the wheel has them."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        if fullname.partition(".")[0] not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(f"ach._{spec.name}")
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import of the alias has put its own there.
        if module.__spec__ is not None:
            module.__spec__ = self._specs.pop(module.__spec__.name)


def install() -> None:
    """Put it before all other finders."""
    sys.meta_path.insert(0, Aliases())
