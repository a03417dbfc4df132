"""The packages that this Python imports: versions, places, and what the locks say of them. Nothing is imported."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import site
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from urbanvlm.errors import UserError
from urbanvlm.locks import lock_files

CORE = (
    *("torch", "transformers", "peft", "deepspeed", "accelerate", "tokenizers", "safetensors", "huggingface-hub"),
    *("submitit", "numpy", "pillow", "pydantic"),
)
"""what results and jobs depend on most"""


@dataclass(frozen=True)
class Package:
    """A package as `import` would find it."""

    name: str
    version: str | None
    """None where it is not installed"""
    locked: str | None
    """None where no lock names it, or none is known"""
    place: Path | None

    @property
    def is_foreign(self) -> bool:
        """Does it come from outside of this Python's own folder, such as from a home folder?"""
        return self.place is not None and not self.place.resolve().is_relative_to(Path(sys.prefix).resolve())

    @property
    def is_right(self) -> bool:
        return self.locked is None or (self.version is not None and Version(self.version) == Version(self.locked))


def torch_flavour() -> str:
    """Which locks were installed. torch itself may be somebody else's; what comes with the CUDA build alone is not."""
    return "cpu" if installed_version("triton") is None else "cuda"


def locked_versions(root: Path, flavour: str) -> dict[str, str]:
    """Name -> version for this Python and machine, by the locks of the checkout in `root`. Raises UserError."""
    versions: dict[str, str] = {}
    for lock in lock_files(root / "containers", flavour):
        for line in lock.read_text(encoding="utf-8").splitlines():
            if re.match(r"[A-Za-z0-9]", line):
                try:
                    entry = Requirement(line.partition(" \\")[0])
                except InvalidRequirement as error:
                    raise UserError(lock, f"is no lock ({error})", "bring it back: git checkout") from None
                if entry.marker is None or entry.marker.evaluate():
                    (pin,) = entry.specifier
                    versions[canonicalize_name(entry.name)] = pin.version
    return versions


def look_at(names: Sequence[str], locked: dict[str, str]) -> list[Package]:
    """Each as it is found, in the order of the names."""
    return [Package(name, installed_version(name), locked.get(name), _place(name)) for name in names]


def hidden_in_home(names: Sequence[str]) -> list[str]:
    """Those that lie in the home folder too, where `pip install --user` puts them, and that this Python passes by."""
    if site.ENABLE_USER_SITE:
        return []
    theirs = metadata.distributions(path=[site.getusersitepackages()])
    found = {canonicalize_name(one.metadata["Name"] or "") for one in theirs}
    return [name for name in names if name in found]


def why_seen(place: Path) -> str:
    """How to have this Python pass by a place outside of it."""
    if site.ENABLE_USER_SITE and place.is_relative_to(site.getusersitepackages()):
        return "export PYTHONNOUSERSITE=1"
    for folder in filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if place.resolve().is_relative_to(Path(folder).resolve()):
            return "unset PYTHONPATH"
    if place.resolve().is_relative_to(Path.cwd()):
        return "move it away, or start from another folder"
    return "make venv makes a Python with packages of its own"


def torch_cuda() -> str | None:
    """The CUDA version that torch is built for; None of the CPU build, or without torch."""
    text = _text_in("torch", "version.py")
    found = re.search(r"^cuda\b.*=\s*'([\d.]+)'", text, re.MULTILINE)
    return found.group(1) if found else None


def deepspeed_ops() -> list[str]:
    """Those of DeepSpeed's operations that were compiled when it was installed."""
    found = re.search(r"^installed_ops=(\{.*\})$", _text_in("deepspeed", "git_version_info_installed.py"), re.MULTILINE)
    return [name for name, there in ast.literal_eval(found.group(1)).items() if there] if found else []


def _text_in(package: str, file: str) -> str:
    """Of a file of a package, without importing that; empty if there is none."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(folder) / file).is_file():
            return (Path(folder) / file).read_text(encoding="utf-8")
    return ""


def installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _place(name: str) -> Path | None:
    """The folder that its modules would be imported from; the first that lies elsewhere, if one does."""
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file("")))
    for module in _modules(distribution):
        spec = importlib.util.find_spec(module)
        # One without an origin is spread over folders on purpose.
        if spec is not None and spec.origin is not None and Path(spec.origin).is_absolute():
            origin = Path(spec.origin)
            found = origin.parent.parent if spec.submodule_search_locations else origin.parent
            if found.resolve() != folder.resolve():
                return found
    return folder


def _modules(distribution: metadata.Distribution) -> list[str]:
    """Names that it may be imported by."""
    named = (distribution.read_text("top_level.txt") or "").split()
    names = named or [file.parts[0].removesuffix(".py") for file in distribution.files or () if file.suffix == ".py"]
    return [name for name in dict.fromkeys(names) if name.isidentifier()]
