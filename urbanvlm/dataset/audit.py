"""What is wrong with a question file, and what its labels give away: every finding, none of them the last word."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from urbanvlm.dataset.findings import CODES, Finding, finding, grouped
from urbanvlm.dataset.picture_findings import image_findings, place_findings
from urbanvlm.dataset.scan import Scan, scan
from urbanvlm.dataset.taxonomy import CONVERSATION, METRICS, NUMERIC_KINDS, SUBTYPES, Subtype, scored_name
from urbanvlm.errors import quoted
from urbanvlm.evaluate.blind import Golds, blind_baseline
from urbanvlm.evaluate.metrics import strict_measure
from urbanvlm.evaluate.parse import Value, gold_value
from urbanvlm.evaluate.vocabulary import is_in_other_words
from urbanvlm.percent import percent

SINGLE_LABEL_ROWS = 3
"""so many rows of one label are worth a word; two agree too often by chance"""
JUDGED_ROWS = 10
"""so many rows say something about how even labels are"""
LOW_ENTROPY = 0.8
"""of the entropy that even labels have: three quarters yes is 0.81"""
HIGH_BLIND_F1 = 0.75
"""always yes scores 0.67 where half the answers are yes"""

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Labels:
    """How the gold answers of a subtype are spread."""

    subtype: str
    rows: int
    """with an answer that can be scored"""
    labels: Mapping[str, int]
    """the most frequent first"""
    entropy: float | None
    """of the labels, as a share of what even labels would have, 0..1; None for numbers"""

    @property
    def most(self) -> str:
        return next(iter(self.labels))

    @property
    def majority_share(self) -> float:
        return self.labels[self.most] / self.rows

    def to_json(self) -> dict[str, Any]:
        row = {name: getattr(self, name) for name in ("subtype", "rows", "majority_share", "entropy")}
        return row | {"labels": dict(self.labels)}


@dataclass(frozen=True, slots=True)
class Blind:
    """What the best constant answer per subtype reaches on a metric: that of the training split if there is one."""

    metric: str
    rows: int
    score: float
    """in the metric's own measure: F1, or a mean absolute error"""
    is_error: bool
    majority_share: float
    """of the rows that have their subtype's most frequent answer"""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was found out about a question file without a model."""

    file: str
    rows: int
    images: int
    places: int
    findings: tuple[Finding, ...]
    """the gravest first"""
    labels: tuple[Labels, ...]
    blind: tuple[Blind, ...]

    @property
    def majority_share(self) -> float | None:
        """Share of the scored rows that the most frequent answer of their subtype gets right."""
        rows = sum(labels.rows for labels in self.labels)
        return sum(labels.labels[labels.most] for labels in self.labels) / rows if rows else None

    def with_findings(self, more: Iterable[Finding]) -> Audit:
        return replace(self, findings=_by_gravity((*self.findings, *more)))

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "rows": self.rows,
            "images": self.images,
            "places": self.places,
            "majority_share": self.majority_share,
            "findings": [found.to_json() for found in self.findings],
            "labels": [labels.to_json() for labels in self.labels],
            "blind": [blind.to_json() for blind in self.blind],
        }


@dataclass(frozen=True, slots=True)
class Use:
    """What a file is for, where that makes more or less of a fault."""

    asked: bool = False
    """is it evaluated on?"""
    rationales: bool | None = None
    """is it learnt from with its rationales, or without; None where nobody knows"""


def audit_file(path: Path, images: Path | None = None, train: Path | None = None) -> Audit:
    """Read and judge a file. Raises UserError where it cannot be read at all."""
    return audit(scan(path), images=images, train=scan(train) if train is not None else None)


def audit(
    data: Scan, *, images: Path | None = None, train: Scan | None = None, use: Use | None = None, decode: bool = True
) -> Audit:
    """Judge a file that was read; against the pictures of a folder and the training split where they are given.

    `decode`: are pictures read to their end, which takes milliseconds each, or only looked up?
    """
    answers = _read_answers(data.answers)
    counts = np.bincount(data.columns.answer_of, minlength=len(answers))
    golds = _gold_counts(data, answers, counts)
    labels = tuple(_labels(name, golds[name]) for name in SUBTYPES if name in golds)
    reference = _gold_counts(train, _read_answers(train.answers), _count(train)) if train is not None else {}
    blind = tuple(_blind(golds, reference))
    findings = [
        *_row_findings(data, use or Use()),
        *_answer_findings(data, answers),
        *_duplicates(data, answers),
        *_label_findings(data, labels, blind),
        *place_findings(data, train),
        *(image_findings(data, images, decode) if images is not None else ()),
    ]
    if use is not None and use.asked and not golds:
        findings.append(finding("nothing-to-ask", data.file, data.rows, "has no row whose answer fits its subtype"))
    return Audit(
        str(data.file.path),
        data.rows,
        len(data.images),
        len(data.places),
        _by_gravity(_merged(findings)),
        labels,
        blind,
    )


def _merged(findings: Iterable[Finding]) -> list[Finding]:
    """NaN is met as a number of JSON and as an answer's text: one finding."""
    found: dict[tuple[str, str], Finding] = {}
    for one in findings:
        key = one.code, one.message
        if (first := found.get(key)) is not None:
            faults = ((n, group.what) for group in (*first.groups, *one.groups) for n in group.numbers)
            one = replace(first, count=first.count + one.count, groups=grouped(sorted(faults)))
        found[key] = one
    return list(found.values())


