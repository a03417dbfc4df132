"""From a model's raw text to the lower-case words that may hold its answer.

Every step is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES_AND_DASHES = str.maketrans({**dict.fromkeys("’‘ʼ`´", "'"), **dict.fromkeys("‐‑‒–—―−", "-")})
_MARKUP = str.maketrans({"*": " ", "\r": "\n", "\u2028": "\n", "\u2029": "\n"})
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?!\d)")  # markup and `traffic_light`, but not `image_12`
_NOT = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should|ca|wo|must)n'?t\b")
_SHORT_IS = re.compile(r"\b(it|there|that|this|what|which|here)'s\b")
_SHORT_VERB = re.compile(r"'(re|m|ve|ll|d)\b")
_LONG_VERB = {"re": " are", "m": " am", "ve": " have", "ll": " will", "d": " would"}

_CHAT_MARKER = re.compile(r"(?:^|\n|###|\s)\s?(?:assistant|gpt)\s?:")
_STRONG_MARKER = re.compile(r"\banswer[\"']?\s?(?:is\s?)?[:=]|\banswer\s(?:is\s)?-\s")
_WEAK_MARKER = re.compile(r"\banswer\s(?:is|would be|should be)\b")
_LIST_MARKER = re.compile(r"^\d{1,2}[.)] (?=\S)", re.MULTILINE)

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|(?:[^\W_]|[\u0300-\u036f])+|[^\w\s]|\n")
_SENTENCE_END = frozenset(".!?;\n")


def clean(text: str) -> str:
    """One spelling: NFKC, lower case, plain quotes and dashes, `is not` for `isn't`, single spaces, no markup.

    Line breaks stay. Superscripts, fractions and circled digits become `#`: NFKC would turn 5² into 52.
    """
    if not text.isascii():
        text = "".join(_spell(character) for character in text)
        text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES_AND_DASHES))
        text = text.translate(_APOSTROPHES_AND_DASHES)
    text = _UNDERSCORE.sub(" ", text.replace("```", "\n").replace("`", "'").translate(_MARKUP).lower())
    text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    text = re.sub(r"\n+", "\n", text).strip()
    text = text.replace("cannot", "can not").replace("n't've", "n't have")
    text = _NOT.sub(lambda match: {"ca": "can", "wo": "will"}.get(match[1], match[1]) + " not", text)
    text = _SHORT_IS.sub(r"\1 is", text)
    return _SHORT_VERB.sub(lambda match: _LONG_VERB[match[1]], text)


def _spell(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # zero-width and direction marks
        return ""
    return "#" if category == "No" else character


def readings(text: str, question: str = "") -> list[str]:
    """The parts of a cleaned text to read, in order: the next one counts only where the one before says nothing.

    With an `Answer:` these are the first line after the last one that has text behind it, then all that follows it;
    without one, it is the whole text. Echoes of the (cleaned) question, other questions and list numbers are left out.
    """
    after_chat = _CHAT_MARKER.split(text)
    text = next((part for part in reversed(after_chat) if part.strip()), "")
    for marker in (_STRONG_MARKER, _WEAK_MARKER):
        parts = marker.split(text)
        if len(parts) > 1:
            rest = next((part.strip() for part in reversed(parts[1:]) if re.search(r"\w", part)), "")
            candidates = [rest.split("\n", 1)[0], rest]
            break
    else:
        candidates = [text]
    return [_LIST_MARKER.sub("", _without_questions(part, question)) for part in dict.fromkeys(candidates)]


def _without_questions(text: str, question: str) -> str:
    if question:
        text = text.replace(question, "\n")
    if "?" not in text:
        return text
    kept = []
    for piece in re.findall(r"[^?]*\?|[^?]+", text):
        start = max((end.end() for end in re.finditer(r"[.!;](?= |\n|$)|\n", piece[:-1])), default=0)
        asks = piece.endswith("?") and len(piece[start:].split()) > 2  # a doubtful "yes?" still answers
        kept.append(piece[:start] if asks else piece)
    return " ".join(kept)


def tokens_of(text: str) -> list[str]:
    """Words, numbers, single punctuation marks and line breaks."""
    return _TOKEN.findall(text)


def sentences(tokens: list[str]) -> list[list[str]]:
    """The tokens between sentence ends; ends left out, empty sentences too."""
    result: list[list[str]] = [[]]
    for token in tokens:
        if token in _SENTENCE_END:
            result.append([])
        else:
            result[-1].append(token)
    return [sentence for sentence in result if sentence]


_BREAKS = frozenset({",", ":", "(", ")", "but", "however", "although", "though", "while", "whereas", "yet", "except"})
_AFTER_AND = frozenset({"no", "not", "there", "it", "they", "i", "we"})


def clauses(sentence: list[str]) -> list[list[str]]:
    """A sentence cut where a new statement may begin; empty clauses left out."""
    result: list[list[str]] = [[]]
    for index, token in enumerate(sentence):
        new_statement = token == "and" and sentence[index + 1 : index + 2] and sentence[index + 1] in _AFTER_AND
        if token in _BREAKS or new_statement:
            result.append([])
        else:
            result[-1].append(token)
    return [clause for clause in result if clause]


_IGNORANCE = re.compile(
    r"\b(?:(?:it|that|this|i) (?:is|was|am|would be) (?:absolutely |simply |just |still )?)?(?:"
    r"(?:not|un) ?(?:entirely |quite |completely |very |really )?(?:sure|certain|clear|known|possible|enough|able)\b"
    r"|(?:can|could|do|does|did|am|is|are) not (?:really |be )?"
    r"(?:tell|told|say|said|know|known|determined?|answer(?:ed)?|judged?|decided?|assess(?:ed)?|confirm(?:ed)?"
    r"|provided?|applicable|see (?:the|an|any|this) (?:image|picture|photo)|contain (?:enough |any )?information)\b"
    r"|(?:nobody|no one|who) knows|(?:impossible|hard|difficult) to \w+"
    r"|insufficient|undetermined|unanswerable|n ?/ ?a\b|whether\b|if\b"
    r"|no (?:(?:exact|specific|precise|clear|further|more|real|visible|definite) )?"
    r"(?:numbers?|counts?|answers?|way|information|indications?|idea|clues?|values?|data|context|evidence|opinion|reason"
    r"|image|picture|photo)\b"
    r")(?: (?!but\b|however\b|though\b|yet\b)[^ .,;:!?\n]+)*"
)
_NO_DOUBT = re.compile(r"\b(?:there is )?(?:no|without(?: a| any)?) doubt(?: that)?\b|\bno problem\b")


def without_ignorance(text: str) -> str:
    """The text less `I cannot tell …`, `it is unclear whether …`, `if …`: each up to the end of its clause."""
    return _IGNORANCE.sub(" ", _NO_DOUBT.sub(" ", text))
