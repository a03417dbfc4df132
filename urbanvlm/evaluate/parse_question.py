"""What a question asks about, as far as the reading of an answer depends on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from urbanvlm.evaluate.parse_text import clean, tokens_of
from urbanvlm.evaluate.vocabulary import class_mentions, content_words, own_mentions

_REMEMBERED = 1 << 15


class QuestionMatters(Exception):
    """Raised where a reading needs the question but has been asked to do without."""


@dataclass(frozen=True)
class Question:
    """A question, as its answer is read. Whatever `ANY_QUESTION` is asked for raises QuestionMatters."""

    known_wording: str | None

    @property
    def wording(self) -> str:
        """Cleaned; empty where nobody knows what was asked."""
        if self.known_wording is None:
            raise QuestionMatters
        return self.known_wording

    @cached_property
    def tokens(self) -> list[str]:
        return tokens_of(self.wording)

    @cached_property
    def classes(self) -> frozenset[str]:
        """The classes it asks about; those that only say where (`cars on the road`) where it names no other."""
        mentions = class_mentions(self.tokens)
        return frozenset(mention.value for mention in own_mentions(self.tokens, mentions) or mentions)

    @cached_property
    def words(self) -> frozenset[str]:
        """What it is about, words that are no class included: `red`, `kite`."""
        return frozenset(content_words(self.tokens))

    def is_asked_by(self, text: str) -> bool:
        """Does the text, another question, ask for nothing else? Taken for granted where this one is not known."""
        return not self.wording or self.words.issuperset(content_words(tokens_of(text)))


ANY_QUESTION = Question(None)
"""For a reading that must hold whatever was asked."""


@lru_cache(maxsize=_REMEMBERED)
def question_of(text: str) -> Question:
    return Question(clean(text))
