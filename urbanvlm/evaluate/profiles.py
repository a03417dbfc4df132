"""The two scoring profiles: how each reads gold answers and predictions, and by which measure it scores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES, ScoreKind, Subtype
from urbanvlm.errors import UserError, suggest
from urbanvlm.evaluate.metrics import Average, Measure, score_of_kind, strict_measure
from urbanvlm.evaluate.paper import in_words, paper_value
from urbanvlm.evaluate.paper_scores import PaperF1OfClasses, PaperF1OfYes, PaperMeanAbsoluteError, paper_score_kind
from urbanvlm.evaluate.parse import MISSING, UNPARSED, Parsed, Value, parse_answer, parse_gold
from urbanvlm.records import Example

Level = Literal["metric", "subtype"]
Tally = Mapping[Value, int]
"""value -> how often it occurs"""


class Profile(Protocol):
    """A way to turn texts into values and values into scores."""

    @property
    def name(self) -> str: ...

    def gold_text(self, example: Example) -> str:
        """Where the gold answer is read; with the subtype all that it depends on."""
        ...

    def gold(self, example: Example) -> Value:
        """Raises UserError naming the example if its gold answer is none of its subtype."""
        ...

    def read(self, text: str | None, subtype: Subtype, question: str) -> Parsed:
        """None stands for no prediction at all."""
        ...

    def score_kind(self, level: Level, name: str) -> ScoreKind:
        """How a metric, or a subtype alone, is scored."""
        ...

    def measure(self, kind: ScoreKind, subtype: Subtype, golds: Tally, guesses: Tally, average: Average) -> Measure:
        """The measure for rows of these gold values and guesses; `subtype` is that of any of them."""
        ...

    def in_words(self, value: Value | None, subtype: Subtype) -> Value | None:
        """The value as people read it."""
        ...


@dataclass(frozen=True, slots=True)
class Strict:
    """The gold answer once from `answer`; what cannot be read counts as wrong."""

    name: str = "strict"

    def gold_text(self, example: Example) -> str:
        return example.answer

    def gold(self, example: Example) -> Value:
        return parse_gold(example)

    def read(self, text: str | None, subtype: Subtype, question: str) -> Parsed:
        return parse_answer(text, subtype, question)

    def score_kind(self, level: Level, name: str) -> ScoreKind:
        return METRICS[name].score if level == "metric" else score_of_kind(SUBTYPES[name].answer_kind)

    def measure(self, kind: ScoreKind, subtype: Subtype, golds: Tally, guesses: Tally, average: Average) -> Measure:
        return strict_measure(kind, golds, subtype.answer_kind, average)

    def in_words(self, value: Value | None, subtype: Subtype) -> Value | None:
        return value


@dataclass(frozen=True, slots=True)
class Paper:
    """The published scorer, its faults included: predictions and gold labels are read alike.

    A prediction that is missing is read as a blank one; a text that it drops from the scores is unparsed.
    """

    chain_of_thought: bool = False
    """is the gold answer that of the rationale, where there is one?"""
    name: str = "paper"

    def gold_text(self, example: Example) -> str:
        rationale = example.cot_answer if self.chain_of_thought else None
        return rationale if rationale and rationale.strip() else example.answer

    def gold(self, example: Example) -> Value:
        value = paper_value(self.gold_text(example), example.subtype)
        if value is None:
            raise UserError(f"example {example.id}", "the published scorer drops its gold answer", "mend the row")
        return value

    def read(self, text: str | None, subtype: Subtype, question: str) -> Parsed:
        value = paper_value(text, subtype.name)
        if text is None:
            return Parsed(MISSING.status, value)
        return UNPARSED if value is None else Parsed("answer", value)

    def score_kind(self, level: Level, name: str) -> ScoreKind:
        subtype = name if level == "subtype" else next(s.name for s in SUBTYPES.values() if s.metric == name)
        kind = paper_score_kind(subtype)
        assert kind is not None, f"{subtype} is in no group of the published scorer"
        return kind

    def measure(self, kind: ScoreKind, subtype: Subtype, golds: Tally, guesses: Tally, average: Average) -> Measure:
        if kind == "f1_yes":
            return PaperF1OfYes()
        if kind == "f1_macro":
            return PaperF1OfClasses.over(golds, guesses, average)
        numbers = [float(gold) for gold in golds]
        return PaperMeanAbsoluteError(max(numbers) - min(numbers) or 1.0)

    def in_words(self, value: Value | None, subtype: Subtype) -> Value | None:
        return in_words(value, subtype.name)


ProfileName = Literal["strict", "paper"]
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)


def profile_of(name: str, *, chain_of_thought: bool = False) -> Profile:
    """Raises UserError for an unknown name. A chain of thought matters to the paper profile's gold answers alone."""
    if name == "strict":
        return Strict()
    if name == "paper":
        return Paper(chain_of_thought)
    raise UserError("profile", f"{name!r} is unknown", suggest(name, PROFILES))
