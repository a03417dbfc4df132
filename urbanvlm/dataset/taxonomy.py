"""Every question type of the study: its kind of answer, its closed set of answers, and the metric it counts for.

Source: Ro, Kim, Yoon, "How Well Do Vision-Language Models Understand Cities?" (arXiv 2508.21565) and its public code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from urbanvlm.errors import closest

AnswerKind = Literal["yes_no", "integer", "share", "number", "class", "depth_label", "side_label"]
NUMERIC_KINDS: frozenset[AnswerKind] = frozenset({"integer", "share", "number"})
ScoreKind = Literal["f1_yes", "f1_macro", "mae"]

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
    answers: tuple[str, ...] | None
    """the values that a gold answer may have, as the parser gives them; None where the set is open"""
    written: tuple[str, ...] | None
    """the same answers, in the same order, as our rows write them"""


_SEEN, _REASONED = "perceptual", "reasoning"
_CLOSED: Mapping[str, tuple[str, ...]] = {
    "yes_no": ("yes", "no"),
    "depth_label": DEPTH_LABELS,
    "side_label": SIDE_LABELS,
}
_ANSWERS: Mapping[str, tuple[str, ...]] = {"multi_hop.which_is_more": ("person", "car")}
_WRITTEN: Mapping[str, tuple[str, ...]] = {
    "depth.range": ("Complex", "Simple"),
    "multi_hop.which_is_more": ("people", "cars"),
}


def _subtype(name: str, qtype: str, kind: AnswerKind, metric: str) -> Subtype:
    answers = _ANSWERS.get(name, _CLOSED.get(kind))
    written = _WRITTEN.get(name, ("Yes", "No") if kind == "yes_no" else answers)
    return Subtype(name, qtype, kind, metric, answers, written)


_ROWS: tuple[tuple[str, str, AnswerKind, str], ...] = (
    ("presence.binary", _SEEN, "yes_no", "object.presence"),
    ("count", _SEEN, "integer", "object.count"),
    ("viewfactor.dominance", _SEEN, "yes_no", "proportion.binary"),
    ("viewfactor.sparsity", _SEEN, "yes_no", "proportion.binary"),
    ("viewfactor.scalar", _SEEN, "share", "proportion.scalar"),
    ("depth.range", _SEEN, "yes_no", "depth.binary"),
    ("depth.variation", _SEEN, "yes_no", "depth.binary"),
    ("depth.range.label", _SEEN, "depth_label", "depth.categorical"),
    ("depth.average_per_object", _SEEN, "number", "depth.average_per_object"),
    ("depth.closest_object", _SEEN, "class", "depth.closest_object"),
    ("depth.foreground_presence", _SEEN, "yes_no", "depth.binary"),
    ("depth.background_presence", _SEEN, "yes_no", "depth.binary"),
    ("spatial.distribution", _SEEN, "yes_no", "layout.binary"),
    ("spatial.distribution.label", _SEEN, "side_label", "spatial.distribution.label"),
    ("segmentation.vertical_layout", _SEEN, "yes_no", "layout.binary"),
    ("segmentation.vertical_layout.entity", _SEEN, "class", "layout.top_entity"),
    ("scene.skyline_visibility", _SEEN, "yes_no", "layout.binary"),
    ("object.cooccurrence", _SEEN, "yes_no", "object.cooccurrence"),
    ("occlusion.binary", _SEEN, "yes_no", "occlusion.binary"),
    ("spatial.relation", _SEEN, "yes_no", "spatial.relation"),
    ("negation.absence", _REASONED, "yes_no", "compositional.negation"),
    ("negation.spatial_refute", _REASONED, "yes_no", "compositional.negation"),
    ("negation.conjunction", _REASONED, "yes_no", "compositional.negation"),
    ("negation.exclusion_choice", _REASONED, "class", "compositional.negation"),
    ("negation.composite_conjunction_1", _REASONED, "yes_no", "compositional.negation"),
    ("negation.composite_conjunction_2", _REASONED, "yes_no", "compositional.negation"),
    ("negation.composite_conjunction_3", _REASONED, "yes_no", "compositional.negation"),
    ("multi_hop.count_compare", _REASONED, "yes_no", "compositional.multi_hop"),
    ("multi_hop.which_is_more", _REASONED, "class", "compositional.multi_hop"),
    ("counterfactual.count_perturbation", _REASONED, "yes_no", "compositional.counterfactual"),
    ("counterfactual.absence_viewfactor", _REASONED, "yes_no", "compositional.counterfactual"),
    ("counterfactual.attribute_substitution", _REASONED, "yes_no", "compositional.counterfactual"),
    ("counterfactual.occlusion_movement", _REASONED, "yes_no", "compositional.counterfactual"),
)
SUBTYPES: Mapping[str, Subtype] = {row[0]: _subtype(*row) for row in _ROWS}

CONVERSATION = "conversation"
"""in the place of a subtype: a turn of a conversation that names none; it can be learnt from, but nothing scores it"""


def scored_name(subtype: str) -> str:
    """The subtype that scores a row: a paraphrase scores as what it rephrases."""
    return subtype.removeprefix("paraphrase.from_")


@lru_cache
def suggest_subtype(wrong: str) -> str:
    """The next step of an unknown subtype: what is close to it, and where all are explained."""
    name = scored_name(wrong)
    of_metric = [subtype.name for subtype in SUBTYPES.values() if subtype.metric == name]
    if of_metric:
        return f"that is a metric, of the subtypes {', '.join(of_metric)}; docs/questions.md explains all"
    close = closest(name, SUBTYPES)
    return f"did you mean {close}? docs/questions.md explains all" if close else "docs/questions.md explains all"
