"""From an example to what a model reads and what it is to write; the same text in training and in evaluation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urbanvlm.dataset.rationale import contradicts
from urbanvlm.dataset.taxonomy import CONVERSATION, SUBTYPES
from urbanvlm.errors import UserError, missing_file, suggest
from urbanvlm.records import Example
from urbanvlm.yaml_text import parse_yaml

SHIPPED = Path(__file__).with_name("prompts.yaml")
_KEYS = ("chain_of_thought", "default", "subtypes")
_DOCUMENT = "docs/prompts.md shows a whole file"
_PUT_TOGETHER = "a prompt is the question, then this text, and picture and turns are put around it"
_NAMES = "question|prompt|image|picture|options|subtype|object"
PLACEHOLDER = re.compile(
    r"\{+\s*[\w.:!]*\s*\}+"  # {question}, {}, {{ question }}
    r"|%\(\w+\)s|%s\b"
    r"|\$\{?[A-Za-z_]\w*\}?"
    rf"|<\s*(?:{_NAMES})\s*>|\[\s*(?:{_NAMES})\s*\]",
    re.IGNORECASE,
)
"""What other programs would fill in; a model would read it as it stands. `<image>` is LLaVA's token for the picture.

`<answer>` and `[answer]` tell the model what to fill in.
"""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Instructions that follow the question: the form of the answer, by subtype, and how to reason."""

    default: str
    chain_of_thought: str
    subtypes: Mapping[str, str]

    def render(self, example: Example, chain_of_thought: bool) -> str:
        """The question and its instructions, in one line. The family puts it into its own template."""
        # A conversation's turn asks in its own words for whatever it wants.
        form = "" if example.subtype == CONVERSATION else self.subtypes.get(example.scored_subtype, self.default)
        parts = [example.question, form, self.chain_of_thought if chain_of_thought else ""]
        return " ".join(" ".join(parts).split())

    def target(self, example: Example, chain_of_thought: bool) -> str:
        """What training teaches to write: the answer, or the rationale, which ends in `Answer: <answer>`.

        Raises UserError if the row has no rationale, or one that ends in another answer than the row's.
        """
        if not chain_of_thought:
            return example.answer
        if example.cot_answer is None:
            raise UserError(
                f"example {example.id}", "has no cot_answer", "set data.chain_of_thought=false or add the rationale"
            )
        if contradicts(example.cot_answer, example.answer):
            raise UserError(
                f"example {example.id}",
                f"cot_answer does not end in 'Answer: {example.answer}'",
                "mend the rationale or remove the row",
            )
        return example.cot_answer


def prompt_hash(text: str) -> str:
    """First 16 hexadecimal digits of the sha256, stored with every answer."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_prompts(path: Path | None) -> Prompts:
    """The prompts of a YAML file, or the shipped ones. Raises UserError naming every key that is wrong."""
    file = path or SHIPPED
    try:
        tree = parse_yaml(file.read_text(encoding="utf-8"), file)
    except FileNotFoundError:
        raise UserError(file, missing_file(file), "evaluate.prompts takes a YAML of prompts") from None
    except UnicodeDecodeError:
        raise UserError(file, "not UTF-8", "save the file as UTF-8") from None
    except OSError as error:
        raise UserError(file, f"cannot be read ({error.strerror})", "evaluate.prompts takes a YAML file") from None
    if not isinstance(tree, dict):
        raise UserError(file, "is not a mapping of keys", f"known: {', '.join(_KEYS)}; {_DOCUMENT}")
    if faults := list(_faults(tree)):
        raise UserError(file, "; ".join(faults), _DOCUMENT)
    subtypes = tree.get("subtypes") or {}
    return Prompts(
        tree["default"].strip(),
        tree["chain_of_thought"].strip(),
        {name: text.strip() for name, text in subtypes.items()},
    )


def _faults(tree: Mapping[Any, Any]) -> Iterator[str]:
    """All that is wrong with the keys of a prompts file, each in words."""
    yield from (f"{key}: unknown key; {suggest(key, _KEYS)}" for key in tree if key not in _KEYS)
    texts = {key: tree.get(key) for key in ("default", "chain_of_thought")}
    subtypes = tree.get("subtypes")
    if isinstance(subtypes, dict):
        yield from (f"subtypes.{key}: unknown key; {suggest(key, SUBTYPES)}" for key in subtypes if key not in SUBTYPES)
        texts |= {f"subtypes.{key}": value for key, value in subtypes.items() if key in SUBTYPES}
    elif subtypes is not None:
        yield "subtypes: is not a mapping of subtypes to texts"
    held = []
    for key, value in texts.items():
        if not isinstance(value, str):
            yield f"{key}: {'is missing' if value is None else 'must be text'}, add it in quotes"
        elif found := PLACEHOLDER.search(value):
            held.append(f"{key}: holds {found[0]}")
    if held:
        yield f"{', '.join(held)}, but nothing is filled in: {_PUT_TOGETHER}, so leave it out"
