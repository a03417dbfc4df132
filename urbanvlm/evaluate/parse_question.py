"""What a question asks about, as far as the reading of an answer depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from urbanvlm.evaluate.parse_text import clean, tokens_of
from urbanvlm.evaluate.vocabulary import class_mentions, own_mentions

_REMEMBERED = 1 << 15


class QuestionMatters(Exception):
    """Raised where a reading needs the question but has been asked to do without."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as its answer is read."""

    _classes: frozenset[str]
    _wording: str
    _unknown: bool = False

    @property
    def classes(self) -> frozenset[str]:
        """The classes it asks about; those that only say where (`cars on the road`) where it names no other.

        Raises QuestionMatters.
        """
        if self._unknown:
            raise QuestionMatters
        return self._classes

    @property
    def wording(self) -> str:
        """Cleaned. Raises QuestionMatters."""
        if self._unknown:
            raise QuestionMatters
        return self._wording

    @property
    def tokens(self) -> list[str]:
        """Raises QuestionMatters."""
        return tokens_of(self.wording)

    def without_wording(self) -> Question:
        """The same for all questions about the same classes."""
        return Question(self._classes, "")


ANY_QUESTION = Question(frozenset(), "", _unknown=True)
"""For a reading that must hold whatever was asked."""


@lru_cache(maxsize=_REMEMBERED)
def question_of(text: str) -> Question:
    wording = clean(text)
    tokens = tokens_of(wording)
    mentions = class_mentions(tokens)
    return Question(frozenset(mention.value for mention in own_mentions(tokens, mentions) or mentions), wording)
