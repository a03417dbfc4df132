"""Which part of a cleaned text is the model's own answer to what was asked, without the turns that it made up.

Every step is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from urbanvlm.evaluate.parse_question import Question
from urbanvlm.evaluate.parse_text import owns_up

_ROLE = re.compile(
    r"(?:(?:^|\n|###|[.!?;] ?) ?(?:user|human)|\s(?:user)) ?:|\[inst\]|<\|(?:im_start\|> ?)?user\b(?:\|>)?"
    r"|(?P<model>(?:^|\n|###|\s) ?(?:assistant|gpt) ?:|\[/inst\]|<\|(?:im_start\|> ?)?assistant\b(?:\|>)?)"
)
_PREAMBLE = re.compile(r"(?:<s> ?)?(?:a chat between|system\b|you are\b)")
_ECHO = "\0"
"""Stands for an echo of the question; no cleaned text holds a control character."""
_LABEL = re.compile(
    r"\0[?. ]*|(?<![^\s.!?;)\]#])(?<!the )(?<!your )(?<!this )(?<!that )(?:question|q)(?: ?#?\d{1,3})? ?:"
)
_STRONG_MARKER = re.compile(r"\bans(?:wer)?[\"']? ?(?:is ?)?[:=]|\banswer (?:is )?- |\banswer\n")
_WEAK_MARKER = re.compile(r"\b(?:answer|option|choice) (?:to (?:the|your|this) question )?(?:is|would be|should be)\b")
_ONLY_A_LETTER = re.compile(r"(?: ?(?:option|choice))? ?[:(]? ?[a-h] ?\)? ?\.?")
_NEXT_KEY = re.compile(r", ?\"[^\"\n]{1,40}\" ?:")
_LIST_MARKER = re.compile(r"^\d{1,2}[.)] (?=\S)", re.MULTILINE)
_WORD = re.compile(r"\w")
_LEAST_WORDS_OF_A_QUESTION = 3
_SENTENCE_END = re.compile(r"[.!;](?= |\n|$)|\n")
_CONCLUDES = re.compile(r"(?:^|(?<=[.!;\n]) ?)(?:so )?(?:therefore|thus|hence|in conclusion|so)\b")
_DOUBTFUL_ANSWER = re.compile(r" ?(?:maybe|perhaps|possibly|probably|i (?:think|guess|would say))\b")
_DOUBTS = re.compile(r" ?(?:wait|hmm?|but|or|so|and|okay|ok|let|should|well|actually)\b")
_REFERS_BACK = re.compile(r" ?(?:is|are|was|were|does|do|did|could|can|would) (?:that|it|this|these|those|they)\b")
_DIRECT = re.compile(r"\W*(?:yes|no|yeah|yep|nope|\d[\d.,]*|zero|one|two|three|four|five|six|seven|eight|nine|ten)\b")
_FEW_WORDS = 4


@dataclass(frozen=True, slots=True)
class Turn:
    """What is said before the model's next question."""

    text: str
    contested_by: str = ""
    """what stands around it, where that may still belong to the answer: it must not contradict the text"""

    @property
    def readings(self) -> list[str]:
        return _readings(self.text)


def may_echo(text: str) -> bool:
    """Is the cleaned text long enough to hold a question?"""
    return text.count(" ") >= _LEAST_WORDS_OF_A_QUESTION - 1


def conclusion(text: str) -> tuple[str, bool]:
    """The last sentence that begins with `therefore`, or `so`, if any; and whether it settles what is said before it.

    A mere `so` does not, but what it says must agree.
    """
    starts = list(_CONCLUDES.finditer(text))
    if not starts:
        return "", False
    return _SENTENCE_END.split(text[starts[-1].end() :], maxsplit=1)[0], not starts[-1][0].endswith("so")


def turns(text: str, question: Question) -> Iterator[Turn]:
    """The parts of a cleaned text that may hold the answer: the next one counts where the one before says nothing.

    A question of the model's own ends a turn. What follows it is an answer to what was asked only if the question
    asks for nothing else, as an echo does. Questions that the model puts to itself while it thinks (`is that a bus?`)
    are left out.
    """
    text, earlier = _own_turn(text, question)
    if may_echo(text) and may_echo(question.wording.rstrip("?. ")):
        text = text.replace(question.wording.rstrip("?. "), f"\n{_ECHO}")
    said: list[str] = []
    position = 0
    for start, end, labelled in _questions(text):
        said.append(text[position:start])
        position = end
        before = " ".join(said).strip()
        if not labelled and _is_self_talk(text[start:end], before):
            continue
        if before:
            rest = _without_questions(text[end:])
            opens_line = text[:start].rstrip(" ")[-1:] in {"", "\n"}
            final = labelled or _is_direct(before) or (opens_line and not _STRONG_MARKER.search(rest))
            yield Turn(before, earlier if final else f"{earlier}\n{rest}")
            if owns_up(before):
                return
        if not question.is_asked_by(_LABEL.sub(" ", text[start:end])):
            return
        said = []
    yield Turn(" ".join((*said, text[position:])).strip(), earlier)


