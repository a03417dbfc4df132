"""`python -m urbanvlm question-docs`: the tables of docs/questions.md, made from taxonomy, rules and a sample."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from urbanvlm.dataset.metadata import read_metadata
from urbanvlm.dataset.rules import drafts
from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES, Subtype
from urbanvlm.generated import fill, markdown_table
from urbanvlm.records import write_atomic

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "questions.md"
SAMPLE = ROOT / "docs" / "metadata.jsonl"

MEANINGS: Mapping[str, str] = {
    "presence.binary": "is an object of this class to be seen?",
    "count": "how many objects of this class are to be seen?",
    "viewfactor.dominance": "does building, greenery or sky take more than half of the picture?",
    "viewfactor.sparsity": "does building, greenery or sky take little of the picture, at most a fifth?",
    "viewfactor.scalar": "what share of the picture is building, greenery or sky?",
    "depth.range": "is the depth of the scene complex, over 20 m from near to far, or simple?",
    "depth.variation": "does depth vary much, over 20 m from near to far?",
    "depth.range.label": "is the range of depth low, moderate (over 20 m) or high (over 40 m)?",
    "depth.average_per_object": "how far away are the objects of this class on average, in metres?",
    "depth.closest_object": "of which class is the nearest object?",
    "depth.foreground_presence": "is an object of this class in the foreground, nearer than 5 m?",
    "depth.background_presence": "is an object of this class in the background, farther than 10 m?",
    "spatial.distribution": "are the objects of this class mainly on the side that the question names?",
    "spatial.distribution.label": "on which side are the objects of this class?",
    "segmentation.vertical_layout": "is the top of the picture mainly sky?",
    "segmentation.vertical_layout.entity": "what takes most of the top of the picture?",
    "scene.skyline_visibility": "is there a clear skyline?",
    "object.cooccurrence": "are objects of both classes to be seen?",
    "occlusion.binary": "is an object of the first class partly hidden behind one of the second?",
    "spatial.relation": "are the objects of the first class nearer than those of the second?",
    "negation.absence": "is no object of this class to be seen?",
    "negation.spatial_refute": "is it wrong that the first class is nearer than the second?",
    "negation.conjunction": "is it wrong that the scene is both green and open?",
    "negation.exclusion_choice": "which of the classes that the question names is not to be seen?",
    "negation.composite_conjunction_1": "is it wrong that the scene is both green and built-up?",
    "negation.composite_conjunction_2": "is it wrong that the sky is open and there is little green?",
    "negation.composite_conjunction_3": "is it wrong that buildings are low and the sky is closed?",
    "multi_hop.count_compare": "are there more people than cars?",
    "multi_hop.which_is_more": "which are there more of, people or cars?",
    "counterfactual.count_perturbation": "would some more people make it a crowd?",
    "counterfactual.absence_viewfactor": "would the view be much more open without its buildings?",
    "counterfactual.attribute_substitution": "would the picture change much if the sky were of another colour?",
    "counterfactual.occlusion_movement": "could a bus hide somebody if it moved?",
}
"""subtype -> what it asks, with the lines of data.thresholds as they are by default"""

FIELD_MEANINGS: Mapping[str, tuple[str, str]] = {
    "image_id": ("text, required", "the picture's path below the image folder; its extension may be missing"),
    "place": ("text", "pictures of one place are in one split; else [the name](data.md#places) tells"),
    "depth": ("metric or inverse", "metric: in metres, growing away from the camera; inverse: larger is nearer"),
    "objects": (
        "class → whole number",
        "objects of the class to be seen; 0 says that there are none, where the class is known",
    ),
    "view_factors": ("building, greenery, sky → share from 0 to 1", "of the picture's pixels"),
    "depth_stats.range": ("number", "from the nearest to the farthest"),
    "depth_stats.closest_object": ("class, or null", "class of the nearest object; null says that there is none"),
    "depth_per_class": (
        "class → number; `<class>_foreground`, `<class>_background` → true or false",
        "mean depth of the class's pixels; is one of its objects near, or far?",
    ),
    "depth_order": ("class → number", "depths by which classes are compared; those of depth_per_class will do"),
    "spatial_distribution": ("class → left side, right side or even", "where the class's pixels are"),
    "vertical_layout.top_entity": ("class", "what takes most of the top rows"),
    "vertical_layout.top_sky": ("true or false", "is that sky?"),
    "vertical_layout.skyline_clear": ("true or false", "do buildings stand against the sky?"),
    "occlusion_pairs": ("`a|b` → true or false", "is an object of class a partly hidden behind one of class b?"),
    "raw_objects": ("anything", "not read; there for whoever made the rest from it"),
}
"""field of the metadata -> (what it holds, what that means)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_write)


def _write(options: argparse.Namespace) -> int:
    write_atomic(DOCUMENT, fill_document(DOCUMENT.read_text(encoding="utf-8")))
    return 0


def fill_document(text: str) -> str:
    """The document with its tables made anew. Raises UserError where the marks are missing."""
    head = ("subtype", "what is asked", "answers", "metric", "a row, from the sample below")
    text = fill(text, "subtypes", markdown_table(head, _subtype_rows()), DOCUMENT)
    rows = [(f"`{name}`", kind, meaning) for name, (kind, meaning) in FIELD_MEANINGS.items()]
    return fill(text, "fields", markdown_table(("field", "holds", "meaning"), rows), DOCUMENT)


def _subtype_rows() -> Iterator[tuple[str, str, str, str, str]]:
    rows = example_rows()
    for name, subtype in SUBTYPES.items():
        metric = f"`{subtype.metric}`" + ("" if METRICS[subtype.metric].in_table else ", beside the study's")
        yield f"`{name}`", MEANINGS[name], answers_of(subtype), metric, f"`{rows[name]}`"


def answers_of(subtype: Subtype) -> str:
    """In words, as a row writes them."""
    if subtype.written is not None:
        return ", ".join(subtype.written)
    return {
        "integer": "a whole number from 0 on",
        "share": "a share from 0 to 1, such as 0.31",
        "number": "a number from 0 on",
    }.get(subtype.answer_kind, "a class, such as car, tree or building")


def example_rows() -> dict[str, str]:
    """subtype -> a row of a question file, as JSON; of the sample's first picture that can be asked."""
    own = read_metadata(SAMPLE)
    rows: dict[str, str] = {}
    for record in own.records:
        for draft in drafts(record, SUBTYPES, 0, objects=own.objects):
            qtype = SUBTYPES[draft.subtype].qtype
            row = {"image_id": draft.image_id, "question": draft.question, "answer": draft.answer, "qtype": qtype}
            rows.setdefault(draft.subtype, json.dumps(row | {"subtype": draft.subtype} | dict(draft.about)))
    return rows
