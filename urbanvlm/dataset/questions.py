"""`python -m urbanvlm questions`: a metadata file of one's own -> question files."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from urbanvlm.dataset.build import SPLITS, Wish, split_sizes, write_dataset
from urbanvlm.dataset.metadata import OwnMetadata, read_metadata
from urbanvlm.dataset.taxonomy import SUBTYPES, suggest_subtype
from urbanvlm.errors import UserError, suggest
from urbanvlm.experiment import Thresholds, parse_override

MORE_PLACES = "add places, change --validation-share and --test-share, or put all into the test split: --split none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("metadata", type=Path, help="JSONL or a JSON array, one record for each image")
    parser.add_argument("--out", type=Path, required=True, help="folder for train, val and test.jsonl and card.md")
    parser.add_argument(
        "--split",
        choices=("place", "none"),
        default="place",
        help="place: all images of a place in one of three splits (default); none: all questions into test.jsonl",
    )
    parser.add_argument("--validation-share", type=float, default=0.1, help="share of the places (0.1)")
    parser.add_argument("--test-share", type=float, default=0.2, help="share of the places (0.2)")
    parser.add_argument("--per-subtype", type=int, default=400, help="most questions of a subtype to train on (400)")
    parser.add_argument("--subtypes", nargs="+", metavar="SUBTYPE", help="only these; else all that can be asked")
    parser.add_argument("--seed", type=int, default=0, help="root of all choices (0)")
    parser.add_argument("--chain-of-thought", action="store_true", help="with rationales")
    parser.add_argument(
        "--inverse-depth",
        action="store_true",
        help='depth in records without `"depth"` is inverse: larger is nearer, as MiDaS and DPT put it out',
    )
    parser.add_argument(
        "--threshold", action="append", default=[], metavar="KEY=VALUE", help="a line of data.thresholds, e.g. crowd=8"
    )
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Write the files; prints where they are. Raises UserError for what is wrong with the options or the metadata."""
    subtypes = _subtypes(options.subtypes)
    thresholds = _thresholds(options.threshold)
    if options.per_subtype < 2:
        raise UserError(f"--per-subtype {options.per_subtype}", "leaves no room for two answers", "give 2 or more")
    own = read_metadata(options.metadata, "inverse" if options.inverse_depth else "metric")
    places = len({record.place for record in own.records})
    if options.split == "none":
        sizes = {"test": places}
    else:
        shares = _shares(options.validation_share, options.test_share)
        sizes = split_sizes(places, *shares, f"{options.metadata}: places", MORE_PLACES)
    wish = Wish(subtypes, options.per_subtype, thresholds, options.seed, options.chain_of_thought, objects=own.objects)
    written = [options.out / f"{split}.jsonl" for split in sizes]
    if os.path.realpath(options.metadata) in map(os.path.realpath, (*written, options.out / "card.md")):
        raise UserError(options.metadata, "would be overwritten by the questions", "choose another folder for --out")
    _prepare(options.out, sizes)
    unscored = list(_unscored(own))
    remarks = (*own.remarks, *unscored)
    for remark in remarks:
        print(remark)
    counts = write_dataset(own.records, sizes, wish, options.out, str(options.metadata), remarks)
    for split, count in counts.items():
        print(f"{options.out / f'{split}.jsonl'}: {count} questions")
    print(f"{options.out / 'card.md'}: how even their answers are, and what could not be asked")
    return 0


def _unscored(own: OwnMetadata) -> Iterator[str]:
    """A class that may be the right answer, but that no text can be read as."""
    from urbanvlm.evaluate.parse import parse_answer

    answers = {name for record in own.records for name in (record.closest_object, record.top_entity) if name}
    of_class = SUBTYPES["depth.closest_object"]
    names = sorted(name for name in answers.union(own.objects) if parse_answer(name, of_class).value is None)
    if names:
        yield f"Classes that scores do not know, so that answers which name them cannot be scored: {', '.join(names)}."


def _prepare(folder: Path, sizes: dict[str, int]) -> None:
    """Raises UserError where the folder cannot be made, or holds an older split that would stay beside the new."""
    stale = [folder / f"{split}.jsonl" for split in SPLITS if split not in sizes]
    if left := [path for path in stale if path.exists()]:
        raise UserError(left[0], "is from another split and would stay beside the new file", "choose an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(folder, f"cannot be made ({error.strerror})", "choose another folder") from None


def _subtypes(names: list[str] | None) -> tuple[str, ...]:
    for name in names or ():
        if name not in SUBTYPES:
            raise UserError(f"--subtypes {name}", "unknown subtype", suggest_subtype(name))
    return tuple(dict.fromkeys(names or SUBTYPES))


def _thresholds(settings: list[str]) -> Thresholds:
    given: dict[str, object] = {}
    for setting in settings:
        if not re.fullmatch(r"[^=]*\S[^=]*=.+", setting):
            raise UserError(f"--threshold {setting}", "not of the form KEY=VALUE", "write it as in crowd=8")
        key, value, _ = parse_override(setting)
        if key in given:
            raise UserError(f"--threshold {setting}", "is given twice", "keep one")
        if key not in Thresholds.model_fields:
            raise UserError(f"--threshold {setting}", "unknown key", suggest(key, Thresholds.model_fields))
        given[key] = value
    try:
        return Thresholds.model_validate(given)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        raise UserError(f"--threshold {key}".strip(), message[0].lower() + message[1:]) from None


def _shares(validation: float, test: float) -> tuple[float, float]:
    if not (0 <= validation <= 1 and 0 <= test <= 1 and validation + test < 1):
        raise UserError(
            f"--validation-share {validation} --test-share {test}",
            "must be shares that leave places to train on",
            "make them sum to less than 1",
        )
    return validation, test
