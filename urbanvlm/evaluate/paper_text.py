"""How the paper profile cleans a text and finds the phrase after `answer:` in it; linear in the text's length."""

from __future__ import annotations

import re

_FENCE = "```"
_MARK_UP = str.maketrans("", "", "*_`")
# IGNORECASE lets ſ pass for s, and ı and İ for i, as the published scorer's patterns do. Python says so of [a-z] only.
_TURN = re.compile(r"###\s*(?:(human)|assistant):", re.IGNORECASE)
_ASSISTANT = re.compile(r"assistant:\s*", re.IGNORECASE)
_QUOTE = re.compile(r">+\s*")


def clean(text: str) -> str:
    """The text without chat turns, fences, quote marks and Markdown's marks, in lower case with single spaces.

    The order is part of the profile: a `>` behind a `*` is no leading one, nor `assistant:` behind a `>`.
    """
    text = _last_turn(text.strip())
    if said := _ASSISTANT.match(text):
        text = text[said.end() :]
    # Fences that share back-ticks hold nothing, and end as empty as those that are whole.
    if text.startswith(_FENCE) and text.endswith(_FENCE):
        return ""
    if quote := _QUOTE.match(text):
        text = text[quote.end() :]
    return " ".join(text.translate(_MARK_UP).split()).lower()


def _last_turn(text: str) -> str:
    """What stands behind the last pair of turns; a marker without its partner stays where it is."""
    asked, end = False, None
    for turn in _TURN.finditer(text):
        if turn[1]:
            asked = True
        elif asked:
            asked, end = False, turn.end()
    return text if end is None else text[end:].strip()


# ---- cleaned text ---------------------------------------------------------------------------------------------------


def answer_phrase(phrase: str, marks: str = ":-") -> re.Pattern[str]:
    """Pattern whose first group is the phrase directly behind `answer` and one of the marks, or behind one space more.

    `answer` may end a longer word. Searching it skips each place where the phrase does not fit.
    """
    return re.compile(rf"an[sſ]wer[{marks}] ?({phrase})")


WORD = r"\w+"
WORDS = r"\w+(?: \w+)*"
"""Letters and numerals of any script; `clean` has left no underscore."""
LETTER_WORDS = "[a-zſı]+(?: [a-zſı]+)*"

ANSWER_WORD = answer_phrase(WORD)
ANSWER_WORDS = answer_phrase(WORDS)
ANSWER_LETTER_WORDS = answer_phrase(LETTER_WORDS)


def phrase_after(answer: re.Pattern[str], text: str) -> str | None:
    """What the pattern's phrase is at the first place where it fits, as it is written there."""
    found = answer.search(text)
    return found[1] if found else None


def less_article(phrase: str) -> str:
    """Without one leading article; an article alone stays."""
    first, _, rest = phrase.partition(" ")
    return rest if rest and first in {"the", "a", "an"} else phrase


def whole_word(words: str) -> re.Pattern[str]:
    """Pattern for any of the words (`a|b`) where no letter or numeral of any script touches it."""
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)")
