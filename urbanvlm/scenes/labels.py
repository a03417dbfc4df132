"""From the maps of a view to its metadata; every definition that domain knowledge leaves open is stated here, once.

All figures are plain functions of the class map, the instance map and the depth map. Only classes with at least one
pixel are mentioned. "Objects" are the countable classes. Names in capitals are fields of `experiment.Thresholds`.

- objects: number of different instances. Specks and fragments do not exist: see `render.min_pixels`.
- view_factors: pixels of the class over all pixels; greenery is `classes.GREENERY`.
- depth_stats.range: 95th minus 5th percentile of depth over all pixels that are not sky (0 if all is sky).
- depth_stats.closest_object: the object class of the pixel with the smallest depth.
- depth_per_class: mean depth over the class's pixels, for all classes but sky; `<class>_foreground`: its nearest pixel
  is nearer than FOREGROUND_M; `<class>_background`: its farthest pixel is farther than BACKGROUND_M.
- depth_order: depth_per_class of the objects.
- spatial_distribution: share of the object class's pixels in columns [0, W // 2): more than LEFT_SHARE is left, less
  than RIGHT_SHARE is right, else even.
- vertical_layout: over the rows [0, TOP_ROWS_SHARE · H), rounded down but one at least: top_entity is the most frequent
  class (the first in CLASSES on a tie), top_sky is whether that is sky. skyline_clear: in SKYLINE_COLUMNS_SHARE of the
  columns at least, the topmost pixel is sky and the first pixel below that sky belongs to a building.
- occlusion_pairs "a|b": some instance a and instance b of these classes share at least `render.min_pixels` pixels that
  show b and would show a if a stood alone; for all pairs of different object classes in the picture.
- raw_objects: box of the instance's pixels, x2 and y2 exclusive, score 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from urbanvlm.experiment import DEFAULT_THRESHOLDS, Thresholds
from urbanvlm.records import Metadata, RawObject
from urbanvlm.scenes.arrays import Flags, Floats
from urbanvlm.scenes.classes import CLASSES, COUNTABLE, GREENERY, ID
from urbanvlm.scenes.render import View, min_pixels

THRESHOLDS_USED = (
    "foreground_m", "background_m", "left_share", "right_share", "top_rows_share", "skyline_columns_share",
)  # fmt: skip
"""what a record depends on; a change of any other threshold leaves it as it is"""


def metadata_of(view: View, image_id: str, place: str, thresholds: Thresholds = DEFAULT_THRESHOLDS) -> Metadata:
    """The record of one view. Numbers are rounded to 6 decimals, far below what any question asks for."""
    present = [CLASSES[i] for i in np.unique(view.class_map)]
    objects = [name for name in present if name in COUNTABLE]
    depths = {name: view.depth[view.class_map == ID[name]].astype(np.float64) for name in present if name != "sky"}
    means = {name: _rounded(values.mean()) for name, values in depths.items()}
    top_entity = _most_frequent(view.class_map[: _top_rows(len(view.class_map), thresholds.top_rows_share)])
    instances = _instances(view)
    return Metadata(
        image_id=image_id,
        place=place,
        objects={name: sum(label == name for label in instances.values()) for name in objects},
        view_factors={
            "greenery": _share(view, GREENERY),
            "sky": _share(view, ("sky",)),
            "building": _share(view, ("building",)),
        },
        depth_range=_depth_range(view.depth),
        closest_object=min(objects, key=lambda name: depths[name].min(), default=None),
        depth_per_class=means,
        foreground={name: bool(values.min() < thresholds.foreground_m) for name, values in depths.items()},
        background={name: bool(values.max() > thresholds.background_m) for name, values in depths.items()},
        depth_order={name: means[name] for name in objects},
        spatial_distribution={name: _side(view.class_map == ID[name], thresholds) for name in objects},
        top_entity=top_entity,
        top_sky=top_entity == "sky",
        skyline_clear=_skyline_clear(view.class_map, thresholds.skyline_columns_share),
        occlusion_pairs=_occlusion_pairs(view, objects, instances),
        raw_objects=tuple(_raw_object(view.instance_map == i, label) for i, label in instances.items()),
    )


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _instances(view: View) -> dict[int, str]:
    """Visible instance → class, in order of the instance number."""
    numbers, first = np.unique(view.instance_map, return_index=True)
    labels = view.class_map.ravel()[first]
    return {int(n): CLASSES[label] for n, label in zip(numbers, labels, strict=True) if n > 0}


def _share(view: View, names: tuple[str, ...]) -> float:
    return _rounded(np.isin(view.class_map, [ID[name] for name in names]).mean())


def _depth_range(depth: Floats) -> float:
    solid = depth[np.isfinite(depth)].astype(np.float64)
    if not solid.size:
        return 0.0
    low, high = np.percentile(solid, (5, 95))
    return _rounded(high - low)


def _side(mask: Flags, thresholds: Thresholds) -> str:
    left = mask[:, : mask.shape[1] // 2].sum() / mask.sum()
    return "left side" if left > thresholds.left_share else "right side" if left < thresholds.right_share else "even"


def _top_rows(height: int, share: float) -> int:
    return max(1, int(share * height + 1e-9))  # 0.29 * 100 is a little less than 29


def _most_frequent(rows: NDArray[np.uint8]) -> str:
    return CLASSES[int(np.bincount(rows.ravel(), minlength=len(CLASSES)).argmax())]


def _skyline_clear(class_map: NDArray[np.uint8], columns_share: float) -> bool:
    solid = class_map != ID["sky"]
    first = solid.argmax(axis=0)
    under_sky = class_map[first, np.arange(class_map.shape[1])]
    return bool(((first > 0) & (under_sky == ID["building"])).mean() >= columns_share)


def _occlusion_pairs(view: View, objects: list[str], instances: dict[int, str]) -> dict[str, bool]:
    enough = min_pixels(len(view.class_map))
    true = {(instances[a], instances[b]) for (a, b), pixels in view.hidden.items() if pixels >= enough}
    return {f"{a}|{b}": (a, b) in true for a in objects for b in objects if a != b}


def _raw_object(mask: Flags, label: str) -> RawObject:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return RawObject(label, (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)), 1.0)
