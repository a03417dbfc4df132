"""From a model's raw text to the lower-case words that may hold its answer.

Every step is linear in the length of the text: no pattern repeats a repetition, and what stands between two fixed words
is bounded or cannot contain the first of them.
"""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES_AND_DASHES = str.maketrans({**dict.fromkeys("’‘ʼ`´", "'"), **dict.fromkeys("‐‑‒–—―−", "-")})
_CONTROLS = {chr(code): " " for code in (*range(32), 127) if chr(code) not in "\t\n"}
_MARKUP = str.maketrans(_CONTROLS | {"*": " ", "\r": "\n", "\u2028": "\n", "\u2029": "\n"})
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?!\d)")  # markup and `traffic_light`, but not `image_12`
_TAG = re.compile(r"</?[a-z][^<>\n]{0,99}>")
_LATEX_STYLE = re.compile(r"\\(?:text\w{0,6}|math\w{0,6}|operatorname) ?\{([^{}]*)\}")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}")
_LATEX_BOX = re.compile(r"\\f?boxed ?\{([^{}]*)\}")
_LATEX_DELIMITER = re.compile(r"\\[()\[\]]|\$|\\(?=%)")
_NOT = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should|ca|wo|must)n'?t\b")
_SHORT_IS = re.compile(r"\b(it|there|that|this|what|which|here)'s\b")
_SHORT_VERB = re.compile(r"'(re|m|ve|ll|d)\b")
_LONG_VERB = {"re": " are", "m": " am", "ve": " have", "ll": " will", "d": " would"}
_NOT_ONE = re.compile(r"\bnot (?:even )?(?:a single|one)\b(?! (?:but|of)\b)")

ODD_DIGIT = "\N{REPLACEMENT CHARACTER}"
"""Stands for a superscript, a fraction or a circled digit, which NFKC would turn into plain digits: 5² into 52."""

_TURN = re.compile(
    r"(?:(?:^|\n|###) ?(?:user|human)|\s(?:user)) ?:|\[inst\]|<\|(?:im_start\|> ?)?user\b(?:\|>)?"
    r"|(?P<model>(?:^|\n|###|\s) ?(?:assistant|gpt) ?:|\[/inst\]|<\|(?:im_start\|> ?)?assistant\b(?:\|>)?)"
)
_PREAMBLE = re.compile(r"(?:<s> ?)?(?:a chat between|system\b|you are\b)")
_STRONG_MARKER = re.compile(r"\bans(?:wer)?[\"']? ?(?:is ?)?[:=]|\banswer (?:is )?- |\banswer\n")
_WEAK_MARKER = re.compile(r"\banswer (?:is|would be|should be)\b")
_NEXT_KEY = re.compile(r", ?\"[^\"\n]{1,40}\" ?:")
_LIST_MARKER = re.compile(r"^\d{1,2}[.)] (?=\S)", re.MULTILINE)
_WORD = re.compile(r"\w")
_LEAST_WORDS_OF_A_QUESTION = 3
_DOUBTFUL_ANSWER = re.compile(r" ?(?:maybe|perhaps|possibly|probably|i (?:think|guess|would say))\b")

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|(?:[^\W_]|[\u0300-\u036f])+|[^\w\s]|\n")
_SENTENCE_END = frozenset(".!?;\n")


