"""One's own metadata: what it says is asked, what it leaves out is not, and what is wrong with it is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dataset_support import many_metadata

from urbanvlm.cli import main
from urbanvlm.dataset.metadata import read_metadata
from urbanvlm.dataset.read import read_examples
from urbanvlm.dataset.rules import RULES, drafts
from urbanvlm.dataset.taxonomy import SUBTYPES
from urbanvlm.errors import UserError

Row = dict[str, Any]
STREET: Row = {
    "image_id": "image_5_heading90.jpg",
    "objects": {"car": 2, "person": 0, "fire hydrant": 1},
    "view_factors": {"greenery": 0.1, "sky": 0.3, "building": 0.6},
    "depth_stats": {"range": 31.5, "closest_object": "car"},
    "depth_per_class": {"car": 8.5, "car_foreground": True, "car_background": False},
    "depth_order": {"car": 8.5, "fire hydrant": 12.0},
    "spatial_distribution": {"car": "left side"},
    "vertical_layout": {"top_entity": "sky", "top_sky": True, "skyline_clear": False},
    "occlusion_pairs": {"car|fire hydrant": True},
    "raw_objects": [{"label": "car", "bbox": [1, 2, 3, 4], "score": 0.9}],
}


def write(tmp_path: Path, *rows: Row, name: str = "mine.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked(path: Path, **options: Any) -> dict[str, set[str]]:
    own = read_metadata(path, **options)
    found: dict[str, set[str]] = {}
    for record in own.records:
        for draft in drafts(record, SUBTYPES, 0, objects=own.objects):
            found.setdefault(draft.subtype, set()).add(draft.answer)
    return found


def test_lines_and_an_array_say_the_same(tmp_path: Path) -> None:
    rows = [record.to_json() for record in many_metadata(3)]
    lines, array = (read_metadata(write(tmp_path, *rows, name=name)) for name in ("a.jsonl", "a.json"))
    assert lines == array
    assert [record.to_json() | {"raw_objects": []} for record in lines.records] == rows
    assert lines.records[0].missing == frozenset()


def test_the_extension_of_an_image_may_be_missing_and_the_place_is_read_from_it(tmp_path: Path) -> None:
    own = read_metadata(
        write(tmp_path, STREET | {"image_id": "image_5_heading0"}, STREET, STREET | {"image_id": "b.x"})
    )
    assert [(record.image_id, record.place) for record in own.records] == [
        ("image_5_heading0", "image_5"), ("image_5_heading90.jpg", "image_5"), ("b.x", "b.x"),
    ]  # fmt: skip


def test_classes_of_ones_own_are_asked_about(tmp_path: Path) -> None:
    own = read_metadata(write(tmp_path, STREET))
    assert own.objects == ("car", "fire hydrant", "person")
    questions = [
        draft.question for draft in drafts(own.records[0], ("count", "depth.closest_object"), 0, objects=own.objects)
    ]
    assert any("fire hydrants" in question for question in questions)


def test_a_class_that_the_file_never_names_is_never_absent(tmp_path: Path) -> None:
    """A detector that knows no tree must not make every street treeless; who lists people with 0 knows people."""
    own = read_metadata(write(tmp_path, STREET))
    things = {
        draft.about["object"]: draft.answer
        for draft in drafts(own.records[0], ("negation.absence",), 0, objects=own.objects)
    }
    assert things == {"car": "No", "fire hydrant": "No", "person": "Yes"}
    assert "tree" in next(remark for remark in own.remarks if "unknown" in remark)


FIELD_OF_SUBTYPES = {
    "objects": {
        *("presence.binary", "count", "object.cooccurrence", "negation.absence", "negation.exclusion_choice"),
        *("multi_hop.count_compare", "multi_hop.which_is_more", "counterfactual.count_perturbation"),
        "counterfactual.occlusion_movement",
    },
    "view_factors": {
        name for name in SUBTYPES if name.startswith("viewfactor.") or "conjunction" in name
    } | {"counterfactual.absence_viewfactor", "counterfactual.attribute_substitution"},
    "depth_stats.range": {"depth.range", "depth.variation", "depth.range.label"},
    "depth_stats.closest_object": {"depth.closest_object"},
    "depth_per_class": {"depth.average_per_object", "depth.foreground_presence", "depth.background_presence"},
    "depth_order": {"spatial.relation", "negation.spatial_refute"},
    "spatial_distribution": {"spatial.distribution", "spatial.distribution.label"},
    "vertical_layout.top_entity": {"segmentation.vertical_layout.entity"},
    "vertical_layout.top_sky": {"segmentation.vertical_layout"},
    "vertical_layout.skyline_clear": {"scene.skyline_visibility"},
    "occlusion_pairs": {"occlusion.binary"},
}  # fmt: skip


def full(tmp_path: Path) -> list[Row]:
    return [record.to_json() for record in many_metadata(6)]


def without(row: Row, field: str, null: bool) -> Row:
    row = json.loads(json.dumps(row))
    *parents, leaf = field.split(".")
    node = row
    for key in parents:
        node = node[key]
    if null:
        node[leaf] = None
    else:
        del node[leaf]
    return row


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("field", FIELD_OF_SUBTYPES)
def test_what_needs_a_field_that_is_left_out_is_not_asked(tmp_path: Path, field: str, null: bool) -> None:
    rows = full(tmp_path)
    assert asked(write(tmp_path, *rows)).keys() == RULES.keys()
    left = asked(write(tmp_path, *[without(row, field, null) for row in rows]))
    assert left.keys() == RULES.keys() - FIELD_OF_SUBTYPES[field]


def test_no_field_is_forgotten() -> None:
    assert set.union(*FIELD_OF_SUBTYPES.values()) == set(SUBTYPES)


@pytest.mark.parametrize("said_by", ["record", "option"])
def test_inverse_depth_is_turned_round_once(tmp_path: Path, said_by: str) -> None:
    """MiDaS and DPT: the largest output is nearest. Its units are no metres."""
    row = STREET | {
        "depth_order": {"car": 900.0, "person": 30.5, "tree": 0},
        "depth_per_class": {"car": 900.0, "tree": 0},
        "depth_stats": {"range": 800.0, "closest_object": "tree"},
    }
    path = write(tmp_path, row | {"depth": "inverse"} if said_by == "record" else row)
    own = read_metadata(path, "metric" if said_by == "record" else "inverse")
    (record,) = own.records
    order = record.depth_order
    assert order["car"] < order["person"] < order["tree"]
    assert record.closest_object == "car"
    found = {tuple(d.about.values()): d.answer for d in drafts(record, ("spatial.relation",), 0, objects=own.objects)}
    assert found["car", "person"] == found["person", "tree"] == "Yes" and found["tree", "car"] == "No"
    unitless = {"depth.range", "depth.variation", "depth.range.label", "depth.average_per_object"}
    assert not unitless & asked(path, depth="metric" if said_by == "record" else "inverse").keys()
    assert any("inverse in 1 records" in remark and "in 1 of them" in remark for remark in own.remarks)


def test_a_record_that_says_metric_is_left_alone_by_the_option(tmp_path: Path) -> None:
    own = read_metadata(write(tmp_path, STREET | {"depth": "metric"}), "inverse")
    assert own.records == read_metadata(write(tmp_path, STREET)).records


NAN = float("nan")
WRONG: list[tuple[str, Any, str]] = [
    ("image_id", None, "image_id: must be text that is not blank (got nothing)"),
    ("image_id", " ", "image_id: must be text"),
    ("image_id", "../secret.jpg", "image_id: '../secret.jpg' is not a path inside"),
    ("place", 3, "place: must be text"),
    ("depth", "disparity", "depth: 'disparity' is no convention of depth; it is metric or inverse"),
    ("objects", ["car"], "objects: must be an object of keys"),
    ("objects", {"car": -1}, "objects.car: must be a whole number from 0 on (got -1)"),
    ("objects", {"car": 1.5}, "objects.car: must be a whole number"),
    ("objects", {"car": True}, "objects.car: must be a whole number"),
    ("objects", {"car": NAN}, "objects.car: must be a whole number from 0 on (got nan)"),
    ("objects", {" ": 1}, "objects. : must be text"),
    ("view_factors", {"sky": 1.2}, "view_factors.sky: must be a share from 0 to 1 (got 1.2)"),
    ("view_factors", {"sky": -0.1}, "view_factors.sky: must be a share"),
    ("view_factors", {"sky": NAN}, "view_factors.sky: must be a share from 0 to 1 (got nan)"),
    ("view_factors", {"sky": "0.5"}, "view_factors.sky: must be a share from 0 to 1 (got '0.5')"),
    ("view_factors", {"sky": None}, "view_factors.sky: must be a share"),
    ("depth_stats", {"range": float("inf")}, "depth_stats.range: must be a number from 0 on (got inf)"),
    ("depth_stats", {"range": "far"}, "depth_stats.range: must be a number"),
    ("depth_stats", {"closest_object": 4}, "depth_stats.closest_object: must be text"),
    ("depth_per_class", {"car": -2.0}, "depth_per_class.car: must be a number"),
    ("depth_per_class", {"car_foreground": 1}, "depth_per_class.car_foreground: must be true or false"),
    ("depth_order", {"car": NAN}, "depth_order.car: must be a number"),
    ("spatial_distribution", {"car": "left"}, "spatial_distribution.car: must be left side, right side or even"),
    ("spatial_distribution", {"car": ["left side"]}, "spatial_distribution.car: must be left side"),
    ("vertical_layout", {"top_sky": "yes"}, "vertical_layout.top_sky: must be true or false"),
    ("vertical_layout", "sky", "vertical_layout: must be an object"),
    ("occlusion_pairs", {"car|bus": 0}, "occlusion_pairs.car|bus: must be true or false"),
    ("occlusion_pairs", {"car": True}, "occlusion_pairs.car: is not of the form a|b"),
    ("raw_objects", [{"box": [0, 1]}, {"score": NAN}], "raw_objects.1.score: is no number (got nan)"),
    ("a note of theirs", {"weight": float("inf")}, "a note of theirs.weight: is no number (got inf)"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value", "words"), WRONG)
def test_what_is_wrong_is_named_with_its_line_and_key(tmp_path: Path, field: str, value: Any, words: str) -> None:
    for name, where in (("mine.jsonl", "mine.jsonl:2"), ("mine.json", "mine.json: item 1")):
        path = write(tmp_path, STREET | {"image_id": "first"}, STREET | {field: value}, name=name)
        with pytest.raises(UserError) as error:
            read_metadata(path)
        assert f"{path.parent}/{where}: {words}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "a.jsonl", "has no records"),
        ("[]", "a.json", "has no records"),
        ("{\n", "a.jsonl", "a.jsonl:1: not JSON"),
        ("[3]", "a.json", "a.json: item 0: not a JSON object"),
        ("[{},\n{]", "a.json", "a.json:2: not JSON"),
        ("[1]\n", "a.jsonl", "a.jsonl:1: not a JSON object"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, name: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        read_metadata(tmp_path / name)
    assert words in str(error.value)


@pytest.mark.parametrize("second", ["image_5_heading90.jpg", "image_5_heading90", "image_5_heading90.PNG"])
def test_one_image_is_described_once(tmp_path: Path, second: str) -> None:
    with pytest.raises(UserError, match=r"mine.jsonl:2: image_id: .* is described in .*mine.jsonl:1 already"):
        read_metadata(write(tmp_path, STREET, STREET | {"image_id": second}))


# ---- the command ----------------------------------------------------------------------------------------------------


def command(*arguments: object) -> int:
    return main(["questions", *map(str, arguments)])


def test_the_command_writes_splits_by_place_and_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, *[record.to_json() for record in many_metadata(20)])
    out = tmp_path / "new" / "questions"
    assert command(path, "--out", out, "--per-subtype", 20, "--seed", 4, "--chain-of-thought") == 0
    assert sorted(p.name for p in out.iterdir()) == ["card.md", "test.jsonl", "train.jsonl", "val.jsonl"]
    splits = {split: read_examples(out / f"{split}.jsonl") for split in ("train", "val", "test")}
    places = [{e.place for e in examples} for examples in splits.values()]
    assert [len(p) for p in places] == [14, 2, 4] and len(set.union(*places)) == 20
    assert {e.subtype for e in splits["train"]} == set(SUBTYPES)
    assert all(e.cot_answer and e.cot_answer.endswith(f"Answer: {e.answer}") for e in splits["train"])
    assert f"{out / 'train.jsonl'}: {len(splits['train'])} questions" in capsys.readouterr().out
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    assert command(path, "--out", out, "--per-subtype", 20, "--seed", 4, "--chain-of-thought") == 0
    assert before == {p.name: p.read_bytes() for p in out.iterdir()}


def test_without_a_split_all_is_asked_of_a_single_place(tmp_path: Path) -> None:
    rows = [record.to_json() | {"place": "here"} for record in many_metadata(5)]
    assert command(write(tmp_path, *rows), "--out", tmp_path / "q", "--split", "none", "--subtypes", "count") == 0
    assert sorted(p.name for p in (tmp_path / "q").iterdir()) == ["card.md", "test.jsonl"]
    assert {e.subtype for e in read_examples(tmp_path / "q" / "test.jsonl")} == {"count"}


def test_the_card_says_what_the_metadata_does_not_tell(tmp_path: Path) -> None:
    rows = [without(record.to_json(), "depth_stats.range", False) for record in many_metadata(20)]
    rows[3].pop("objects")
    assert command(write(tmp_path, *rows), "--out", tmp_path / "q") == 0
    card = (tmp_path / "q" / "card.md").read_text()
    assert "- depth.variation: not asked, because depth_stats.range is missing in every record" in card
    assert "- count: not asked about 1 of 80 images, because objects is missing there" in card


def test_a_class_that_no_answer_can_name_is_said_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [record.to_json() for record in many_metadata(20)]
    rows[0]["depth_stats"]["closest_object"] = "glorb"
    assert command(write(tmp_path, *rows), "--out", tmp_path / "q") == 0
    assert "cannot be scored: glorb." in capsys.readouterr().out
    assert "cannot be scored: glorb." in (tmp_path / "q" / "card.md").read_text()


def test_thresholds_can_be_moved(tmp_path: Path) -> None:
    rows = [record.to_json() for record in many_metadata(20)]
    arguments = (write(tmp_path, *rows), "--out", tmp_path / "q", "--subtypes", "depth.range", "--threshold")
    assert command(*arguments, "moderate_depth_m=10") == 0
    ranges = {row["image_id"]: row["depth_stats"]["range"] for row in rows}
    for e in read_examples(tmp_path / "q" / "train.jsonl"):
        assert (e.answer == "Complex") == (ranges[e.image_id] > 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--subtypes", "cuont"], "--subtypes cuont: unknown subtype; did you mean count?"),
        (["--threshold", "crowdd=3"], "unknown key; did you mean crowd?"),
        (["--threshold", "crowd=many"], "--threshold crowd: "),
        (["--threshold", "crowd"], "--threshold crowd: not of the form KEY=VALUE"),
        (["--threshold", "crowd=3", "--threshold", "crowd=4"], "--threshold crowd=4: is given twice"),
        (["--threshold", "moderate_depth_m=50"], "moderate_depth_m must be less than high_depth_m"),
        (["--per-subtype", "1"], "--per-subtype 1: "),
        (["--test-share", "0.95"], "must be shares that leave places to train on"),
        (["--test-share", "0.01"], "leaves the test split 0 places, and a split needs 2; add places, change --valid"),
        (["--subtypes", "depth.range"], "gives the train split no question"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    rows = [without(record.to_json(), "depth_stats", False) for record in many_metadata(20)]
    assert command(write(tmp_path, *rows), "--out", tmp_path / "q", *arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list((tmp_path / "q").glob("*"))


def test_a_split_of_earlier_questions_does_not_stay_beside_the_new(tmp_path: Path) -> None:
    path = write(tmp_path, *[record.to_json() for record in many_metadata(20)])
    assert command(path, "--out", tmp_path / "q") == 0
    assert command(path, "--out", tmp_path / "q", "--split", "none") == 2


def test_keys_that_no_question_uses_are_said_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [record.to_json() | {"objcts": {"car": 1}} for record in many_metadata(20)]
    rows[2]["depth_stats"]["rnge"] = 3
    assert command(write(tmp_path, *rows), "--out", tmp_path / "q") == 0
    assert "Keys that no question uses: depth_stats.rnge, objcts." in capsys.readouterr().out


@pytest.mark.parametrize("name", ["test.jsonl", "card.md"])
def test_the_metadata_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = write(tmp_path, *[record.to_json() for record in many_metadata(20)], name=name)
    before = path.read_bytes()
    assert command(path, "--out", tmp_path) == 2
    assert "would be overwritten" in capsys.readouterr().err and path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_from_the_shell(tmp_path: Path) -> None:
    path = write(tmp_path, STREET | {"objects": {"car": -1}})
    process = subprocess.run(
        [sys.executable, "-m", "urbanvlm", "questions", path, "--out", tmp_path / "q"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ},
    )
    assert process.returncode == 2 and "objects.car" in process.stderr and "Traceback" not in process.stderr
