"""What the answers of a job's nodes mean: nobody's fault, some nodes' fault, or a mistake in the configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

PREFIX = "URBANVLM-PREFLIGHT "
"""Begins a node's answer; modules and containers write other lines between."""
CLOCK_SECONDS = 30.0
"""Clocks that differ by more spoil the times by which a lock or a stalled job is judged."""
WAITED = "waited in vain"
"""Begins the error of a node that may only suffer from another's."""


@dataclass(frozen=True)
class Answer:
    """What one node found out. Every field has a default: a node that hangs has not found out everything."""

    node: str
    rank: int
    doing: str = ""
    """what it was at when its time was up; empty when it was through"""
    faults: Mapping[str, str] = field(default_factory=dict)
    """kind -> what it found wrong with itself"""
    wrote: str = ""
    """the word it left in the folder for the others"""
    folder_error: str = ""
    """why it could not leave one"""
    sees: Mapping[str, str] = field(default_factory=dict)
    """node -> the word of it that it found in the folder"""
    versions: Mapping[str, str] = field(default_factory=dict)
    clock_ahead: float = 0.0
    """seconds, of the first node's clock"""
    unreachable: str = ""
    """why it cannot reach the first node"""
    unknown_name: bool = False
    """whether that is because the first node's name has no address"""
    all_reduce: Mapping[str, str] = field(default_factory=dict)
    """backend -> `ok` or its error"""


@dataclass(frozen=True)
class Verdict:
    """Bad nodes to go on without, or a problem that other nodes would have as well; neither if all is well."""

    bad: Mapping[str, str] = field(default_factory=dict)
    """node -> reason"""
    problem: str | None = None

    @property
    def is_good(self) -> bool:
        return not self.bad and self.problem is None


class _Problem(Exception):
    pass


def verdict(expected_nodes: Sequence[str], lines: Iterable[str]) -> Verdict:
    """Judge the lines that the expected nodes printed; lines that are no answer, or another node's, do not count.

    A node that finds itself bad is bad, and so is one that says nothing. What most nodes share is no node's fault.
    """
    answers = {answer.node: answer for answer in map(_read, lines) if answer and answer.node in expected_nodes}
    try:
        return Verdict(_judge(expected_nodes, answers))
    except _Problem as problem:
        return Verdict(problem=str(problem))


def _read(line: str) -> Answer | None:
    _, found, text = line.partition(PREFIX)
    if not found:
        return None
    try:
        known = {f.name for f in fields(Answer)}
        return Answer(**{key: value for key, value in json.loads(text).items() if key in known})
    except (ValueError, TypeError, AttributeError):
        # Half a line, of a node that died or of two that wrote at once.
        return None


def _judge(expected: Sequence[str], answers: Mapping[str, Answer]) -> dict[str, str]:
    bad = _whose({node: "gave no answer" for node in expected if node not in answers}, expected)
    bad |= _whose({n: f"did not finish {a.doing}" for n, a in answers.items() if a.doing and not a.faults}, expected)
    for kind in sorted({kind for answer in answers.values() for kind in answer.faults}):
        _whose({n: a.faults[kind] for n, a in answers.items() if kind in a.faults}, expected)
    bad |= {n: "; ".join(a.faults.values()) for n, a in answers.items() if a.faults}
    left = {node: answer for node, answer in answers.items() if node not in bad}
    bad |= _unshared(left, expected)
    left = {node: answer for node, answer in left.items() if node not in bad}
    bad |= _different(left, expected)
    first = min(left.values(), key=lambda answer: answer.rank, default=None)
    if first is not None and first.rank == 0:
        bad |= _far_from_first(first.node, left, expected)
    if not bad:
        # With a bad node among them, the others cannot have succeeded.
        bad |= _not_reduced(answers, expected)
    return bad


def _whose(reasons: Mapping[str, str], expected: Sequence[str]) -> dict[str, str]:
    """The nodes' own fault, unless most nodes have it. Raises _Problem then."""
    if len(expected) > 1 and len(reasons) > len(expected) / 2:
        (reason, _), *_ = Counter(reasons.values()).most_common(1)
        raise _Problem(f"{_names(reasons)} of {len(expected)} nodes: {reason}")
    return dict(reasons)


