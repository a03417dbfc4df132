"""A metadata file of one's own -> records that can be trusted, with the one convention of depth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from urbanvlm.dataset.images import SUFFIXES, stays_inside
from urbanvlm.dataset.places import UNTOLD, panorama_folders, place_of, tells_place
from urbanvlm.dataset.rows import RowFile
from urbanvlm.dataset.taxonomy import FACTORS, OBJECTS
from urbanvlm.errors import UserError
from urbanvlm.records import Metadata, read_jsonl

Depth = Literal["metric", "inverse"]
"""metric: grows away from the camera, in metres. inverse: larger is nearer, in no unit, as MiDaS and DPT put it out."""

FIELDS = (
    *("image_id", "place", "depth", "objects", "view_factors", "depth_stats", "depth_per_class", "depth_order"),
    *("spatial_distribution", "vertical_layout", "occlusion_pairs", "raw_objects"),
)
SIDES = ("left side", "right side", "even")
FLAGS = ("_foreground", "_background")
UNITLESS = frozenset({"depth_stats.range", "depth_per_class"})
"""fields whose numbers mean nothing where depth is inverse"""


@dataclass(frozen=True, slots=True)
class OwnMetadata:
    """The records of a file, and what is to be known about them as a whole."""

    records: tuple[Metadata, ...]
    objects: tuple[str, ...]
    """countable classes that occur anywhere in the file; of no other can it be said that it is absent"""
    remarks: tuple[str, ...]
    """for the dataset card"""


def read_metadata(path: Path, depth: Depth = "metric") -> OwnMetadata:
    """The records of a JSONL file or a JSON array. `depth` is the convention of records that do not say `"depth"`.

    A field that a record lacks, or has as null, is `missing` there. raw_objects is not read: no question needs it.
    Raises UserError naming file, line (array: item) and key of the first thing that is wrong.
    """
    records: list[Metadata] = []
    lines: dict[str, str] = {}
    unplaced: list[int] = []
    inverse = corrected = 0
    unread: set[str] = set()
    for where, row in _rows(path):
        _check(row, where)
        key = _bare(row["image_id"])
        if key in lines:
            raise UserError(
                f"{where}: image_id", f"{row['image_id']!r} is described in {lines[key]} already", "keep one"
            )
        lines[key] = where
        record = _record(row)
        if (row.get("depth") or depth) == "inverse":
            turned = _turned_round(record, where)
            inverse += 1
            corrected += turned.closest_object != record.closest_object
            record = turned
        if row.get("place") is None:
            unplaced.append(len(records))
        records.append(record)
        unread |= {factor for factor in record.view_factors if factor not in FACTORS}
        unread |= row.keys() - set(FIELDS)
        unread |= {
            f"{field}.{key}" for field, keys in _OF_KEY.items() for key in (row.get(field) or {}) if key not in keys
        }
    if not records:
        raise UserError(path, "has no records", "give it at least one")
    panoramas = panorama_folders(record.image_id for record in records)
    for index in unplaced:
        records[index] = replace(records[index], place=place_of(records[index].image_id, panoramas))
    untold = sum(not tells_place(records[index].image_id, panoramas) for index in unplaced)
    counted = {name for record in records for name in record.objects}
    objects = tuple(sorted(counted))
    return OwnMetadata(tuple(records), objects, tuple(_remarks(objects, inverse, corrected, unread, untold)))


def _remarks(objects: tuple[str, ...], inverse: int, corrected: int, unread: set[str], untold: int) -> Iterator[str]:
    if untold > 1:
        yield f"{untold} pictures: {UNTOLD}."
    yield f"Countable classes that occur in the metadata: {', '.join(objects) or 'none'}."
    if unknown := [name for name in OBJECTS if name not in objects]:
        yield (
            f"No question whether {', '.join(unknown)} can be seen: the metadata names them nowhere, so they may be "
            "unknown to whoever made it rather than absent."
        )
    if inverse:
        yield (
            f"Depth is inverse in {inverse} records: its order was turned round; its ranges and means have no unit and "
            f"count as missing. closest_object named another class than the nearest one in {corrected} of them."
        )
    if unread:
        yield f"Keys that no question uses: {', '.join(sorted(unread))}."


def _bare(image_id: str) -> str:
    """Without its extension, which a record may have or not."""
    suffix = next((suffix for suffix in SUFFIXES if image_id.lower().endswith(suffix)), "")
    return image_id.removesuffix(image_id[len(image_id) - len(suffix) :] if suffix else "")


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, row). NaN passes here, so that the check can name its key."""
    if not RowFile.of(path).is_array:
        for number, row in read_jsonl(path):
            yield f"{path}:{number}", row
        return
    try:
        items = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}", f"not JSON ({error.msg} at column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise UserError(path, f"not UTF-8 (byte {error.start})", "save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise UserError(path, f"not JSON that can be read ({error})") from None
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise UserError(f"{path}: item {number}", "not a JSON object", "each item is one record")
        yield f"{path}: item {number}", item


# ---- checks ---------------------------------------------------------------------------------------------------------

Check = Callable[[Any], str | None]
"""value -> what it should be, or None if it is that"""


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "text that is not blank"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return None if whole and value >= 0 else "a whole number from 0 on"


def _share(value: Any) -> str | None:
    return None if _is_number(value) and 0 <= value <= 1 else "a share from 0 to 1"


def _distance(value: Any) -> str | None:
    return None if _is_number(value) and value >= 0 else "a number from 0 on"


def _side(value: Any) -> str | None:
    return None if value in SIDES else "left side, right side or even"


_OF_EACH: Mapping[str, Check] = {
    "objects": _count,
    "view_factors": _share,
    "depth_order": _distance,
    "spatial_distribution": _side,
    "occlusion_pairs": _flag,
}
"""fields that say one kind of thing about every class"""
_OF_KEY: Mapping[str, Mapping[str, Check]] = {
    "depth_stats": {"range": _distance, "closest_object": _text},
    "vertical_layout": {"top_entity": _text, "top_sky": _flag, "skyline_clear": _flag},
}


def _check(row: Mapping[str, Any], where: str) -> None:
    _demand(row.get("image_id"), _text, f"{where}: image_id")
    if not stays_inside(row["image_id"]):
        raise UserError(f"{where}: image_id", f"{row['image_id']!r} is not a path inside the image folder", "mend it")
    if row.get("place") is not None:
        _demand(row["place"], _text, f"{where}: place")
    if row.get("depth") is not None and row["depth"] not in ("metric", "inverse"):
        raise UserError(f"{where}: depth", f"{row['depth']!r} is no convention of depth", "it is metric or inverse")
    for field in (*_OF_EACH, *_OF_KEY, "depth_per_class"):
        values = row.get(field)
        if values is None:
            continue
        if not isinstance(values, dict):
            raise UserError(f"{where}: {field}", f"must be an object of keys (got {_shown(values)})", "mend the record")
        for key, value in values.items():
            _demand(key, _text, f"{where}: {field}.{key}")
            if (check := _check_of(field, key)) is not None and not (value is None and field in _OF_KEY):
                _demand(value, check, f"{where}: {field}.{key}")
    for key, value in row.items():
        _refuse_nan(value, f"{where}: {key}")
    for pair in row.get("occlusion_pairs") or ():
        if [bool(part.strip()) for part in pair.split("|")] != [True, True]:
            raise UserError(f"{where}: occlusion_pairs.{pair}", "is not of the form a|b", "name two classes")


def _refuse_nan(value: Any, where: str) -> None:
    """In what no question reads, too: a record with NaN was made by something that went wrong."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(where, f"is no number (got {value})", "mend the record")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nan(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_nan(inner, f"{where}.{number}")


def _check_of(field: str, key: str) -> Check | None:
    if field == "depth_per_class":
        return _flag if key.endswith(FLAGS) else _distance
    return _OF_EACH[field] if field in _OF_EACH else _OF_KEY[field].get(key)


def _demand(value: Any, check: Check, where: str) -> None:
    if (expected := check(value)) is not None:
        raise UserError(where, f"must be {expected} (got {_shown(value)})", "mend the record")


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value) if isinstance(value, float) else repr(value)[:60]


# ---- records --------------------------------------------------------------------------------------------------------


def _record(row: Mapping[str, Any]) -> Metadata:
    filled = {
        "image_id": row["image_id"],
        "place": row.get("place"),
        **{field: row.get(field) or {} for field in (*_OF_EACH, "depth_per_class")},
        "depth_stats": {"range": 0.0, "closest_object": None, **_given(row, "depth_stats")},
        "vertical_layout": {
            "top_entity": "",
            "top_sky": False,
            "skyline_clear": False,
            **_given(row, "vertical_layout"),
        },
        "raw_objects": [],
    }
    return replace(Metadata.from_json(filled), missing=frozenset(_missing(row)))


def _given(row: Mapping[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in (row.get(field) or {}).items() if value is not None}


def _missing(row: Mapping[str, Any]) -> Iterator[str]:
    for field in (*_OF_EACH, "depth_per_class"):
        if row.get(field) is None:
            yield field
    for factor in FACTORS:
        if factor not in (row.get("view_factors") or {}):
            yield f"view_factors.{factor}"
    for flag in FLAGS:
        if not any(key.endswith(flag) for key in row.get("depth_per_class") or {}):
            yield f"depth_per_class.<class>{flag}"
    for field, keys in _OF_KEY.items():
        given = _given(row, field)
        # That nothing is closest is said by null.
        says_none = field == "depth_stats" and "closest_object" in (row.get(field) or {})
        yield from (
            f"{field}.{key}" for key in keys if key not in given and not (key == "closest_object" and says_none)
        )


def _turned_round(record: Metadata, where: str) -> Metadata:
    """From inverse depth to depth: what has the largest output is nearest, and 0 is as far as can be."""

    def turned(values: Mapping[str, float]) -> dict[str, float]:
        return {name: 1 / value if value > 0 else math.inf for name, value in values.items()}

    order = turned(record.depth_order)
    return replace(
        record,
        depth_per_class=turned(record.depth_per_class),
        depth_order=order,
        closest_object=min(order, key=lambda name: order[name]) if order else record.closest_object,
        missing=record.missing | UNITLESS,
    )
