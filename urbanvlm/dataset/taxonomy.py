"""Every question type of the study: its kind of answer, the metric it counts for, and the thresholds of the rules.

Source: Ro, Kim, Yoon, "How Well Do Vision-Language Models Understand Cities?" (arXiv 2508.21565) and its public code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

AnswerKind = Literal["yes_no", "integer", "share", "number", "class", "depth_label", "side_label"]
ScoreKind = Literal["f1_yes", "f1_macro", "mae"]

DOMINANT_SHARE = 0.5
"""a factor dominates above this share of the pixels"""
SPARSE_SHARE = 0.2
"""a factor is sparse up to this share of the pixels"""
MODERATE_DEPTH_M = 20.0
HIGH_DEPTH_M = 40.0
"""a scene's depth range is moderate above the first, high above the second, in metres"""

FACTORS = ("building", "greenery", "sky")
OBJECTS = ("bench", "bicycle", "bus", "car", "person", "stop sign", "traffic light", "tree", "truck")
"""countable classes of the rendered scenes"""
DEPTH_LABELS = ("low", "moderate", "high")
SIDE_LABELS = ("left side", "right side", "evenly spread")


@dataclass(frozen=True, slots=True)
class Metric:
    """A row of the study's table (in_table), or a score that is reported beside it."""

    name: str
    group: str
    score: ScoreKind
    in_table: bool


METRICS: Mapping[str, Metric] = {
    "proportion.binary": Metric("binary", "proportion", "f1_yes", True),
    "proportion.scalar": Metric("scalar", "proportion", "mae", True),
    "depth.categorical": Metric("categorical", "depth", "f1_macro", True),
    "depth.closest_object": Metric("closest object", "depth", "f1_macro", True),
    "depth.binary": Metric("binary", "depth", "f1_yes", True),
    "layout.binary": Metric("binary", "layout", "f1_yes", True),
    "layout.top_entity": Metric("top entity", "layout", "f1_macro", True),
    "object.count": Metric("count", "object", "mae", True),
    "object.presence": Metric("presence", "object", "f1_yes", True),
    "object.cooccurrence": Metric("co-occurrence", "object", "f1_yes", True),
    "compositional.negation": Metric("negation", "compositional", "f1_yes", True),
    "compositional.counterfactual": Metric("counterfactual", "compositional", "f1_yes", True),
    "compositional.multi_hop": Metric("multi-hop", "compositional", "f1_yes", True),
    "depth.average_per_object": Metric("average per object", "depth", "mae", False),
    "spatial.distribution.label": Metric("left or right", "layout", "f1_macro", False),
    "occlusion.binary": Metric("occlusion", "depth", "f1_yes", False),
    "spatial.relation": Metric("in front of", "depth", "f1_yes", False),
}
"""The 13 metrics of the study in the order of its table, then those beside them."""


@dataclass(frozen=True, slots=True)
class Subtype:
    """A question type."""

    name: str
    qtype: str
    answer_kind: AnswerKind
    metric: str
    """key of METRICS"""
    generates: bool
    """do we have a rule that asks it about rendered scenes?"""


def _subtypes(rows: Iterable[tuple[str, str, AnswerKind, str, bool]]) -> dict[str, Subtype]:
    return {row[0]: Subtype(*row) for row in rows}


_SEEN, _REASONED = "perceptual", "reasoning"
SUBTYPES: Mapping[str, Subtype] = _subtypes(
    [
        ("presence.binary", _SEEN, "yes_no", "object.presence", True),
        ("count", _SEEN, "integer", "object.count", True),
        ("viewfactor.dominance", _SEEN, "yes_no", "proportion.binary", True),
        ("viewfactor.sparsity", _SEEN, "yes_no", "proportion.binary", True),
        ("viewfactor.scalar", _SEEN, "share", "proportion.scalar", True),
        ("depth.range", _SEEN, "yes_no", "depth.binary", False),
        ("depth.variation", _SEEN, "yes_no", "depth.binary", True),
        ("depth.range.label", _SEEN, "depth_label", "depth.categorical", True),
        ("depth.average_per_object", _SEEN, "number", "depth.average_per_object", False),
        ("depth.closest_object", _SEEN, "class", "depth.closest_object", True),
        ("depth.foreground_presence", _SEEN, "yes_no", "depth.binary", False),
        ("depth.background_presence", _SEEN, "yes_no", "depth.binary", False),
        ("spatial.distribution", _SEEN, "yes_no", "layout.binary", True),
        ("spatial.distribution.label", _SEEN, "side_label", "spatial.distribution.label", True),
        ("segmentation.vertical_layout", _SEEN, "yes_no", "layout.binary", False),
        ("segmentation.vertical_layout.entity", _SEEN, "class", "layout.top_entity", True),
        ("scene.skyline_visibility", _SEEN, "yes_no", "layout.binary", False),
        ("object.cooccurrence", _SEEN, "yes_no", "object.cooccurrence", False),
        ("occlusion.binary", _SEEN, "yes_no", "occlusion.binary", False),
        ("spatial.relation", _SEEN, "yes_no", "spatial.relation", False),
        ("negation.absence", _REASONED, "yes_no", "compositional.negation", True),
        ("negation.spatial_refute", _REASONED, "yes_no", "compositional.negation", False),
        ("negation.conjunction", _REASONED, "yes_no", "compositional.negation", False),
        ("negation.exclusion_choice", _REASONED, "class", "compositional.negation", False),
        ("negation.composite_conjunction_1", _REASONED, "yes_no", "compositional.negation", False),
        ("negation.composite_conjunction_2", _REASONED, "yes_no", "compositional.negation", False),
        ("negation.composite_conjunction_3", _REASONED, "yes_no", "compositional.negation", False),
        ("multi_hop.count_compare", _REASONED, "yes_no", "compositional.multi_hop", False),
        ("multi_hop.which_is_more", _REASONED, "class", "compositional.multi_hop", False),
        ("counterfactual.count_perturbation", _REASONED, "yes_no", "compositional.counterfactual", False),
        ("counterfactual.absence_viewfactor", _REASONED, "yes_no", "compositional.counterfactual", False),
        ("counterfactual.attribute_substitution", _REASONED, "yes_no", "compositional.counterfactual", False),
        ("counterfactual.occlusion_movement", _REASONED, "yes_no", "compositional.counterfactual", False),
    ]
)
