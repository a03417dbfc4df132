"""`python -m urbanvlm validate`: everything that is wrong with a question file, for people and for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from urbanvlm.dataset.findings import check_code
from urbanvlm.errors import UserError, missing_file
from urbanvlm.percent import percent
from urbanvlm.run_folder import resolve_folder

if TYPE_CHECKING:
    from rich.console import RenderableType

    from urbanvlm.dataset.audit import Audit
    from urbanvlm.dataset.findings import Finding

SHOWN_GROUPS, SHOWN_PLACES = 20, 8
"""of a finding, and of a group of it, on a screen"""
STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help="question file: JSONL, a JSON array, conversations")
    parser.add_argument("--images", help="folder of the pictures, which are then read too")
    parser.add_argument("--train", type=Path, help="question file of the training split: places in both are an error")
    parser.add_argument("--model", metavar="FAMILY[:CHECKPOINT]", help="does all fit into what this model reads?")
    parser.add_argument("--allow", action="append", default=[], metavar="CODE", help="a finding that is no matter")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=validate)


def validate(options: argparse.Namespace) -> int:
    """0 if nothing is wrong, or nothing that is not allowed or a mere note; 1 if something is. Raises UserError."""
    from urbanvlm.dataset.audit import audit
    from urbanvlm.dataset.scan import scan

    allowed = [code for given in options.allow for code in given.replace(",", " ").split()]
    for code in allowed:
        try:
            check_code(code)
        except ValueError as error:
            raise UserError("--allow", str(error)) from None
    images = resolve_folder(options.images) if options.images is not None else None
    if images is not None and not images.is_dir():
        raise UserError(images, missing_file(images, "no such folder"), "--images takes the folder of the pictures")
    train = scan(options.train) if options.train is not None else None
    result = audit(scan(options.data), images=images, train=train)
    if options.model is not None:
        from urbanvlm.models.lengths import too_long

        result = result.with_findings(too_long(options.data, options.model))
    found = [one for one in result.findings if one.severity != "note" and one.code not in allowed]
    if options.json:
        print(json.dumps(result.to_json() | {"allowed": allowed, "refused": bool(found)}, indent=1, ensure_ascii=False))
    else:
        _show(result, allowed)
    return 1 if found else 0


def _show(result: Audit, allowed: list[str]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False)
    counted = f"{result.rows:,} rows, {result.images:,} images, {result.places:,} places"
    console.print(f"[bold]{escape(result.file)}[/]: {counted}")
    if result.findings:
        console.print(findings_table(result, allowed))
    else:
        console.print("nothing is wrong", style="green")
    if result.labels:
        console.print(labels_table(result))


def findings_table(result: Audit, allowed: list[str]) -> RenderableType:
    """One row a finding, with its faults below, each where it is."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1))
    table.add_column("")
    table.add_column("finding")
    table.add_column("times", justify="right")
    table.add_column("what, and where", overflow="fold", ratio=1)
    for found in result.findings:
        style = "dim" if found.code in allowed else STYLES[found.severity]
        severity = "allowed" if found.code in allowed else found.severity
        words = [escape(found.message), *(f"[dim]{escape(line)}[/]" for line in _places(found))]
        table.add_row(f"[{style}]{severity}[/]", found.code, f"{found.count:,}", "\n".join(words))
    return table


def _places(found: Finding) -> Iterator[str]:
    """A line for each group; what is cut is counted."""
    name = f"{Path(found.where).name}{': item ' if found.is_array else ':'}"
    for group in found.groups[:SHOWN_GROUPS]:
        shown, more = group.numbers[:SHOWN_PLACES], len(group.numbers) - SHOWN_PLACES
        rest = f" and {more} more, the last {group.numbers[-1]}" if more > 0 else ""
        times = f" ({len(group.numbers)} times)" if len(group.numbers) > 1 else ""
        yield f"{name}{', '.join(map(str, shown))}{rest}: {group.what}{times}"
    if left := found.groups[SHOWN_GROUPS:]:
        yield f"and {sum(len(group.numbers) for group in left):,} more: --json lists all"


def labels_table(result: Audit) -> RenderableType:
    """How even the labels are, by subtype; what a blind guesser scores, by metric."""
    from rich.console import Group
    from rich.table import Table

    labels = Table(box=None, header_style="bold", pad_edge=False, title="labels", title_justify="left")
    for column, justify in (("subtype", "left"), ("rows", "right"), ("most frequent", "left"), ("share", "right")):
        labels.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    labels.add_column("entropy", justify="right")
    for one in result.labels:
        entropy = "" if one.entropy is None else f"{one.entropy:.2f}"
        labels.add_row(one.subtype, f"{one.rows:,}", one.most, percent(one.majority_share), entropy)
    blind = Table(box=None, header_style="bold", pad_edge=False, title="guessing blindly", title_justify="left")
    for column, justify in (("metric", "left"), ("rows", "right"), ("majority", "right"), ("score", "right")):
        blind.add_column(column, justify=justify)  # type: ignore[arg-type]
    for guess in result.blind:
        score = f"{'MAE' if guess.is_error else 'F1'} {guess.score:.2f}"
        blind.add_row(guess.metric, f"{guess.rows:,}", percent(guess.majority_share), score)
    rows = sum(one.rows for one in result.labels)
    blind.add_row("[bold]all[/]", f"{rows:,}", percent(result.majority_share or 0.0), "")
    return Group("", labels, "", blind)
