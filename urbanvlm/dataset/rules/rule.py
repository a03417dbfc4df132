"""What a rule is: from the metadata of an image to a question, its true answer, and what one sees that leads to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from urbanvlm.dataset.rationale import quotes_threshold
from urbanvlm.dataset.rules.words import a_or_an, listed, number, plural
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.experiment import Thresholds
from urbanvlm.records import Metadata

About = Mapping[str, str]
"""object, factor, object1, …: what is asked about, by the keys of the study's rows"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One subtype's question. All parts are pure."""

    subtype: str
    needs: tuple[str, ...]
    """fields of the metadata, as its JSON names them, without which nothing is asked"""
    about: Callable[[Metadata, Sequence[str]], Iterable[About]]
    """(image, object classes that are known) -> everything that may be asked about"""
    answer: Callable[[Metadata, About, Thresholds], str | None]
    """None where there is no true answer, such as a tie: it is not asked then"""
    seen: Callable[[Metadata, About, Thresholds], str]
    """sentences about what is seen, from which the answer follows; never the rule, nor where it draws its line"""
    phrasings: tuple[str, ...]
    """of the question; fields: {object}, {objects}, {an_object}, likewise of object1 …, {factor}, {options}, {added}"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A question that may be asked, before the choice that balances a split; its words are made when wanted."""

    rule: Rule
    metadata: Metadata
    about: About
    answer: str
    thresholds: Thresholds
    seed: int
    variant: str
    """decides the words together with the seed and what is asked about; the answer has no say in it"""

    @property
    def subtype(self) -> str:
        return self.rule.subtype

    @property
    def image_id(self) -> str:
        return self.metadata.image_id

    @property
    def place(self) -> str:
        return self.metadata.place

    @property
    def question(self) -> str:
        chance = Random(f"{self.seed}/{self.subtype}/{'/'.join(self.about.values())}/{self.variant}")  # noqa: S311
        added = self.thresholds.added_people
        fields = {"added": f"{number(added)} more {'person' if added == 1 else 'people'}"}
        return chance.choice(self.rule.phrasings).format_map(fields | _fields(self.about, chance))

    @property
    def rationale(self) -> str:
        return self.rule.seen(self.metadata, self.about, self.thresholds)

    @property
    def cot_answer(self) -> str:
        """What is seen, and the answer. Raises ValueError if they do not fit together, which is a bug of the rule."""
        rationale = self.rationale
        written = SUBTYPES[self.subtype].written
        if "answer:" in rationale.lower() or not rationale.endswith(".") or quotes_threshold(rationale):
            raise ValueError(f"{self.subtype}: a rationale says what is seen, and neither rule nor answer: {rationale}")
        if written is not None and self.answer not in written:
            raise ValueError(f"{self.subtype}: {self.answer!r} is none of {', '.join(written)}")
        return f"{rationale} Answer: {self.answer}"


def _fields(about: About, chance: Random) -> dict[str, str]:
    fields: dict[str, str] = {}
    for key, name in about.items():
        number = key.removeprefix("object")
        fields |= {key: name, f"objects{number}": plural(name), f"an_object{number}": a_or_an(name)}
    options = [a_or_an(name) for name in about.values()]
    chance.shuffle(options)
    return fields | {"options": listed(options)}