def _by_gravity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    of_code = {code: position for position, code in enumerate(CODES)}
    of_severity = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda found: (of_severity[found.severity], of_code[found.code])))


def _count(data: Scan) -> NDArray[np.int64]:
    return np.bincount(data.columns.answer_of, minlength=len(data.answers))


# ---- single rows


def _row_findings(data: Scan, use: Use) -> Iterator[Finding]:
    for code, faults in data.tally.faults.items():
        is_harmless = code == "contradicting-rationale" and use.rationales is False
        yield finding(code, data.file, len(faults), "", faults, "warning" if is_harmless else None)
    if use.rationales:
        missing = np.flatnonzero(~data.columns.has_rationale)
        if len(missing):
            yield _of_rows("missing-rationale", data, missing, lambda row: "has no cot_answer")


def _of_rows(code: str, data: Scan, rows: Rows, what: Callable[[int], str]) -> Finding:
    faults = ((int(data.columns.numbers[row]), what(row)) for row in rows.tolist())
    return finding(code, data.file, len(rows), "", faults)


# ---- answers


@dataclass(frozen=True, slots=True)
class _Read:
    """A (subtype, answer) of the file, judged: a value, or the code of what is wrong with it."""

    subtype: Subtype | None
    answer: str
    value: Value | None
    code: str = ""


def _read_answers(answers: Sequence[tuple[str, str]]) -> list[_Read]:
    return [_read_answer(subtype, answer) for subtype, answer in answers]


def _read_answer(name: str, answer: str) -> _Read:
    if name == CONVERSATION:
        return _Read(None, answer, None, "unscored")
    subtype = SUBTYPES[scored_name(name)]
    if subtype.answer_kind in NUMERIC_KINDS and (number := _plain_number(answer)) is not None:
        if not math.isfinite(number):
            return _Read(subtype, answer, None, "nan")
        if number < 0 or (subtype.answer_kind == "share" and number > 1):
            return _Read(subtype, answer, None, "number-out-of-range")
    value = gold_value(answer, subtype)
    if value is None or (subtype.answers is not None and value not in subtype.answers):
        return _Read(subtype, answer, None, "answer-outside-set")
    return _Read(subtype, answer, value)


def _plain_number(answer: str) -> float | None:
    text = answer.strip()
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None


def _gold_counts(data: Scan, answers: Sequence[_Read], counts: NDArray[np.int64]) -> dict[str, Counter[Value]]:
    """subtype -> how often each gold value occurs."""
    found: dict[str, Counter[Value]] = {}
    for read, count in zip(answers, counts.tolist(), strict=True):
        if read.subtype is not None and read.value is not None:
            found.setdefault(read.subtype.name, Counter())[read.value] += count
    return found


def _answer_findings(data: Scan, answers: Sequence[_Read]) -> Iterator[Finding]:
    codes = np.array([read.code for read in answers], dtype=object)
    of_rows = data.columns.answer_of
    for code in dict.fromkeys(codes.tolist()):
        if code:
            rows = np.flatnonzero((codes == code)[of_rows])
            yield _of_rows(code, data, rows, lambda row: _complaint(answers[of_rows[row]]))
    others = np.array([_is_in_other_words(read) for read in answers], dtype=bool)
    rows = np.flatnonzero(others[of_rows])
    if len(rows):
        yield _of_rows("other-words", data, rows, lambda row: _other_words(answers[of_rows[row]]))


def _complaint(read: _Read) -> str:
    if read.subtype is None:
        return "no subtype; add the key `subtype` to score it"
    kind = read.subtype.answer_kind
    if read.code == "number-out-of-range":
        allowed = "0 to 1" if kind == "share" else "0 and more"
        return f"answer {quoted(read.answer)} is outside {allowed} ({read.subtype.name})"
    if read.subtype.written is not None:
        return f"answer {quoted(read.answer)} is none of {', '.join(read.subtype.written)} ({read.subtype.name})"
    return f"answer {quoted(read.answer)} is no {kind} ({read.subtype.name})"


