"""The run folder: where everything of a run lies, and the markers that say what is finished."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment, Images, check_experiment
from urbanvlm.records import write_atomic
from urbanvlm.yaml_text import parse_yaml


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run. Nothing else in the project joins these names."""

    path: Path

    @classmethod
    def of(cls, experiment: Experiment) -> RunFolder:
        """Where the run of an experiment lies, whether or not it exists yet."""
        return cls(Path(experiment.output).absolute() / experiment.run_id)

    def create(self) -> None:
        """Make the folder. Raises UserError if it cannot be written."""
        try:
            self.jobs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                self.path.parent, f"cannot be written ({error.strerror})", "choose another folder with SET=output=…"
            ) from None

    def write_experiment(self, experiment: Experiment) -> None:
        """Write `experiment.yaml`, which jobs read: only while holding the run's lock, as resources may differ."""
        write_atomic(self.experiment_file, experiment.to_yaml())

    @cached_property
    def experiment(self) -> Experiment:
        """The resolved experiment of this run. Raises UserError if the folder is no run."""
        if not self.experiment_file.is_file():
            raise UserError(self.path, "is not a run folder", "`make status` lists the runs")
        text = self.experiment_file.read_text(encoding="utf-8")
        return check_experiment(parse_yaml(text, self.experiment_file), self.experiment_file)

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def experiment_file(self) -> Path:
        return self.path / "experiment.yaml"

    @property
    def inputs_file(self) -> Path:
        """sha256 of every file the experiment names, as they were when the run began."""
        return self.path / "inputs.json"

    @property
    def jobs(self) -> Path:
        """One folder a job: its logs, its error, submitit's files."""
        return self.path / "jobs"

    @property
    def snapshots(self) -> Path:
        """One folder for every state of the code that the run was submitted with."""
        return self.path / "snapshot"

    @property
    def lock(self) -> Path:
        return self.path / "LOCK"

    @property
    def dataset(self) -> Path:
        return self.path / "dataset"

    @property
    def images(self) -> Path:
        """Folder of the pictures: the rendered ones, or the experiment's own."""
        images = self.experiment.data.images
        return resolve_folder(images) if images is not None else self.dataset / "images"

    def split_file(self, split: str) -> Path:
        """JSONL of a split, `train`, `val` or `test`. Raises UserError if the experiment has none."""
        data = self.experiment.data
        if data.scenes is not None:
            return self.dataset / f"{split}.jsonl"
        given: str | None = getattr(data, f"{split}_file")
        if given is None:
            raise UserError(self.experiment_file, f"data.{split}_file is not given", "add it")
        return Path(given)

    def has_split(self, split: str) -> bool:
        data = self.experiment.data
        return data.scenes is not None or getattr(data, f"{split}_file") is not None

    def train(self, label: str) -> Path:
        return self.path / "models" / label / "train"

    def predictions(self, label: str, phase: str, images: Images = "real") -> Path:
        return self.path / "models" / label / "evaluate" / phase_name(phase, images) / "predictions"

    def shard_file(self, label: str, phase: str, shard: int, images: Images = "real") -> Path:
        return self.shard_files(label, phase, self.experiment.evaluate.shards, images)[shard]

    def shard_files(self, label: str, phase: str, count: int, images: Images = "real") -> tuple[Path, ...]:
        """Of a run that may have no `experiment.yaml` yet."""
        folder = self.predictions(label, phase, images)
        return tuple(folder / f"shard-{shard:03d}-of-{count:03d}.jsonl" for shard in range(count))

    def tensorboard(self, label: str) -> Path:
        return self.path / "tensorboard" / label

    @property
    def scores(self) -> Path:
        return self.path / "scores.json"

    @property
    def report(self) -> Path:
        return self.path / "report.md"

    @property
    def page(self) -> Path:
        """The report as one file for a browser, with nothing beside it."""
        return self.path / "report.html"

    def progress_file(self, stage: str, rank: int) -> Path:
        return self.path / "progress" / f"{stage}-{rank}.json"


def phase_name(phase: str, images: Images) -> str:
    """A phase in names of stages and folders: `before`; `before-blank` for what was answered without seeing."""
    return phase if images == "real" else f"{phase}-{images}"


def resolve_folder(name: str) -> Path:
    """A folder as the experiment names it; `package:sklearn/datasets/images` lies inside an installed package."""
    if not name.startswith("package:"):
        return Path(name)
    package, _, rest = name.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise UserError(name, f"there is no package {package!r} here", "install it, or name a folder")
    root = Path(spec.submodule_search_locations[0])
    folder = root / rest
    if not folder.resolve().is_relative_to(root.resolve()):
        raise UserError(name, "leaves the package", "name a folder inside it")
    return folder


def marker_of(path: Path) -> Path:
    """`COMPLETE` inside a folder; `<stem>.COMPLETE` beside a file."""
    return path / "COMPLETE" if path.suffix == "" else path.with_suffix(".COMPLETE")


def mark_complete(path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Say that a folder, or a file with a suffix, is finished. Written last, atomically; `facts` may say of what."""
    if path.is_file():
        with path.open("rb") as finished:
            os.fsync(finished.fileno())
    write_atomic(marker_of(path), json.dumps(dict(facts or {}), indent=1, sort_keys=True) + "\n")


def is_complete(path: Path) -> bool:
    """Is it there, and was it marked? A marker alone says nothing about a file that somebody has removed."""
    return path.exists() and marker_of(path).is_file()


def completion_facts(path: Path) -> dict[str, Any]:
    """What `mark_complete` was told; FileNotFoundError if it was not called."""
    facts = json.loads(marker_of(path).read_text(encoding="utf-8"))
    assert isinstance(facts, dict)
    return facts


def fingerprint(path: Path) -> str:
    """sha256 of a file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
