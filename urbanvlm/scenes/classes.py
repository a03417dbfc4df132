"""The classes of the class map: what can be counted, what is mere surface, what counts as greenery."""

from __future__ import annotations

SURFACES = ("sky", "road", "sidewalk", "building", "grass", "vegetation", "pole")
"""Classes without instances; `vegetation` is hedges and bushes, `pole` the posts of lamps, lights and signs."""

COUNTABLE = ("person", "bicycle", "car", "bus", "truck", "traffic light", "stop sign", "bench", "tree")
"""Classes whose instances are counted."""

CLASSES = SURFACES + COUNTABLE
"""The class map holds indices into this tuple."""

GREENERY = ("grass", "vegetation", "tree")
"""Classes whose pixels make up the greenery share."""

ID = {name: index for index, name in enumerate(CLASSES)}
