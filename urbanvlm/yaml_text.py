"""YAML in which a value is what it looks like: text that another reader takes for a number or a date stays text."""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from urbanvlm.errors import UserError

_CORE = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_WORD = "!word-that-readers-take-in-two-ways"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values on PyYAML's safe YAML 1.1; a key written twice is an error.

    YAML 1.1 reads 24:00:00 in base 60, 010 in base 8, 1_000 as a thousand, 2024-02-30 as a date and 1e-4 as text. Here
    the first four are text, which a key that wants a number refuses, and the last is a number. `yes`, `no`, `on` and
    `off` are text to one version and Boolean to the other, so neither is assumed.
    """

    # PyYAML's own are those of YAML 1.1.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 — as the base class has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_CORE}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float, bool)):
                if key in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key!r} is given twice", problem_mark=key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)

    def refuse_word(self, node: yaml.ScalarNode) -> NoReturn:
        truth = str(node.value.lower() in ("yes", "on")).lower()
        raise yaml.MarkedYAMLError(
            problem=f"{node.value} is {truth} to some readers of YAML and text to others",
            problem_mark=node.start_mark,
            note=f"write {truth}, or put it in quotes",
        )

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        """Also of what is tagged !!int by hand."""
        text = self.construct_scalar(node)
        try:
            if _HEXADECIMAL.fullmatch(text):
                return int(text, 16)
            if _DECIMAL.fullmatch(text):
                return int(text)
        except ValueError:  # more digits than Python reads
            pass
        problem = f"{text if len(text) < 40 else text[:40] + '…'} is no number that can be read"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _Dumper(yaml.SafeDumper):
    """Puts text into quotes that our loader, or one of YAML 1.1, would read as something else."""


_NUMBER_STARTS = list("-+0123456789.")
_RESOLVERS: tuple[tuple[str, str, list[str]], ...] = (
    (f"{_CORE}null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (f"{_CORE}bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (f"{_CORE}int", f"{_DECIMAL.pattern}|{_HEXADECIMAL.pattern}", _NUMBER_STARTS),
    (
        f"{_CORE}float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        _NUMBER_STARTS,
    ),
    (f"{_CORE}merge", "<<", ["<"]),
    (_WORD, r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF", list("yYnNoO")),
)
for _class in (_Loader, _Dumper):
    for _tag, _pattern, _starts in _RESOLVERS:
        _class.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})\Z"), _starts)
_Loader.add_constructor(_WORD, _Loader.refuse_word)
_Loader.add_constructor(f"{_CORE}int", _Loader.construct_whole_number)


def parse_yaml(text: str, where: object) -> Any:
    """Safe YAML → Python values. Raises UserError naming the line."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 — a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{where}:{line}", error.problem or "not YAML", error.note or "mend the line") from None
    except RecursionError:
        raise UserError(where, "holds more lists or mappings in each other than can be read") from None
    except yaml.YAMLError as error:
        raise UserError(where, f"not YAML ({error})", "put text in quotes") from None
    except (ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise UserError(
            where, f"tags a value as a type that it is not ({error})", "take the !!tag out, or put text in quotes"
        ) from None


def dump_yaml(tree: Any) -> str:
    """Python values → YAML that `parse_yaml` reads back as the same values."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def reads_as_itself(text: str) -> bool:
    """Whether text means itself without quotes."""
    try:
        return bool(parse_yaml(text, "") == text)
    except UserError:
        return False
