"""From a model's raw text to the lower-case words that may hold its answer.

Every step is linear in the length of the text: no pattern repeats a repetition, and what stands between two fixed words
is bounded or cannot contain the first of them.
"""

from __future__ import annotations

import re
import unicodedata

_QUOTES_AND_DASHES = str.maketrans(
    dict.fromkeys("’‘ʼ`´", "'") | dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‐‑‒–—―−", "-")
)
_CONTROLS = {chr(code): " " for code in (*range(32), 127) if chr(code) not in "\t\n"}
_MARKUP = str.maketrans(_CONTROLS | {"*": " ", "\r": "\n", "\u2028": "\n", "\u2029": "\n"})
_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?!\d)")  # markup and `traffic_light`, but not `image_12`
_TAG = re.compile(r"</?[a-z][^<>\n]{0,99}>")
_LATEX_STYLE = re.compile(r"\\(?:text\w{0,6}|math\w{0,6}|operatorname) ?\{([^{}]*)\}")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac ?\{([^{}]*)\} ?\{([^{}]*)\}")
_LATEX_BOX = re.compile(r"\\f?boxed ?\{([^{}]*)\}")
_LATEX_DELIMITER = re.compile(r"\\[()\[\]]|\$|\\(?=%)")
_LOWER_THEN_UPPER = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
_LOOP = re.compile(r"\b([a-z]{2,30}?)\1{2,}([a-z]*)")
_THOUGHTS_START = re.compile(r"<(?:think(?:ing)?|thoughts?|reasoning)>")
_THOUGHTS_END = re.compile(r"</(?:think(?:ing)?|thoughts?|reasoning)>")
_ANSWER_TAG = re.compile(r"<(?:final_?)?answer>([^<]*)(?:</(?:final_?)?answer>)?")
_NOT = re.compile(r"\b(is|are|was|were|do|does|did|has|have|had|could|would|should|ca|wo|must)n'?t\b")
_SHORT_IS = re.compile(r"\b(it|there|that|this|what|which|here)'s\b")
_SHORT_VERB = re.compile(r"'(re|m|ve|ll|d)\b")
_LONG_VERB = {"re": " are", "m": " am", "ve": " have", "ll": " will", "d": " would"}
_NOTHING_BUT = re.compile(r"\b(?:nothing|none|nobody|no one) (?:but|except|other than)\b")
_NOT_ONE = re.compile(r"\bnot (?:even )?(?:a single|one)\b(?! (?:but|of)\b)")

ODD_DIGIT = "\N{REPLACEMENT CHARACTER}"
"""Stands for a superscript, a fraction or a circled digit, which NFKC would turn into plain digits: 5² into 52."""

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|(?:[^\W_]|[\u0300-\u036f])+|[^\w\s]|\n")
_SENTENCE_END = frozenset(".!?;\n")


def clean(text: str) -> str:
    r"""One spelling: NFKC, lower case, plain quotes and dashes, `is not` for `isn't`, no markup, no loops.

    Line breaks stay. `\boxed{…}` and `<answer>…</answer>` become a line `answer: …`; `<think>…</think>` is left out.
    """
    if not text.isascii():
        text = "".join(_spell(character) for character in text)
        text = unicodedata.normalize("NFKC", text.translate(_QUOTES_AND_DASHES))
        text = text.translate(_QUOTES_AND_DASHES)
    text = _LOWER_THEN_UPPER.sub(" ", text)
    text = text.replace("```", "\n").replace("`", "'").translate(_MARKUP).lower()
    if "_" in text:
        text = _UNDERSCORE.sub(" ", text)
    if "\\" in text or "$" in text:
        text = _without_latex(text)
    if "<" in text:
        text = _TAG.sub(" ", _answer_tags(_after_thoughts(text)))
    text = "\n".join([line for line in (" ".join(line.split()) for line in text.split("\n")) if line])
    if "'" in text or "n" in text:
        text = _spelled_out(text)
    return _LOOP.sub(_said_once, text)


def _after_thoughts(text: str) -> str:
    """What follows `<think>…</think>`; thoughts that never end hold no answer, unless they name one."""
    *_, text = _THOUGHTS_END.split(text)
    start = _THOUGHTS_START.search(text)
    return text[: start.start()] if start and "answer:" not in text else text


def _answer_tags(text: str) -> str:
    """`<answer>3</answer>` as a line `answer: 3`; several that differ stand in one line, and contradict."""
    said = [found[1].strip() for found in _ANSWER_TAG.finditer(text)]
    final = " ; ".join(dict.fromkeys(filter(None, said)))
    return _ANSWER_TAG.sub(f"\nanswer: {final}\n", text) if final else text


def _said_once(loop: re.Match[str]) -> str:
    """`yes` for `yesyesye`."""
    return loop[1] if loop[1].startswith(loop[2]) else loop[0]


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
    return _NOT_ONE.sub("no", _NOTHING_BUT.sub("only", text))


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


_BREAKS = frozenset(
    {
        ",",
        ":",
        "(",
        ")",
        "but",
        "however",
        "although",
        "though",
        "while",
        "whereas",
        "yet",
        "except",
        "rather",
        "instead",
    }
)
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
    r"(?:not|un) ?(?:entirely |quite |completely |very |really )?"
    r"(?:sure|certain|known|possible|enough|sufficient|adequate|able)\b"
    r"|(?<=it is )not (?:entirely |quite |completely |very |really )?clear\b|unclear\b"
    r"|not (?:entirely |quite |completely )?clear (?=whether|if|how|what|which|where)"
    r"|(?:can|could|do|does|did|am|is|are) not (?:really |be )?"
    r"(?:tell|told|say|said|know|known|determined?|answer(?:ed)?|judged?|decided?|assess(?:ed)?|confirm(?:ed)?"
    r"|provided?|applicable|see (?:the|an|any|this) (?:image|picture|photo)|contain (?:enough |any )?information"
    r"|have (?:any )?access)\b"
    r"|can not see(?: (?:(?:very |so )?well|clearly|much|enough|properly|from here))?(?= ?(?:[.,;!\n]|$))"
    r"|(?:nobody|no one|who) knows|(?:impossible|hard|difficult) to \w+"
    r"|insufficient|undetermined|unanswerable|n ?/ ?a\b|whether\b|if\b"
    r"|no (?:(?:exact|specific|precise|clear|further|more|real|visible|definite) )?"
    r"(?:numbers?|counts?|answers?|way|information|indications?(?! of)|idea|clues?|values?|data|context|opinion|reason"
    r"|image|picture|photo|evidence(?! of))\b"
    r")(?: (?!but\b|however\b|though\b|yet\b)[^ .,;:!?\n]+)*"
)
_NO_DOUBT = re.compile(r"\b(?:there is )?(?:no|without(?: a| any)?) doubt(?: that)?\b|\bno problem\b")


def owns_up(text: str) -> bool:
    """Does the text say that something is not known?"""
    return _IGNORANCE.search(text) is not None


def without_ignorance(text: str) -> str:
    """The text less `I cannot tell …`, `it is unclear whether …`, `if …`: each up to the end of its clause."""
    return _IGNORANCE.sub(" ", _NO_DOUBT.sub(" ", text))
