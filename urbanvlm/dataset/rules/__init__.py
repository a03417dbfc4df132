"""The rules: what can be asked about one image, the true answer, and what one sees that leads to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from urbanvlm.dataset.rules.compositional import COMPOSITIONAL
from urbanvlm.dataset.rules.depth import DEPTH
from urbanvlm.dataset.rules.layout import LAYOUT
from urbanvlm.dataset.rules.objects import OBJECTS as OBJECT_RULES
from urbanvlm.dataset.rules.proportion import PROPORTION
from urbanvlm.dataset.rules.rule import Draft, Rule
from urbanvlm.dataset.taxonomy import OBJECTS, SUBTYPES
from urbanvlm.experiment import DEFAULT_THRESHOLDS, Thresholds
from urbanvlm.records import Metadata

_BY_SUBTYPE = {rule.subtype: rule for rule in (*PROPORTION, *DEPTH, *LAYOUT, *OBJECT_RULES, *COMPOSITIONAL)}
RULES: Mapping[str, Rule] = {name: _BY_SUBTYPE[name] for name in SUBTYPES}
"""subtype -> its rule, in the taxonomy's order"""


def drafts(
    metadata: Metadata,
    subtypes: Iterable[str],
    seed: int,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    objects: Sequence[str] = OBJECTS,
) -> Iterator[Draft]:
    """Everything the given subtypes can ask about one image.

    `objects`: the countable classes that whoever made the metadata knows; of another it can't be said that none is
    there.
    """
    for subtype in subtypes:
        rule = RULES[subtype]
        if not metadata.missing.isdisjoint(rule.needs):
            continue
        for about in rule.about(metadata, objects):
            answer = rule.answer(metadata, about, thresholds)
            if answer is not None:
                yield Draft(rule, metadata, about, answer, thresholds, seed, metadata.image_id)