def _is_in_other_words(read: _Read) -> bool:
    """Not where it is how answers of the subtype are written, such as Complex, which is scored as yes."""
    written = read.subtype.written if read.subtype is not None else None
    is_documented = read.answer.strip().casefold() in map(str.casefold, written or ())
    return not is_documented and is_in_other_words(read.answer, read.value)


def _other_words(read: _Read) -> str:
    assert read.subtype is not None
    return f"answer {quoted(read.answer)} is scored as {read.value} ({read.subtype.name})"


# ---- duplicates


def _duplicates(data: Scan, answers: Sequence[_Read]) -> Iterator[Finding]:
    columns = data.columns
    if columns.has_id.any():
        later, first = _repeated(columns.ids)
        if len(later):
            firsts = dict(zip(later.tolist(), first.tolist(), strict=True))
            yield _of_rows(
                "duplicate-id", data, later, lambda row: f"its id is given in {data.where(firsts[row])} already"
            )
    later, first = _repeated(columns.questions)
    if not len(later):
        return
    pairs = zip(columns.answer_of[later].tolist(), columns.answer_of[first].tolist(), strict=True)
    differ = np.array([_contradict(answers[a], answers[b]) for a, b in pairs])
    firsts = dict(zip(later.tolist(), first.tolist(), strict=True))
    for code, rows in (("contradicting-answers", later[differ]), ("duplicate-question", later[~differ])):
        if len(rows):
            yield _of_rows(code, data, rows, lambda row: f"asks what {data.where(firsts[row])} asks")


def _contradict(one: _Read, other: _Read) -> bool:
    """Can only one of the two be right? Questions of two subtypes may be put in the same words."""
    return one.subtype == other.subtype and None not in (one.value, other.value) and one.value != other.value


def _repeated(hashes: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """(rows whose hash an earlier row has, in order; the first row that has it)."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    first = order[np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))]
    later, first = order[~is_new], first[~is_new]
    in_order = np.argsort(later)
    return later[in_order], first[in_order]


# ---- labels


def _labels(name: str, counts: Counter[Value]) -> Labels:
    rows = counts.total()
    subtype = SUBTYPES[name]
    entropy = None
    if subtype.answer_kind not in NUMERIC_KINDS:
        choices = max(2, len(subtype.answers) if subtype.answers is not None else len(counts))
        entropy = abs(-sum(n / rows * math.log(n / rows) for n in counts.values())) / math.log(choices)
    labels = {str(value): count for value, count in sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))}
    return Labels(name, rows, labels, entropy)


def _blind(golds: Golds, reference: Golds) -> Iterator[Blind]:
    for key, metric in METRICS.items():
        counts = {name: values for name, values in golds.items() if SUBTYPES[name].metric == key}
        if counts:
            rows = sum(values.total() for values in counts.values())
            majority = sum(max(values.values()) for values in counts.values())
            kind = SUBTYPES[next(iter(counts))].answer_kind
            measure = strict_measure(metric.score, sum(counts.values(), Counter()), kind)
            score = blind_baseline(lambda _, measure=measure: measure, counts, reference)  # type: ignore[misc]
            yield Blind(key, rows, score, metric.score == "mae", majority / rows)


def _label_findings(data: Scan, labels: Iterable[Labels], blind: Iterable[Blind]) -> Iterator[Finding]:
    where = data.file
    for found in labels:
        if found.entropy is None and len(found.labels) > 1:
            continue
        if len(found.labels) == 1:
            if found.rows >= SINGLE_LABEL_ROWS:
                message = f"{found.subtype}: all {found.rows} answers are {found.most}"
                yield finding("single-label", where, found.rows, message)
        elif found.rows >= JUDGED_ROWS and (found.entropy or 0) < LOW_ENTROPY:
            share = f"{percent(found.majority_share)} of {found.rows} answers are {found.most}"
            message = f"{found.subtype}: {share} (entropy {found.entropy:.2f} of 1)"
            yield finding("low-entropy", where, found.rows, message)
    for guess in blind:
        if guess.rows >= JUDGED_ROWS and not guess.is_error and guess.score > HIGH_BLIND_F1:
            message = f"{guess.metric}: a constant answer per subtype scores F1 {guess.score:.2f} on {guess.rows} rows"
            yield finding("high-blind-baseline", where, guess.rows, message)
