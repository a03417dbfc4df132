"""The records that stages hand to each other as JSON lines, parsed once at the edge."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from urbanvlm.dataset.places import place_of
from urbanvlm.dataset.taxonomy import METRICS, NUMERIC_KINDS, SUBTYPES, scored_name
from urbanvlm.errors import UserError, missing_file

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels, x2 and y2 exclusive."""


@dataclass(frozen=True, slots=True)
class RawObject:
    """One visible object instance: its class, its box and how sure the annotator is (1.0 when rendered)."""

    label: str
    box: Box
    score: float


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known about one image. Depth grows away from the camera, in metres where depth is metric."""

    image_id: str
    place: str
    objects: Mapping[str, int]
    """class -> number of visible instances"""
    view_factors: Mapping[str, float]
    """greenery, sky, building -> share of the image's pixels, 0..1"""
    depth_range: float
    closest_object: str | None
    depth_per_class: Mapping[str, float]
    """class -> mean depth over its pixels"""
    foreground: Mapping[str, bool]
    background: Mapping[str, bool]
    depth_order: Mapping[str, float]
    spatial_distribution: Mapping[str, str]
    """class -> left side | right side | even"""
    top_entity: str
    top_sky: bool
    skyline_clear: bool
    occlusion_pairs: Mapping[str, bool]
    """'a|b' -> is any a partly hidden behind a b"""
    raw_objects: tuple[RawObject, ...]
    missing: frozenset[str] = frozenset()
    """fields that nobody filled in, as `to_json` names them (`depth_stats.range`): what they hold here means nothing"""

    def to_json(self) -> dict[str, Any]:
        """The record in the study's nested layout."""
        flags = {f"{name}_foreground": flag for name, flag in self.foreground.items()}
        flags |= {f"{name}_background": flag for name, flag in self.background.items()}
        return {
            "image_id": self.image_id,
            "place": self.place,
            "objects": dict(self.objects),
            "view_factors": dict(self.view_factors),
            "depth_stats": {"range": self.depth_range, "closest_object": self.closest_object},
            "depth_per_class": {**self.depth_per_class, **flags},
            "depth_order": dict(self.depth_order),
            "spatial_distribution": dict(self.spatial_distribution),
            "vertical_layout": {
                "top_entity": self.top_entity,
                "top_sky": self.top_sky,
                "skyline_clear": self.skyline_clear,
            },
            "occlusion_pairs": dict(self.occlusion_pairs),
            "raw_objects": [{"label": o.label, "box": list(o.box), "score": o.score} for o in self.raw_objects],
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Metadata:
        """Inverse of `to_json`. Raises KeyError naming the missing field."""
        depth_per_class = row["depth_per_class"]

        def flags(suffix: str) -> dict[str, bool]:
            return {k.removesuffix(suffix): bool(v) for k, v in depth_per_class.items() if k.endswith(suffix)}

        layout = row["vertical_layout"]
        return cls(
            image_id=row["image_id"],
            place=row.get("place") or place_of(row["image_id"]),
            objects=row["objects"],
            view_factors=row["view_factors"],
            depth_range=row["depth_stats"]["range"],
            closest_object=row["depth_stats"]["closest_object"],
            depth_per_class={
                k: v for k, v in depth_per_class.items() if not k.endswith(("_foreground", "_background"))
            },
            foreground=flags("_foreground"),
            background=flags("_background"),
            depth_order=row["depth_order"],
            spatial_distribution=row["spatial_distribution"],
            top_entity=layout["top_entity"],
            top_sky=layout["top_sky"],
            skyline_clear=layout["skyline_clear"],
            occlusion_pairs=row["occlusion_pairs"],
            raw_objects=tuple(RawObject(o["label"], tuple(o["box"]), o["score"]) for o in row["raw_objects"]),
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One question on one image with its gold answer."""

    id: str
    """unique in its file; that of `own_id` where the row has none"""
    image_id: str
    place: str
    question: str
    answer: str
    qtype: str
    subtype: str
    """as written in the row, so possibly `paraphrase.from_<subtype>`"""
    cot_answer: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """every further key of the row (object, factor, object1, object2, …), kept as it was"""

    @property
    def scored_subtype(self) -> str:
        """The subtype that scores this row: a paraphrase scores as what it rephrases."""
        return scored_name(self.subtype)

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": self.id,
            "image_id": self.image_id,
            "place": self.place,
            "question": self.question,
            "answer": self.answer,
            "qtype": self.qtype,
            "subtype": self.subtype,
            **self.extra,
        }
        if self.cot_answer is not None:
            row["cot_answer"] = self.cot_answer
        return row


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's text for one example."""

    example_id: str
    text: str
    model_id: str
    prompt_hash: str
    dataset: str = ""
    """`dataset_fingerprint` of the file whose question it answers; empty where that is not known"""

    def to_json(self) -> dict[str, Any]:
        row = {
            "example_id": self.example_id,
            "text": self.text,
            "model_id": self.model_id,
            "prompt_hash": self.prompt_hash,
        }
        return row | {"dataset": self.dataset} if self.dataset else row


@dataclass(frozen=True, slots=True)
class Score:
    """How one model did in one phase on one metric, group or subtype, with all that is needed to judge it.

    `value`, `low`, `high` and `blind_baseline` are None where no row was asked.
    """

    model: str
    phase: str
    """before | after fine-tuning; empty for a model from elsewhere, which has neither"""
    images: str
    """real | blank | shuffled: what the model was shown"""
    profile: str
    level: str
    """metric | group | subtype"""
    name: str
    """a key of METRICS, a group of theirs, or a subtype"""
    average: str
    """macro | weighted where classes are averaged, else empty"""
    value: float | None
    low: float | None
    high: float | None
    """95 % interval, bootstrap clustered by place"""
    scored: int
    """rows whose prediction could be read as an answer"""
    asked: int
    unparsed_share: float
    """share of asked rows whose text was unparsed or missing, 0..1"""
    blind_baseline: float | None
    out_of_range_share: float = 0.0
    """share of asked rows whose number is so far off that it counts as the largest error, 0..1"""

    @property
    def lower_is_better(self) -> bool:
        """An error, rather than an F1?"""
        if self.level == "metric":
            return METRICS[self.name].score == "mae"
        return self.level == "subtype" and SUBTYPES[self.name].answer_kind in NUMERIC_KINDS

    @property
    def lift(self) -> float | None:
        """How much better than the blind baseline, in the unit of the score: positive is better in either direction."""
        if self.value is None or self.blind_baseline is None:
            return None
        return self.blind_baseline - self.value if self.lower_is_better else self.value - self.blind_baseline

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__} | {"lift": self.lift}


def own_id(image_id: str, question: str, subtype: str) -> str:
    """The id of a row that gives none: what it asks decides it, not where it stands, so it outlives a split."""
    asked = f"{question}\0{subtype}".encode()
    return f"{image_id}#{hashlib.sha256(asked).hexdigest()[:8]}"


def dataset_fingerprint(examples: Iterable[Example]) -> str:
    """16 hex digits that ids, questions and answers decide, in any order: the sum of the SHA-256 of each row."""
    total = RowSum()
    for example in examples:
        total.add(example)
    return total.fingerprint


class RowSum:
    """Takes the rows of a dataset one at a time and keeps only what their fingerprint needs."""

    def __init__(self) -> None:
        self._total = 0

    def add(self, example: Example) -> None:
        row = f"{example.id}\0{example.question}\0{example.answer}".encode()
        self._total += int.from_bytes(hashlib.sha256(row).digest(), "big")

    @property
    def fingerprint(self) -> str:
        return f"{self._total % 2**256:064x}"[:16]


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for every non-blank line. Raises UserError naming file:line."""
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(
                        f"{path}:{number}", f"not JSON ({error.msg} at column {error.colno})", "mend or remove the line"
                    ) from None
                except (ValueError, RecursionError) as error:
                    # A number of thousands of digits, or brackets nested as deep.
                    raise UserError(f"{path}:{number}", f"not JSON we can hold ({error})", "mend the line") from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}:{number}", "not a JSON object", "each line is one object")
                yield number, row
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 (byte {error.start})", "save the file as UTF-8") from None
    except FileNotFoundError:
        raise UserError(path, missing_file(path)) from None
    except IsADirectoryError:
        raise UserError(path, "is a folder", "name a file") from None
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "name a file that can") from None


def write_atomic(path: Path, text: str) -> None:
    """Write `path` so that a reader sees the old text or the new, never a part: temp name, fsync, rename.

    An OSError names the file, and leaves nothing beside it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        error.filename = str(path)
        raise


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one object a line, atomically, keys in the given order."""
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))
