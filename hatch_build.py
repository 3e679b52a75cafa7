"""Builds the compiled part of hooks into wheels, where there is a C compiler.

It needs no header of Python's and is loaded with ctypes, so one wheel serves every Python on its
platform. Without a compiler, or when it fails, the wheel has Python alone: relevo then starts hooks
in Python, which costs more, and says so in `relevo check`. An editable installation gets the
library beside its source. `CC` and `CFLAGS` are heard.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("src/relevo/hooks/prompt.c", "src/relevo/hooks/asking.c")
LIBRARY = "relevo/hooks/libhooks.so"
FLAGS = ("-O2", "-Wall", "-Wextra", "-fPIC", "-shared")


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]  # generic in newer ones only
    """What hatchling calls before it puts a wheel together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library. `version`: "standard" or "editable"."""
        if self.target_name != "wheel":
            return
        if version == "editable":
            self._build(Path(self.root) / "src" / LIBRARY)
            return
        self._folder = tempfile.TemporaryDirectory(prefix="relevo-build-")
        built = Path(self._folder.name) / "libhooks.so"
        if self._build(built):
            build_data["force_include"][str(built)] = LIBRARY
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, *_: object) -> None:
        """Leave nothing behind."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()

    def _build(self, target: Path) -> bool:
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
        if shutil.which(compiler[0]) is None:
            self.app.display_warning(f"no C compiler ({compiler[0]}): hooks are started in Python")
            return False
        flags = [*FLAGS, *shlex.split(os.environ.get("CFLAGS", ""))]
        fresh = target.with_suffix(".fresh")  # a library that runs is replaced, not overwritten
        sources = [str(Path(self.root) / source) for source in SOURCES]
        command = [*compiler, *flags, "-o", str(fresh), *sources]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            fresh.replace(target)
            return True
        fresh.unlink(missing_ok=True)
        self.app.display_warning(f"{shlex.join(command)} failed: hooks are started in Python")
        self.app.display_warning(result.stderr)
        return False