def _unshared(answers: Mapping[str, Answer], expected: Sequence[str]) -> dict[str, str]:
    """Nodes that have another folder than the others, or came too late to be seen."""
    errors = {node: answer.folder_error for node, answer in answers.items() if answer.folder_error}
    if len(errors) == len(answers) and errors:
        raise _Problem(f"{_names(errors)}: {next(iter(errors.values()))}")
    groups: list[set[str]] = []
    for node in answers:
        # To be seen by one is to share: the other may have looked too early.
        mine = {o for o in answers if _sees(answers[o], answers[node]) or _sees(answers[node], answers[o])} | {node}
        touching = [group for group in groups if group & mine]
        groups = [group for group in groups if not group & mine] + [mine.union(*touching)]
    if len(groups) > 1:
        largest = max(groups, key=len)
        if len(largest) <= len(expected) / 2:
            one, other = sorted(sorted(min(group) for group in groups)[:2], key=lambda node: node in errors)
            why = f" ({errors[other]})" if other in errors else ""
            raise _Problem(
                f"the folder is not shared: {other} does not see what {one} writes there{why}; "
                f"let `output` lie on a file system that all nodes have"
            )
        return {n: errors.get(n, "does not see the folder of the others") for n in answers if n not in largest}
    late = {n: "came too late" for n, a in answers.items() if not all(_sees(o, a) for o in answers.values())}
    return _whose(late, expected)


def _sees(one: Answer, other: Answer) -> bool:
    return other.wrote != "" and one.sees.get(other.node) == other.wrote


def _different(answers: Mapping[str, Answer], expected: Sequence[str]) -> dict[str, str]:
    bad: dict[str, str] = {}
    for what in sorted({name for answer in answers.values() for name in answer.versions}):
        versions = {node: answer.versions.get(what, "none") for node, answer in answers.items()}
        (usual, count), *others = Counter(versions.values()).most_common()
        if not others:
            continue
        if count <= len(expected) / 2:
            held = "; ".join(f"{v} on {_names(n for n in versions if versions[n] == v)}" for v in {*versions.values()})
            raise _Problem(f"the nodes differ in {what}: {held}")
        bad |= {n: f"has {what} {v}, the others {usual}" for n, v in versions.items() if v != usual}
    return bad


def _far_from_first(first: str, answers: Mapping[str, Answer], expected: Sequence[str]) -> dict[str, str]:
    """Nodes whose clock or network is apart from the first node's; the first itself if it is apart from most."""
    unknown = {node: answer.unreachable for node, answer in answers.items() if answer.unknown_name}
    if unknown and len(unknown) >= len(expected) / 2:
        raise _Problem(f"{_names(unknown)}: {next(iter(unknown.values()))}")
    clock = {
        n: f"its clock is {abs(a.clock_ahead):.0f} s {'ahead of' if a.clock_ahead > 0 else 'behind'} {first}'s"
        for n, a in answers.items()
        if abs(a.clock_ahead) > CLOCK_SECONDS
    }
    network = {node: answer.unreachable for node, answer in answers.items() if answer.unreachable}
    bad: dict[str, str] = {}
    for reasons, of_first in ((clock, "its clock differs from that of most nodes"), (network, "most cannot reach it")):
        # Of two nodes nobody can say which one it is; with the first, the job finds its way to another second.
        is_first = len(expected) > 2 and len(reasons) > len(expected) / 2
        bad |= {first: of_first} if is_first else reasons
    return bad


def _not_reduced(answers: Mapping[str, Answer], expected: Sequence[str]) -> dict[str, str]:
    untried = [node for node, answer in answers.items() if not answer.all_reduce]
    if untried:
        raise _Problem(f"the nodes could not try an all-reduce ({_names(untried)})")
    first = min(answers.values(), key=lambda answer: answer.rank).node
    for backend in sorted({name for answer in answers.values() for name in answer.all_reduce}):
        errors = {n: a.all_reduce.get(backend, WAITED) for n, a in answers.items()}
        errors = {n: f"{backend} all-reduce: {error}" for n, error in errors.items() if error != "ok"}
        culprits = {n: error for n, error in errors.items() if WAITED not in error}
        if culprits:
            return _whose(culprits, expected)
        if errors:
            return _whose({n: error for n, error in errors.items() if n != first} or errors, expected)
    return {}


def _names(nodes: Iterable[str]) -> str:
    names = list(nodes)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def as_json(answers: Iterable[str]) -> list[dict[str, Any]]:
    """The answers among some lines, as they were given."""
    return [json.loads(line.partition(PREFIX)[2]) for line in answers if _read(line)]
