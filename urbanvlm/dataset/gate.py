"""May a run go on with its question files? Errors that are not allowed refuse it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from urbanvlm.dataset.audit import Audit, Use, audit
from urbanvlm.dataset.findings import CODES, Finding
from urbanvlm.dataset.scan import scan
from urbanvlm.errors import UserError
from urbanvlm.experiment import Experiment

MOST_REMARKS = 6
"""more than these fill the screen; `validate` shows all"""


def check_splits(experiment: Experiment, splits: Mapping[str, Path], images: Path, *, decode: bool = True) -> list[str]:
    """What one should know of the files of a run, by split (train, val, test).

    Raises UserError for the first error that `data.allow` does not name.
    """
    # What the strict profile must read, the audit reads.
    strict = experiment.evaluate.profile == "strict"
    rationales = experiment.mode == "fine-tune" and experiment.data.chain_of_thought
    scans = {split: scan(path) for split, path in splits.items()}
    audits = []
    for split, data in scans.items():
        use = Use(asked=strict and split == "test", rationales=rationales and split != "test")
        train = scans.get("train") if split == "test" else None
        audits.append(audit(data, images=images, train=train, use=use, decode=decode))
    return judged(audits, experiment.data.allow)


def judged(audits: Iterable[Audit], allow: Iterable[str]) -> list[str]:
    """Remarks on what is no error or is allowed. Raises UserError naming the first error that is not."""
    allowed = set(allow)
    findings = [found for result in audits for found in result.findings]
    errors = [found for found in findings if found.severity == "error" and found.code not in allowed]
    if errors:
        raise _refusal(errors)
    told = [found for found in findings if found.severity != "note"]
    remarks = [remark(found) for found in told[:MOST_REMARKS]]
    if len(told) > MOST_REMARKS:
        files = " ".join(dict.fromkeys(found.where for found in told[MOST_REMARKS:]))
        remarks.append(f"{len(told) - MOST_REMARKS} more: python -m urbanvlm validate {files}")
    return remarks


def remark(found: Finding) -> str:
    """A finding in a line."""
    first = f"; first: {found.examples[0]}" if found.examples else ""
    times = f" ({found.count} times)" if found.examples and found.count > 1 else ""
    then = f"; allowed: {CODES[found.code].then}" if found.severity == "error" else ""
    return f"{found.where}: {found.message}{times} [{found.code}]{then}{first}"


def _refusal(errors: list[Finding]) -> UserError:
    first = errors[0]
    where, _, what = (first.examples[0] if first.examples else f"{first.where}: {first.message}").partition(": ")
    more = sum(found.count for found in errors) - 1
    hints = []
    if CODES[first.code].allowable:
        hints.append(f"mend it, or say ALLOW={first.code} ({CODES[first.code].then})")
    if more:
        hints.append(f"python -m urbanvlm validate {first.where} shows {more} more")
    return UserError(where, what, "; ".join(hints))