def _is_self_talk(question: str, before: str) -> bool:
    """`wait, is that a bus?`; `is it red?` too, unless the answer stands already."""
    return bool(_DOUBTS.match(question) or (_REFERS_BACK.match(question) and not _is_direct(before)))


def _is_direct(text: str) -> bool:
    """`yes`, `2 people`, `the answer is 3`: all that an answer needs."""
    return bool(
        _DIRECT.match(text) or text.count(" ") < _FEW_WORDS or _STRONG_MARKER.search(text) or _WEAK_MARKER.search(text)
    )


def _questions(text: str) -> Iterator[tuple[int, int, bool]]:
    """(start, end, has it a label?) of each question: `Question: …`, `Q: …`, or a sentence with a question mark."""
    label = _LABEL.search(text)
    position = 0
    while True:
        if label is not None and label.start() < position:
            label = _LABEL.search(text, position)
        mark = text.find("?", position)
        if label is not None and (mark < 0 or label.start() <= mark):
            end = label.end() if label[0].startswith(_ECHO) else _end_of_labelled(text, label.end())
            yield label.start(), end, True
        elif mark >= 0:
            end = mark + 1
            start = max((found.end() for found in _SENTENCE_END.finditer(text, position, mark)), default=position)
            sentence = text[start:end]
            if may_echo(sentence.strip()) and not _DOUBTFUL_ANSWER.match(sentence):
                yield start, end, False
        else:
            return
        position = end


def _end_of_labelled(text: str, start: int) -> int:
    """Behind the question mark of the label's line, or of the next; else before its `answer:`, else its end."""
    while text[start : start + 1] in {" ", "\n"}:
        start += 1
    end = text.find("\n", start)
    line = text[start : end if end >= 0 else len(text)]
    marker = _STRONG_MARKER.search(line)
    length = marker.start() if marker else len(line)
    mark = line.find("?", 0, length)
    return start + (mark + 1 if mark >= 0 else length)


def _own_turn(text: str, question: Question) -> tuple[str, str]:
    """What the model itself says first, where the text is a dialogue: the prompt echoed, or the next turns made up.

    Beside it, what stands before the model's role, less questions: a prompt, or the model's answer already.
    """
    roles = list(_ROLE.finditer(text))
    if not roles:
        return text, ""
    before = text[: roles[0].start()]
    speaks_first = roles[0]["model"] is None and not _PREAMBLE.match(before)
    if speaks_first and _WORD.search(_without_questions(before)):
        return before, ""
    if any(
        _WORD.search(before[:start]) and not question.is_asked_by(_LABEL.sub(" ", before[start:end]))
        for start, end, _ in _questions(before)
    ):
        return before, ""
    said: list[str] = []
    for role, end in zip(roles, [*(role.start() for role in roles[1:]), len(text)], strict=True):
        if role["model"] is not None:
            said.append(text[role.end() : end].strip())
        elif any(map(_WORD.search, said)):
            break
    if not said:
        return text, ""
    is_prompt = roles[0]["model"] is None or _PREAMBLE.match(before)
    earlier = "" if is_prompt or not _WORD.search(before) else _without_questions(_without_echo(before, question))
    return "\n".join(part for part in said if part), earlier.strip()


def _without_echo(text: str, question: Question) -> str:
    return text.replace(question.wording.rstrip("?. "), " ") if may_echo(question.wording.rstrip("?. ")) else text


def _without_questions(text: str) -> str:
    kept, position = [], 0
    for start, end, _ in _questions(text):
        kept.append(text[position:start])
        position = end
    return " ".join((*kept, text[position:]))


def _readings(text: str) -> list[str]:
    """What to read of one turn, in order: the next one counts only where the one before says nothing.

    With an `Answer:` these are the first line after the last one that has text behind it and, unless that line owns up
    to not knowing, all that follows it; without one, it is the whole text. List numbers are left out.
    """
    for marker in (_STRONG_MARKER, _WEAK_MARKER):
        parts = marker.split(text)
        if len(parts) > 1:
            rest = next((part.strip() for part in reversed(parts[1:]) if _WORD.search(part)), "")
            line = _NEXT_KEY.split(rest.split("\n", 1)[0], maxsplit=1)[0]
            candidates = [line] if owns_up(line) else [line, rest]
            if _ONLY_A_LETTER.fullmatch(rest):  # an option's; what stands before may say which
                candidates = [parts[0][: max(map(parts[0].rfind, ".!\n")) + 1]]
            break
    else:
        candidates = [text]
    return [_LIST_MARKER.sub("", part) for part in dict.fromkeys(candidates)]