def clean(text: str) -> str:
    r"""One spelling: NFKC, lower case, plain quotes and dashes, `is not` for `isn't`, single spaces, no markup.

    Line breaks stay. `\boxed{…}` becomes a line `answer: …`.
    """
    if not text.isascii():
        text = "".join(_spell(character) for character in text)
        text = unicodedata.normalize("NFKC", text.translate(_APOSTROPHES_AND_DASHES))
        text = text.translate(_APOSTROPHES_AND_DASHES)
    text = text.replace("```", "\n").replace("`", "'").translate(_MARKUP).lower()
    if "_" in text:
        text = _UNDERSCORE.sub(" ", text)
    if "\\" in text or "$" in text:
        text = _without_latex(text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    text = "\n".join([line for line in (" ".join(line.split()) for line in text.split("\n")) if line])
    if "'" in text or "n" in text:
        text = _spelled_out(text)
    return text


def _spell(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cf":  # zero-width and direction marks
        return ""
    return ODD_DIGIT if category == "No" else character


def _without_latex(text: str) -> str:
    text = _LATEX_STYLE.sub(r"\1", text)
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    return _LATEX_DELIMITER.sub(" ", _LATEX_BOX.sub(r"\nanswer: \1\n", text)).replace(" %", "%")


def _spelled_out(text: str) -> str:
    text = text.replace("cannot", "can not").replace("n't've", "n't have").replace("no-one", "no one")
    text = _NOT.sub(lambda match: {"ca": "can", "wo": "will"}.get(match[1], match[1]) + " not", text)
    if "'" in text:
        text = _SHORT_IS.sub(r"\1 is", text)
        text = _SHORT_VERB.sub(lambda match: _LONG_VERB[match[1]], text)
    return _NOT_ONE.sub("no", text)


def readings(text: str, question: str = "") -> list[str]:
    """The parts of a cleaned text to read, in order: the next one counts only where the one before says nothing.

    With an `Answer:` these are the first line after the last one that has text behind it and, unless that line owns up
    to not knowing, all that follows it; without one, it is the whole text. Echoes of the (cleaned) question, other
    questions, list numbers and what anybody but the model says are left out.
    """
    text = _own_turn(text, question)
    for marker in (_STRONG_MARKER, _WEAK_MARKER):
        parts = marker.split(text)
        if len(parts) > 1:
            rest = next((part.strip() for part in reversed(parts[1:]) if _WORD.search(part)), "")
            line = _NEXT_KEY.split(rest.split("\n", 1)[0], maxsplit=1)[0]
            candidates = [line] if without_ignorance(line) != line else [line, rest]
            break
    else:
        candidates = [text]
    return [_LIST_MARKER.sub("", _without_questions(part, question)) for part in dict.fromkeys(candidates)]


def may_echo(text: str) -> bool:
    """Is the cleaned text long enough to hold a question?"""
    return text.count(" ") >= _LEAST_WORDS_OF_A_QUESTION - 1


def _own_turn(text: str, question: str) -> str:
    """What the model itself says first, where the text is a dialogue: the prompt echoed, or the next turns made up."""
    turns = list(_TURN.finditer(text))
    if not turns:
        return text
    before = text[: turns[0].start()]
    speaks_first = turns[0]["model"] is None and not _PREAMBLE.match(before)
    if speaks_first and _WORD.search(_without_questions(before, question)):
        return before
    said: list[str] = []
    for turn, end in zip(turns, [*(turn.start() for turn in turns[1:]), len(text)], strict=True):
        if turn["model"] is not None:
            said.append(text[turn.end() : end].strip())
        elif any(map(_WORD.search, said)):
            break
    return "\n".join(part for part in said if part) if said else text


def _without_questions(text: str, question: str) -> str:
    question = question.rstrip("?. ")
    if may_echo(question):
        text = text.replace(question, "\n")
    if "?" not in text:
        return text
    kept = []
    for piece in re.findall(r"[^?]*\?|[^?]+", text):
        start = max((end.end() for end in re.finditer(r"[.!;](?= |\n|$)|\n", piece[:-1])), default=0)
        sentence = piece[start:]
        asks = piece.endswith("?") and may_echo(sentence.strip()) and not _DOUBTFUL_ANSWER.match(sentence)
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
DETERMINER_NO = "NO"
"""Stands for the `no` of `no cars`, which is not the answer no. Upper case, so never a token of a cleaned text."""
_AFTER_AND = frozenset({"no", DETERMINER_NO, "not", "there", "it", "they", "i", "we"})


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
    r"\b(?:(?:there|it|that|this|i) (?:is|are|was|am|would be) (?:absolutely |simply |just |still )?)?(?:"
    r"(?:not|un) ?(?:entirely |quite |completely |very |really )?(?:sure|certain|known|possible|enough|able)\b"
    r"|(?<=it is )not (?:entirely |quite |completely |very |really )?clear\b|unclear\b"
    r"|not (?:entirely |quite |completely )?clear (?=whether|if|how|what|which|where)"
    r"|(?:can|could|do|does|did|am|is|are) not (?:really |be )?"
    r"(?:tell|told|say|said|know|known|determined?|answer(?:ed)?|judged?|decided?|assess(?:ed)?|confirm(?:ed)?"
    r"|provided?|applicable|see (?:the|an|any|this) (?:image|picture|photo)|contain (?:enough |any )?information"
    r"|have (?:any )?access)\b"
    r"|(?:nobody|no one|who) knows|(?:impossible|hard|difficult) to \w+"
    r"|insufficient|undetermined|unanswerable|n ?/ ?a\b|whether\b|if\b"
    r"|no (?:(?:exact|specific|precise|clear|further|more|real|visible|definite) )?"
    r"(?:numbers?|counts?|answers?|way|information|indications?(?! of)|idea|clues?|values?|data|context|opinion|reason"
    r"|image|picture|photo|evidence(?! of))\b"
    r")(?: (?!but\b|however\b|though\b|yet\b)[^ .,;:!?\n]+)*"
)
_NO_DOUBT = re.compile(r"\b(?:there is )?(?:no|without(?: a| any)?) doubt(?: that)?\b|\bno problem\b")


def without_ignorance(text: str) -> str:
    """The text less `I cannot tell …`, `it is unclear whether …`, `if …`: each up to the end of its clause."""
    return _IGNORANCE.sub(" ", _NO_DOUBT.sub(" ", text))
