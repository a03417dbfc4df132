"""The audit: every kind of fault is found where it is, alone, and a file without one is left in peace."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from urbanvlm.dataset.audit import Audit, Use, audit, audit_file
from urbanvlm.dataset.findings import CODES
from urbanvlm.dataset.rationale import contradicts, quotes_threshold
from urbanvlm.dataset.read import fault_of
from urbanvlm.dataset.scan import Scan, scan
from urbanvlm.errors import UserError

Row = dict[str, Any]


def row(number: int, answer: str, subtype: str = "presence.binary", **more: Any) -> Row:
    """A question of its own about a place of its own."""
    return {
        "image_id": f"image_{number:03d}_heading90.jpg",
        "question": f"Question {number}?",
        "answer": answer,
        "qtype": "perceptual",
        "subtype": subtype,
        **more,
    }


CLEAN = [row(number, ("Yes", "No")[number % 2]) for number in range(12)]


def write(path: Path, rows: Sequence[Row | str]) -> Path:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    return path


def look(folder: Path, rows: Sequence[Row | str], **more: Any) -> Audit:
    return audit(scan(write(folder / "rows.jsonl", rows)), **more)


def changed(**keys: Any) -> Row:
    """A thirteenth row; a key that is None is left out."""
    return {key: value for key, value in (row(12, "No") | keys).items() if value is not None}


def test_a_clean_file_has_no_finding(tmp_path: Path) -> None:
    found = look(tmp_path, CLEAN)
    assert found.findings == ()
    assert (found.rows, found.images, found.places, found.majority_share) == (12, 12, 12, 0.5)


SURROGATE = "\udcff"  # the byte 0xff, which is no UTF-8
FAULTS: Mapping[str, tuple[str, Row | str]] = {
    "torn line": ("malformed-line", '{"image_id": "a.jpg"'),
    "two objects in a line": ("malformed-line", json.dumps(CLEAN[1]) + json.dumps(CLEAN[2])),
    "a comma after it": ("malformed-line", json.dumps(CLEAN[1]) + ","),
    "a list": ("malformed-line", "[1]"),
    "a text": ("malformed-line", '"image_id"'),
    "null": ("malformed-line", "null"),
    "not UTF-8": ("malformed-line", json.dumps(CLEAN[1]).replace("Question", SURROGATE)),
    "deep brackets": ("malformed-line", "[" * 100_000),
    "no question": ("malformed-row", changed(question=None)),
    "blank answer": ("malformed-row", changed(answer=" \t")),
    "a list for an answer": ("malformed-row", changed(answer=["Yes"])),
    "an object for a subtype": ("malformed-row", changed(subtype={})),
    "true for a question": ("malformed-row", changed(question=True)),
    "a number for an id": ("malformed-row", changed(id=3)),
    "half a character": ("malformed-row", changed(question="a\ud83d")),
    "NaN": ("nan", json.dumps(changed(score=float("nan")))),
    "minus infinity": ("nan", json.dumps(changed(score=float("-inf")))),
    "nan as an answer": ("nan", changed(subtype="viewfactor.scalar", answer="nan")),
    "out of the folder": ("image-outside", changed(image_id="../a.jpg")),
    "absolute": ("image-outside", changed(image_id="/a.jpg")),
    "misspelt subtype": ("unknown-subtype", changed(subtype="presence.binari")),
    "misspelt paraphrase": ("unknown-subtype", changed(subtype="paraphrase.from_cuont")),
    "share above 1": ("number-out-of-range", changed(subtype="viewfactor.scalar", answer="1.7")),
    "percent above 100": ("number-out-of-range", changed(subtype="viewfactor.scalar", answer="120%")),
    "negative count": ("number-out-of-range", changed(subtype="count", answer="-2")),
    "negative distance": ("number-out-of-range", changed(subtype="depth.average_per_object", answer="-0.5")),
    "yes to where": ("answer-outside-set", changed(subtype="spatial.distribution.label", answer="Yes")),
    "a word for a number": ("answer-outside-set", changed(subtype="count", answer="building")),
    "a third thing": ("answer-outside-set", changed(subtype="multi_hop.which_is_more", answer="bus")),
    "no subtype": ("unscored", changed(subtype="conversation")),
    "complex": ("other-words", changed(subtype="depth.range", answer="Very complex")),
    "another answer": ("contradicting-rationale", changed(cot_answer="No car in sight. Answer: Yes")),
    "no answer": ("contradicting-rationale", changed(cot_answer="No car in sight.")),
    "a picture in the question": ("image-token", changed(question="<image>\nIs there a car?")),
    "a picture in the answer": ("image-token", changed(answer="<image> No")),
    "a picture in the rationale": ("image-token", changed(cot_answer="I see <image>. Answer: No")),
    "a threshold": ("quoted-threshold", changed(cot_answer="Its share is above 0.5. Answer: No")),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("position", [0, 5, 11])
def test_a_fault_is_found_alone_and_where_it_is(tmp_path: Path, name: str, position: int) -> None:
    code, bad = FAULTS[name]
    rows: list[Row | str] = [*CLEAN]
    rows[position] = bad
    # The row it replaces leaves the others uneven by one, which is even enough.
    found = look(tmp_path, rows)
    assert [(one.code, one.severity, one.count) for one in found.findings] == [(code, CODES[code].severity, 1)]
    assert found.findings[0].where == str(tmp_path / "rows.jsonl")
    assert found.findings[0].examples[0].startswith(f"{tmp_path / 'rows.jsonl'}:{position + 1}: ")
    assert found.rows == 12


def test_all_faults_are_counted_and_the_first_named(tmp_path: Path) -> None:
    bad = [line for _, line in FAULTS.values()]
    rows = [line for pair in zip(bad, [row(100 + n, "Yes") for n in range(len(bad))], strict=True) for line in pair]
    counts = {code: 0 for code, _ in FAULTS.values()}
    for code, _ in FAULTS.values():
        counts[code] += 1
    found = {one.code: one for one in look(tmp_path, rows).findings if one.code in counts}
    assert {code: one.count for code, one in found.items()} == counts
    assert len(found["malformed-line"].examples) == 5
    assert f"{tmp_path / 'rows.jsonl'}:1: not JSON" in found["malformed-line"].examples[0]


@pytest.mark.parametrize(
    "halves",
    [('{"image_id": [{}', "{}]}"), ('{"image_id": "a"', '"answer": "b"}'), ("[{}", "{}]"), ('"image_id', 'answer"')],
)
def test_lines_that_are_json_only_together(tmp_path: Path, halves: tuple[str, str]) -> None:
    (one,) = look(tmp_path, [*CLEAN[:6], *halves, *CLEAN[6:], '{"a": 1}, {"a": 2}']).findings
    assert (one.code, one.count) == ("malformed-line", 3)
    assert [example.split(": ")[0].rpartition(":")[2] for example in one.examples] == ["7", "8", "15"]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    lines = [*map(json.dumps, CLEAN[:3]), "", "  ", "{", *map(json.dumps, CLEAN[3:])]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    (one,) = audit_file(path).findings
    assert one.examples[0].startswith(f"{path}:6: ")


def test_an_array_has_items(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([*CLEAN[:4], changed(answer=None), *CLEAN[5:], changed(id="x", extra=float("nan"))]))
    found = {one.code: one for one in audit_file(path).findings}
    assert found["malformed-row"].examples == (f"{path}: item 4: answer is missing; mend the row",)
    assert found["nan"].examples[0].startswith(f"{path}: item 12: holds NaN")
    assert len(found) == 2


# ---- duplicates


def test_two_rows_of_one_id(tmp_path: Path) -> None:
    rows = [*CLEAN[:6], *(line | {"id": f"id{n}"} for n, line in enumerate(CLEAN[6:]))]
    rows[10]["id"] = "id1"
    (one,) = look(tmp_path, rows).findings
    path = tmp_path / "rows.jsonl"
    assert (one.code, one.count) == ("duplicate-id", 1)
    assert one.examples == (f"{path}:11: its id is given in {path}:8 already",)


def test_a_question_asked_twice(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    (one,) = look(tmp_path, [*CLEAN, CLEAN[3], CLEAN[4], CLEAN[3] | {"answer": "no"}]).findings
    assert (one.code, one.severity, one.count) == ("duplicate-question", "warning", 3)
    assert one.examples[0] == f"{path}:13: asks what {path}:4 asks"
    assert one.examples[2] == f"{path}:15: asks what {path}:4 asks"


def test_a_question_with_two_answers(tmp_path: Path) -> None:
    (one,) = look(tmp_path, [*CLEAN, CLEAN[3] | {"answer": "Yes"}]).findings
    assert (one.code, one.severity, one.count) == ("contradicting-answers", "error", 1)


# ---- labels


def test_a_subtype_of_one_answer(tmp_path: Path) -> None:
    rows = [row(20 + n, answer, "negation.exclusion_choice") for n, answer in enumerate(("tree", "Tree", "trees"))]
    (one,) = look(tmp_path, [*CLEAN, *rows]).findings
    assert (one.code, one.count) == ("single-label", 3)
    assert one.message == "negation.exclusion_choice: all 3 answers are tree"
    assert look(tmp_path, [*CLEAN, *rows[:2]]).findings == ()


def test_a_paraphrase_counts_for_what_it_rephrases(tmp_path: Path) -> None:
    names = ("depth.variation", "paraphrase.from_depth.variation", "paraphrase.from_depth.variation")
    (one,) = look(tmp_path, [*CLEAN, *(row(20 + n, "Yes", name) for n, name in enumerate(names))]).findings
    assert (one.code, one.count) == ("single-label", 3)


def test_a_subtype_of_nearly_one_answer(tmp_path: Path) -> None:
    rows = [row(20 + n, "No" if n else "Yes", "scene.skyline_visibility") for n in range(20)]
    (one,) = look(tmp_path, [*CLEAN, *rows]).findings
    assert (one.code, one.count) == ("low-entropy", 20)
    assert "95 % of 20 answers are no" in one.message


def test_what_a_guesser_scores(tmp_path: Path) -> None:
    """Two subtypes, each of two answers, one mostly yes: always yes there and never here scores 6/7."""
    rows = [row(20 + n, "Yes" if n < 9 else "No", "occlusion.binary") for n in range(12)]
    found = look(tmp_path, [*CLEAN, *rows])
    (one,) = found.findings
    assert one.code == "high-blind-baseline" and "occlusion.binary" in one.message
    blind = {guess.metric: guess for guess in found.blind}
    assert blind["occlusion.binary"].score == pytest.approx(2 * 9 / (2 * 9 + 3))
    assert blind["occlusion.binary"].majority_share == 0.75
    assert blind["object.presence"].score == pytest.approx(2 / 3)
    assert found.majority_share == pytest.approx((6 + 9) / 24)


def test_the_guesser_learns_from_the_training_split(tmp_path: Path) -> None:
    train = scan(write(tmp_path / "train.jsonl", [row(900 + n, "No") for n in range(5)]))
    blind = {guess.metric: guess.score for guess in look(tmp_path, CLEAN, train=train).blind}
    assert blind == {"object.presence": 0.0}


def test_numbers_have_no_entropy(tmp_path: Path) -> None:
    rows = [row(20 + n, answer, "count") for n, answer in enumerate("3 3 3 3 3 3 3 3 3 3 3 4".split())]
    found = look(tmp_path, rows)
    assert found.findings == ()
    assert found.labels[0].entropy is None and dict(found.labels[0].labels) == {"3": 11, "4": 1}
    assert found.blind[0].is_error and found.blind[0].score == pytest.approx(1 / 12)


# ---- places, pictures, uses


def test_places_of_both_splits(tmp_path: Path) -> None:
    other_heading = [line | {"image_id": line["image_id"].replace("90", "0")} for line in CLEAN[2:4]]
    named = row(70, "Yes", place="image_005")
    train = scan(write(tmp_path / "train.jsonl", [row(60, "Yes"), *other_heading, named]))
    (one,) = look(tmp_path, CLEAN, train=train).findings
    assert (one.code, one.severity, one.count) == ("shared-places", "error", 3)
    rows = tmp_path / "rows.jsonl"
    assert one.examples[0] == f"{rows}:3: place 'image_002' is also in {tmp_path / 'train.jsonl'}:2"
    assert look(tmp_path, CLEAN[6:], train=train).findings == ()


def test_a_place_is_named_where_it_is_first_met(tmp_path: Path) -> None:
    rows = [row(1, "Yes", place="b"), row(2, "No"), row(3, "Yes", place="b"), row(4, "No", place="image_002")]
    assert scan(write(tmp_path / "rows.jsonl", rows)).places == {"b": 1, "image_002": 2}


def test_pictures(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for line in CLEAN:
        Image.new("RGB", (8, 8)).save(images / line["image_id"])
    assert look(tmp_path, CLEAN, images=images).findings == ()
    (images / CLEAN[3]["image_id"]).unlink()
    (images / CLEAN[5]["image_id"]).write_bytes(b"no picture")
    found = look(tmp_path, [*CLEAN, CLEAN[3] | {"question": "Again?"}], images=images)
    assert [(one.code, one.count) for one in found.findings] == [("missing-image", 1), ("broken-image", 1)]
    assert found.findings[0].examples[0].startswith(f"{tmp_path / 'rows.jsonl'}:4: ")
    assert "of 2 rows" in found.findings[0].message
    found = look(tmp_path, CLEAN, images=images, decode=False)
    assert [one.code for one in found.findings] == ["missing-image"]


def test_rationales_matter_where_they_are_learnt(tmp_path: Path) -> None:
    rows = [line | {"cot_answer": f"So it is. Answer: {line['answer']}"} for line in CLEAN]
    assert look(tmp_path, rows, use=Use(rationales=True)).findings == ()
    rows[4]["cot_answer"] = "So it is. Answer: perhaps"
    del rows[6]["cot_answer"]
    learnt = look(tmp_path, rows, use=Use(rationales=True)).findings
    assert {(one.code, one.severity) for one in learnt} == {
        ("missing-rationale", "error"),
        ("contradicting-rationale", "error"),
    }
    (one,) = look(tmp_path, rows, use=Use(rationales=False)).findings
    assert (one.code, one.severity) == ("contradicting-rationale", "warning")


def test_a_file_that_asks_nothing(tmp_path: Path) -> None:
    rows = [row(n, "Yes", "spatial.distribution.label") for n in range(4)]
    codes = [one.code for one in look(tmp_path, rows, use=Use(asked=True)).findings]
    assert codes == ["nothing-to-ask", "answer-outside-set"]
    assert [one.code for one in look(tmp_path, rows).findings] == ["answer-outside-set"]


def test_rows_that_are_all_faulty_are_still_counted(tmp_path: Path) -> None:
    found = look(tmp_path, [changed(question=None)] * 3)
    assert [(one.code, one.count) for one in found.findings] == [("malformed-row", 3)]
    assert (found.rows, found.images, found.majority_share) == (3, 0, None)


def test_to_json_is_json(tmp_path: Path) -> None:
    found = look(tmp_path, [*CLEAN, "{", row(30, "-1", "count")])
    tree = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert tree["rows"] == 14 and tree["majority_share"] == 0.5
    assert [(one["code"], one["severity"], one["count"]) for one in tree["findings"]] == [
        ("malformed-line", "error", 1),
        ("number-out-of-range", "error", 1),
    ]
    assert tree["findings"][0]["examples"][0].startswith(f"{tmp_path / 'rows.jsonl'}:13: not JSON")
    (labels,) = tree["labels"]
    assert labels == {
        "subtype": "presence.binary",
        "rows": 12,
        "majority_share": 0.5,
        "entropy": pytest.approx(1.0),
        "labels": {"no": 6, "yes": 6},
    }


# ---- what holds of any rows

VALUES = st.sampled_from(
    ("Yes", "a.jpg", "count", "presence.binary", "conversation", "", " ", "é", "\ud800", "../a", None, 3, True, [], {})
)
ANY_ROW = st.one_of(
    st.dictionaries(
        st.sampled_from(("image_id", "question", "answer", "qtype", "subtype", "id", "place", "cot_answer", "object")),
        VALUES,
    ),
    st.builds(
        lambda change: {**CLEAN[0], **change}, st.dictionaries(st.sampled_from(sorted(CLEAN[0])), VALUES, max_size=1)
    ),
    st.sampled_from(([], 3, None, "text", {})),
)


@given(st.lists(st.one_of(st.sampled_from(CLEAN), ANY_ROW), min_size=1, max_size=40))
def test_looking_at_columns_refuses_the_rows_that_are_refused_alone(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in rows))
    faults = [fault_of(line) for line in rows]
    good = [number for number, fault in enumerate(faults, 1) if fault is None]
    if all(fault is not None and fault.code == "malformed-line" for fault in faults):
        with pytest.raises(UserError, match="no other line"):
            scan(path)
        return
    found: Scan = scan(path)
    assert found.columns.numbers.tolist() == good
    told = {code: count for code, count in found.tally.counts.items() if code != "contradicting-rationale"}
    expected: dict[str, int] = {}
    for fault in faults:
        if fault is not None:
            expected[fault.code] = expected.get(fault.code, 0) + 1
    assert told == expected


@pytest.mark.parametrize(
    ("rationale", "answer", "is_wrong"),
    [
        ("I see. Answer: Yes", "Yes", False),
        ("I see.\nANSWER:  yes. ", "Yes", False),
        ("Answer: No. Wait. Answer: Yes", "Yes", False),
        ("Answer: Yes. Wait. Answer: No", "Yes", True),
        ("I see. Yes", "Yes", True),
        ("I see. Answer:", "Yes", True),
        ("Answer: left side", "left side", False),
        ("Answer: 0.5", "0.50", True),
    ],
)
def test_the_last_answer_of_a_rationale(rationale: str, answer: str, is_wrong: bool) -> None:
    assert contradicts(rationale, answer) is is_wrong


@pytest.mark.parametrize(
    ("rationale", "quotes"),
    [
        ("The sky takes 0.62, which is more than 0.5. Answer: Yes", True),
        ("Depth reaches 34 m, greater than 20. Answer: Yes", True),
        ("range > 20, so complex. Answer: Complex", True),
        ("That exceeds the 50% mark. Answer: Yes", True),
        ("This is over the threshold. Answer: Yes", True),
        ("Houses fill at least 40 percent. Answer: Yes", True),
        ("greenery (0.1) ≤ 0.2. Answer: Yes", True),
        ("There are more than 2 cars. Answer: Yes", False),
        ("I count 3 people and 2 cars. Answer: people", False),
        ("The sky covers 40 % of the view. Answer: 0.40", False),
        ("The bus stands 12.5 m away. Answer: 12.50", False),
        ("Most of the view is sky. Answer: more than 0.5", False),
    ],
)
def test_a_rationale_that_quotes_the_rule(rationale: str, quotes: bool) -> None:
    assert quotes_threshold(rationale) is quotes
