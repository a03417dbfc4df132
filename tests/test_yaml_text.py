"""YAML is read as it looks: what YAML 1.1 turns into another number, date or truth stays text or is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slurm.cluster import parse_cluster
from urbanvlm.errors import UserError
from urbanvlm.experiment import check_experiment
from urbanvlm.times import read_minutes
from urbanvlm.yaml_text import dump_yaml, parse_yaml


@pytest.mark.parametrize("text", ["24:00:00", "1:30.5", "010", "-07", "0o17", "0b101", "1_000", "1_0.5", "2024-02-28"])
def test_a_number_or_date_of_yaml_1_1_alone_is_text(text: str) -> None:
    assert parse_yaml(f"key: {text}", "x") == {"key": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("-3", -3),
        ("0", 0),
        ("0x1F", 31),
        ("1e-4", 1e-4),
        ("5E3", 5000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("010.5", 10.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'10'", "10"),
        ("'yes'", "yes"),
        ("y", "y"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
    ],
)
def test_what_all_readers_agree_on_is_read_so(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}", "x")["key"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off"])
@pytest.mark.parametrize("line", ["key: {}", "{}: key", "key: [{}]"])
def test_a_word_that_is_a_truth_to_some_is_refused(word: str, line: str) -> None:
    with pytest.raises(UserError, match=rf"x:2: {word} is (true|false) to some .* in quotes"):
        parse_yaml("a: 1\n" + line.format(word), "x")


def test_a_key_given_twice_is_refused_and_a_merged_one_may_be_given_again() -> None:
    with pytest.raises(UserError, match=r"x:2: key 'a' is given twice"):
        parse_yaml("a: 1\na: 2", "x")
    assert parse_yaml("a: &a {b: 1, c: 2}\nd: {<<: *a, b: 3}", "x")["d"] == {"b": 3, "c": 2}


@pytest.mark.parametrize("text", ["a: !!int 010", "a: !!float x", "a: " + "9" * 5000, "[" * 20_000])
def test_what_cannot_be_a_value_is_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "x")
    assert str(caught.value).startswith("x:") and len(str(caught.value)) < 200


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))) | st.integers() | st.floats() | st.booleans()
)
def test_what_is_written_is_read_again(value: object) -> None:
    found = parse_yaml(dump_yaml({"key": value}), "x")["key"]
    assert type(found) is type(value)
    assert found == value or (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("text", ["010", "yes", "1e5", "24:00:00", "1_000", "2024-02-28", "0x1F", "null"])
def test_text_is_written_so_that_any_reader_takes_it_for_text(text: str) -> None:
    assert yaml.safe_load(dump_yaml([text])) == [text]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("30:00", 30),
        ("00:30", 1),
        ("24:00:00", 1440),
        ("1-00:00:00", 1440),
        ("7-01:02:03", 10143),
        ("1-12", 2160),
        ("1-12:30", 2190),
        (" 0:90:00 ", 90),
        ("UNLIMITED", None),
        ("INFINITE", None),
    ],
)
def test_times_are_read_as_slurm_writes_them(text: str, minutes: int | None) -> None:
    assert read_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "24h", "1:2:3:4", "-5", "1-", "1.5", "1-2-3", "٣", "1 :00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        read_minutes(text)


@pytest.mark.parametrize("written", ["24:00:00", "'24:00:00'", "1-00:00:00", "1-0", "1440"])
def test_a_time_limit_is_what_slurm_would_take_it_for(written: str) -> None:
    tree = {
        "name": "x",
        "mode": "zero-shot",
        "data": {"scenes": {"places": 8}},
        "models": [{"family": "blip2"}],
        "resources": parse_yaml(f"timeout_minutes: {written}", "x"),
    }
    experiment = check_experiment(tree, "x")
    assert experiment.resources.timeout_minutes == 1440
    assert check_experiment(parse_yaml(experiment.to_yaml(), "x"), "x") == experiment
    profile = parse_cluster(f"executor: slurm\nmax_timeout_minutes: {written}", Path("site.yaml"))
    assert profile.max_timeout_minutes == 1440


@pytest.mark.parametrize("text", ["!!bool 5", "!!timestamp x", "!!float x", "!!float ''", "!!set x"])
def test_a_value_that_is_not_of_its_tag_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"^x\.yaml: tags a value as a type that it is not \(") as error:
        parse_yaml(f"name: {text}", "x.yaml")
    assert "\n" not in str(error.value)
