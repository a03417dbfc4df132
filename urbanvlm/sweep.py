"""A sweep: one YAML whose `sweep:` stands for several experiments, and the folder where they are compared."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from urbanvlm.errors import UserError, suggest
from urbanvlm.experiment import (
    SWEEP,
    Experiment,
    check_experiment,
    fields_at,
    parse_override,
    read_tree,
    reference,
    set_key,
)
from urbanvlm.records import write_atomic
from urbanvlm.run_folder import RunFolder
from urbanvlm.yaml_text import dump_yaml, parse_yaml

MOST_RUNS = 256
LONGEST_NAME = 64
NOT_SWEPT = {
    "name": "each run gets its name from the sweep's values",
    "output": "the runs of a sweep lie in one folder",
    SWEEP: "a sweep has no sweep",
}
SEED = "seed"


@dataclass(frozen=True)
class Point:
    """One combination of a sweep's values; the only one, without settings, of an experiment without a sweep."""

    labels: Mapping[str, str]
    """axis -> how its value is called in the run's name; an axis is a key, or several that change together"""
    settings: Mapping[str, Any]
    """dotted key -> value"""
    experiment: Experiment

    @property
    def run_id(self) -> str:
        return self.experiment.run_id


@dataclass(frozen=True)
class Sweep:
    """The runs that an experiment YAML stands for: one, or those of its `sweep`."""

    name: str
    points: tuple[Point, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """Empty where the YAML has no `sweep`."""
        return tuple(self.points[0].labels)

    @property
    def question(self) -> str:
        return self.points[0].experiment.question

    @property
    def id(self) -> str:
        """`<name>-sweep-<hash8 of its runs>`: other runs make another sweep, another order does not."""
        digest = hashlib.sha256(json.dumps(sorted(point.run_id for point in self.points)).encode()).hexdigest()
        return f"{self.name}-sweep-{digest[:8]}"

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(Path(self.points[0].experiment.output).absolute() / self.id)


@dataclass(frozen=True)
class RecordedPoint:
    """A point as `sweep.yaml` holds it."""

    run_id: str
    labels: Mapping[str, str]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class SweepRecord:
    """What `sweep.yaml` holds: all that a comparison needs to know beside the run folders."""

    name: str
    question: str
    points: tuple[RecordedPoint, ...]


@dataclass(frozen=True)
class SweepFolder:
    """Paths of one sweep, which lies beside its runs. Nothing else in the project joins these names."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def file(self) -> Path:
        """Which run is which point."""
        return self.path / "sweep.yaml"

    @property
    def comparison(self) -> Path:
        return self.path / "comparison.md"

    @property
    def table(self) -> Path:
        """Every score of every run, one a line."""
        return self.path / "comparison.csv"

    @property
    def plot(self) -> Path:
        return self.path / "comparison.png"

    @property
    def page(self) -> Path:
        """The comparison as one file for a browser."""
        return self.path / "comparison.html"

    @property
    def latex(self) -> Path:
        return self.path / "comparison.tex"

    @property
    def as_run(self) -> RunFolder:
        """For the folders of its jobs, which lie as those of a run do."""
        return RunFolder(self.path)

    def run(self, run_id: str) -> Path:
        return self.path.parent / run_id

    def write(self, sweep: Sweep) -> None:
        """Make the folder and write `sweep.yaml`. Raises UserError if it cannot be written."""
        points = [
            {"run": point.run_id, "labels": dict(point.labels), "settings": dict(point.settings)}
            for point in sweep.points
        ]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomic(self.file, dump_yaml({"name": sweep.name, "question": sweep.question, "points": points}))
        except OSError as error:
            raise UserError(
                self.path.parent, f"cannot be written ({error.strerror})", "choose another folder with SET=output=…"
            ) from None

    def read(self) -> SweepRecord:
        """What `write` wrote. Raises UserError if this is no sweep's folder."""
        if not self.file.is_file():
            raise UserError(self.path, "is not the folder of a sweep", "`make submit` with a sweep makes one")
        tree = parse_yaml(self.file.read_text(encoding="utf-8"), self.file)
        try:
            points = [RecordedPoint(point["run"], point["labels"], point["settings"]) for point in tree["points"]]
            return SweepRecord(tree["name"], tree["question"], tuple(points))
        except (KeyError, TypeError) as error:
            raise UserError(self.file, f"is not as we wrote it ({error!r})", "submit the sweep again") from None


def load_sweep(path: Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read an experiment YAML and expand its `sweep`; without one it is a sweep of one point. Raises UserError.

    Overrides come before the expansion. One of a swept key puts its value in the place of all of the key's values; one
    of a part of a swept value (`models.0.precision`, where `models` is swept) changes every value. `sweep.<key>=[…]`
    changes the sweep itself, `sweep=null` takes it away.

    The points are ordered by axis, `models` first, `seed` last, others by name in between, then by the order of the
    values: neither that order nor any run's id depends on the order of the keys in the YAML.
    """
    tree = read_tree(path)
    swept = tree.pop(SWEEP, None)
    assignments = []
    for override in overrides:
        dotted, value, where = parse_override(override)
        if dotted == SWEEP:
            swept = value
        elif dotted.startswith(f"{SWEEP}."):
            swept = {**_mapping(swept, path), dotted.removeprefix(f"{SWEEP}."): value}
        else:
            assignments.append((dotted, value, where))
    axes = _axes(swept, path)
    late = []
    for dotted, value, where in assignments:
        if axis := next((axis for axis in axes if dotted in axis.keys), None):
            axes[axes.index(axis)] = axis.only(dotted, value, where)
        elif any(dotted.startswith(f"{key}.") for axis in axes for key in axis.keys):
            late.append((dotted, value, where))
        else:
            set_key(tree, dotted, value, where)
    points = tuple(_points(tree, axes, late, path))
    name = str(tree["name"]) if axes else points[0].experiment.name
    return Sweep(name, points)


# ---- the axes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    label: str
    parts: tuple[Any, ...]
    """one for each key of the axis"""


@dataclass(frozen=True)
class _Axis:
    keys: tuple[str, ...]
    values: tuple[_Value, ...]
    where: str

    @property
    def name(self) -> str:
        return ", ".join(self.keys)

    @property
    def order(self) -> tuple[int, tuple[str, ...]]:
        rank = 0 if "models" in self.keys else 2 if self.keys == (SEED,) else 1
        return rank, self.keys

    def only(self, key: str, value: Any, where: str) -> _Axis:
        """With that one value of a key. Keys that change together have only the values that they have together."""
        position = self.keys.index(key)
        same = tuple(one for one in self.values if _text(one.parts[position]) == _text(value))
        if not same and len(self.keys) > 1:
            labels = ", ".join(one.label for one in self.values)
            raise UserError(where, f"is none of the values that {self.where} gives to {key}", f"they are in: {labels}")
        return replace(self, values=same or (_Value(_label(key, value, where), (value,)),))


def _axes(swept: Any, path: Path) -> list[_Axis]:
    if swept is None:
        return []
    where = f"{path}: {SWEEP}"
    found = _mapping(swept, path)
    if not found:
        raise UserError(where, "has no keys", "write `sweep: {seed: [0, 1]}`, or remove it")
    axes = sorted((_axis(name, values, f"{where}.{name}") for name, values in found.items()), key=lambda a: a.order)
    _check_keys(axes)
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_RUNS:
        product = " × ".join(str(len(axis.values)) for axis in axes)
        raise UserError(where, f"makes {product} = {count} runs, more than {MOST_RUNS}", "make several sweeps of it")
    return axes


def _mapping(swept: Any, path: Path) -> dict[Any, Any]:
    if swept is None:
        return {}
    if not isinstance(swept, dict):
        raise UserError(f"{path}: {SWEEP}", "is not a mapping of keys to lists of values", "write {seed: [0, 1]}")
    return swept


def _axis(name: Any, values: Any, where: str) -> _Axis:
    """Keys sorted, so that `a, b` and `b, a` are one axis."""
    keys = [key.strip() for key in str(name).split(",")]
    for key in keys:
        _check_key(key, where)
    if not isinstance(values, (list, dict)):
        raise UserError(where, "is not a list of values", f"write [{values}]" if values is not None else "list some")
    if not values:
        raise UserError(where, "has no values", "list some, or remove the key")
    labelled = values.items() if isinstance(values, dict) else ((None, value) for value in values)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    found = []
    for label, value in labelled:
        if len(keys) > 1 and (not isinstance(value, list) or len(value) != len(keys)):
            raise UserError(where, f"{_text(value)} is not a list of {len(keys)} values", "give each key one, in order")
        parts = value if len(keys) > 1 else [value]
        if label is None:
            label = "-".join(_label(keys[n], parts[n], where) for n in order)
        elif not isinstance(label, str) or not _SAFE.fullmatch(label):
            raise UserError(where, f"label {label!r} is not a name", "use letters, digits, '-', '_' and '.'")
        found.append(_Value(label, tuple(parts[n] for n in order)))
    _check_different(
        (", ".join(_text(part) for part in one.parts) for one in found), where, "value {} is listed twice", "remove one"
    )
    _check_different(
        (one.label for one in found), where, "two values are called {}", "give them labels: {label: value, …}"
    )
    return _Axis(tuple(keys[n] for n in order), tuple(found), where)


def _check_key(key: str, where: str) -> None:
    known = {name for name, *_ in reference()}
    if key in NOT_SWEPT:
        raise UserError(where, f"{key} cannot be swept", NOT_SWEPT[key])
    if re.sub(r"\.\d+(?=\.)", ".N", key) not in known:
        *parents, leaf = key.split(".")
        raise UserError(where, "unknown key", suggest(leaf, [name for name, _ in fields_at(parents)]))


def _check_keys(axes: Sequence[_Axis]) -> None:
    """No key is set twice, neither by two axes nor as a part of another: the order would decide."""
    places = [(key, axis.where) for axis in axes for key in axis.keys]
    for (first, _), (second, where) in itertools.permutations(places, 2):
        if first == second or second.startswith(f"{first}."):
            raise UserError(where, f"{second} is set by {first} in this sweep as well", "keep one of them")


def _check_different(texts: Iterable[str], where: str, what: str, next_step: str) -> None:
    text, count = Counter(texts).most_common(1)[0]
    if count > 1:
        raise UserError(where, what.format(text), next_step)


def _text(value: Any) -> str:
    """Equal for equal values, and short enough for an error."""
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


# ---- names of values ------------------------------------------------------------------------------------------------

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _label(key: str, value: Any, where: str) -> str:
    """A value as a part of a run's name: `seed2`, `lora`, `no-chain-of-thought`, `llava`. Raises UserError."""
    leaf = key.rpartition(".")[2].replace("_", "-")
    if key == "models" and isinstance(value, list):
        names = [str(m.get("label") or m.get("family")) for m in value if isinstance(m, dict)]
        label = "-".join(names)
    elif value is None or isinstance(value, bool):
        label = leaf if value else f"no-{leaf}"
    elif isinstance(value, (int, float)):
        label = f"{leaf}{value}"
    elif isinstance(value, list) and all(isinstance(item, (int, float, str)) for item in value):
        label = f"{leaf}{'_'.join(str(item) for item in value)}"
    else:
        label = str(value) if isinstance(value, str) else ""
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-._")
    if not label:
        raise UserError(where, f"{_text(value)} needs a label for the run's name", "write {label: value, …}")
    return label


# ---- the points -----------------------------------------------------------------------------------------------------


def _points(
    tree: Mapping[Any, Any], axes: Sequence[_Axis], late: Sequence[tuple[str, Any, str]], path: Path
) -> Iterator[Point]:
    names: set[str] = set()
    computed: dict[str, str] = {}
    for values in itertools.product(*(axis.values for axis in axes)):
        mine = copy.deepcopy(dict(tree))
        for axis, value in zip(axes, values, strict=True):
            for key, part in zip(axis.keys, value.parts, strict=True):
                set_key(mine, key, copy.deepcopy(part), axis.where)
        for assignment in late:
            set_key(mine, *assignment)
        labels = {axis.name: value.label for axis, value in zip(axes, values, strict=True)}
        where = str(path)
        if axes and isinstance(tree.get("name"), str):
            mine["name"] = "-".join((tree["name"], *labels.values()))
            _check_name(mine["name"], names, f"{path}: {SWEEP}")
            names.add(mine["name"])
            where = f"{path}: {SWEEP}: run {mine['name']}"
        settings = {key: _get(mine, key) for axis in axes for key in axis.keys}
        experiment = check_experiment(mine, where)
        # Values that are written differently may mean the same, such as 1 and 1.0, or a default and nothing.
        twin = computed.setdefault(experiment.model_dump_json(exclude={"name"}), experiment.name)
        if twin != experiment.name:
            raise UserError(f"{path}: {SWEEP}", f"{twin} and {experiment.name} are the same", "remove one value")
        yield Point(labels, settings, experiment)


def _check_name(name: str, taken: set[str], where: str) -> None:
    if len(name) > LONGEST_NAME:
        raise UserError(
            where, f"name {name} has {len(name)} characters, {LONGEST_NAME} at most", "label values: {label: value, …}"
        )
    if name in taken:
        raise UserError(where, f"two runs would be called {name}", "label values: {label: value, …}")


def _get(tree: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree[int(key)] if isinstance(tree, list) else tree[key]
    return tree
