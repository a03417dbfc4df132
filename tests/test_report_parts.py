"""What the parts of a report say: reading of answers, confusions, wrong answers, gains, what seeing adds, the audit."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from report_support import MODELS, make_run, scores

from urbanvlm.dataset.taxonomy import METRICS, SUBTYPES
from urbanvlm.evaluate.metrics import Row
from urbanvlm.evaluate.parse import parse_answer, parse_gold
from urbanvlm.evaluate.profiles import Strict
from urbanvlm.experiment import Model
from urbanvlm.records import Example, write_jsonl
from urbanvlm.report import make_report
from urbanvlm.report.confusion import OTHER, UNREAD, confusions
from urbanvlm.report.document import Document, Section
from urbanvlm.report.errors import find_wrong, gallery_json, thumbnails
from urbanvlm.report.facts import Evaluation, RunFacts, gather
from urbanvlm.report.gains import gains_of, gains_section
from urbanvlm.report.grid import ScoreGrid
from urbanvlm.report.html import render_page
from urbanvlm.report.markdown import render_markdown
from urbanvlm.report.pairs import beyond_chance
from urbanvlm.report.reliability import commonest_unparsed, read_by_subtype
from urbanvlm.report.spreadsheet import csv_table, latex_escape, latex_table
from urbanvlm.report.study import published_gains, study_name
from urbanvlm.report.unseen import drops, unseen_section


def evaluation(asked: Sequence[tuple[str, str, str]]) -> Evaluation:
    """Of (subtype, gold, text)."""
    rows, texts = [], {}
    for n, (subtype, gold, text) in enumerate(asked):
        example = Example(f"e{n}", "i.png", f"p{n}", "What?", gold, "perceptual", subtype)
        kind = SUBTYPES[subtype]
        rows.append(Row(example.id, example.place, kind, parse_gold(example), parse_answer(text, kind, "What?")))
        texts[example.id] = text
    return Evaluation("m", "before", "real", rows, texts)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RunFacts:
    return gather(make_run(tmp_path_factory.mktemp("runs"), images=("real", "blank")))


def shown(section: Section) -> str:
    return render_markdown(Document("t", (), (section,)), "report/")


# ---- reading of answers ---------------------------------------------------------------------------------------------


def test_every_answer_is_counted_once_and_the_commonest_unread_texts_are_told() -> None:
    one = evaluation(
        [
            ("presence.binary", "yes", "yes"),
            ("presence.binary", "no", "banana"),
            ("presence.binary", "no", "banana"),
            ("count", "3", "three"),
            ("count", "2", "zzz"),
            ("presence.binary", "yes", ""),
        ]
    )
    read = read_by_subtype(one)
    assert (read["presence.binary"].answers, read["presence.binary"].lost, read["presence.binary"].asked) == (1, 3, 4)
    assert (read["count"].answers, read["count"].unparsed) == (1, 1)
    assert commonest_unparsed(one) == [("banana", 2), ("", 1), ("zzz", 1)]
    assert commonest_unparsed(one, most=1) == [("banana", 2)]


# ---- confusions -----------------------------------------------------------------------------------------------------


def test_a_confusion_counts_every_row_with_a_column_for_what_was_not_read() -> None:
    one = evaluation(
        [
            ("presence.binary", "yes", "no"),
            ("presence.binary", "yes", "yes"),
            ("presence.binary", "no", "banana"),
            ("depth.closest_object", "car", "a bus"),
            ("depth.closest_object", "car", "car"),
            ("count", "2", "2"),
        ]
    )
    yes_no, classes = confusions(one.rows, Strict())
    assert (yes_no.subtype, yes_no.golds, yes_no.answers) == ("presence.binary", ("yes", "no"), ("yes", "no", UNREAD))
    assert yes_no.counts == {("yes", "no"): 1, ("yes", "yes"): 1, ("no", UNREAD): 1}
    assert yes_no.share("yes", "no") == 0.5
    # A bus is never gold here: it has no column of its own, and is not lost either.
    assert classes.answers == ("car", OTHER, UNREAD)
    assert classes.counts == {("car", OTHER): 1, ("car", "car"): 1}


@pytest.mark.parametrize(
    ("subtype", "gold", "said", "answers"),
    [
        ("presence.binary", "no", "yes", ("yes", "no", UNREAD)),
        ("spatial.distribution.label", "left side", "right side", ("left side", "right side", "evenly spread", UNREAD)),
        ("depth.range.label", "high", "low", ("low", "moderate", "high", UNREAD)),
        ("multi_hop.which_is_more", "cars", "people", ("car", "person", UNREAD)),
    ],
)
def test_every_label_of_a_closed_set_has_its_column(subtype: str, gold: str, said: str, answers: tuple[str]) -> None:
    (one,) = confusions(evaluation([(subtype, gold, said)] * 2).rows, Strict())
    assert len(one.golds) == 1
    assert one.answers == answers
    assert OTHER not in {answer for _, answer in one.counts}


def test_a_scale_keeps_its_order() -> None:
    one = evaluation([("depth.range.label", label, label) for label in ("high", "high", "moderate", "low")])
    assert confusions(one.rows, Strict())[0].golds == ("low", "moderate", "high")


# ---- wrong answers --------------------------------------------------------------------------------------------------


def test_the_gallery_has_some_of_every_kind_and_counts_the_rest(facts: RunFacts) -> None:
    wrong = find_wrong(facts, most_each=2)
    counted = sum(not row.correct for one in facts.seeing for row in one.rows)
    assert wrong.count == counted
    assert wrong.shown <= counted
    verdicts = {"right": 0}
    for one in facts.seeing:
        for subtype in {row.subtype.name for row in one.rows}:
            have = [row for row in one.rows if row.subtype.name == subtype and not row.correct]
            chosen = [row for row in have if row.example_id in wrong.replies]
            assert len(chosen) >= min(2, len(have)), (one.name, subtype)
            assert sum(
                count for (s, m, p, _), count in wrong.totals.items() if (s, m, p) == (subtype, one.model, one.phase)
            ) == len(have)
    for replies in wrong.replies.values():
        assert set(replies) == {(one.model, one.phase) for one in facts.seeing}
        for reply in replies.values():
            verdicts[reply.verdict] = verdicts.get(reply.verdict, 0) + 1
    assert verdicts["right"] and verdicts["unread"]


def test_fewer_are_chosen_where_the_pictures_would_be_too_many(facts: RunFacts) -> None:
    all_of_them = find_wrong(facts)
    few = find_wrong(facts, most_pictures=4)
    assert few.each < all_of_them.each
    assert few.count == all_of_them.count
    assert {example.id for example in few.chosen} < {example.id for example in all_of_them.chosen}


def test_numbers_farthest_off_come_first(tmp_path: Path) -> None:
    run = make_run(tmp_path, mode="zero-shot", models=("llava",))
    file = run.shard_file("llava", "before", 0)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    far = next(row for row in rows if row["example_id"].endswith("#1"))
    far["text"] = "900"
    write_jsonl(file, rows)
    wrong = find_wrong(gather(run), most_each=1)
    counts = [example for example in wrong.chosen if example.scored_subtype == "count"]
    assert [example.id for example in counts] == [far["example_id"]]


def test_a_lost_picture_is_no_end_of_the_report(facts: RunFacts) -> None:
    from urbanvlm.errors import UserError

    def broken(image_id: str) -> object:
        raise UserError(image_id, "is broken")

    wrong = find_wrong(facts)
    assert thumbnails(wrong.chosen, broken) == {}  # type: ignore[arg-type]
    assert json.loads(gallery_json(facts.grid.models, facts.grid.phases, wrong, {}))["pictures"] == {}


# ---- gains ----------------------------------------------------------------------------------------------------------


def test_gains_lie_inside_their_intervals_and_follow_the_study(facts: RunFacts) -> None:
    gains = gains_of(facts)
    assert gains
    for one in gains:
        before, after = (facts.grid.get(one.model, phase, one.metric) for phase in ("before", "after"))
        assert before is not None and after is not None and before.value and after.value is not None
        change = (after.value - before.value) / before.value
        assert one.value == pytest.approx(-change if METRICS[one.metric].score == "mae" else change)
        assert one.low is not None and one.high is not None
        assert one.low - 1e-9 <= one.value <= one.high + 1e-9
    assert any(one.beyond_chance and one.value > 0 for one in gains)


def test_published_gains_stand_beside_real_checkpoints_alone(tmp_path: Path) -> None:
    real, tiny = Model(family="llava", checkpoint="llava-hf/llava-1.5-7b-hf"), Model(family="llava")
    assert (study_name(real), study_name(tiny)) == ("LLaVA-1.5", None)
    assert published_gains(tiny) == {}
    assert published_gains(real)["compositional.negation"] == pytest.approx(1.323)
    table = {key for key, metric in METRICS.items() if metric.in_table}
    for name in ("Salesforce/blip2-flan-t5-xl", "Salesforce/instructblip-flan-t5-xl", "llava-hf/llava-1.5-7b-hf"):
        assert published_gains(Model(family="x", checkpoint=name)).keys() == table
    checkpoints = ("Salesforce/blip2-flan-t5-xl", "tiny")
    section = gains_section(gather(make_run(tmp_path, models=("ours", "small"), checkpoints=checkpoints)))
    assert section is not None
    text = shown(section)
    assert "for ours with BLIP-2" in text
    assert "study +169.7 %" in text and "small with" not in text


def test_without_one_of_the_studys_checkpoints_it_is_said_so(facts: RunFacts) -> None:
    section = gains_section(facts)
    assert section is not None
    text = shown(section)
    assert "None of these checkpoints" in text and "study +" not in text and "study −" not in text


# ---- without seeing -------------------------------------------------------------------------------------------------


def test_the_drop_is_what_the_real_pictures_add(facts: RunFacts) -> None:
    found = drops(facts)
    assert {(drop.seeing.name, drop.images) for drop in found} == {(one.name, "blank") for one in facts.seeing}
    values = {
        (s.model, s.phase, s.images, s.name): s for s in facts.scores if s.level == "metric" and s.average != "weighted"
    }
    for drop in found:
        for one in drop.differences:
            real = values[drop.seeing.model, drop.seeing.phase, "real", one.name]
            blank = values[drop.seeing.model, drop.seeing.phase, "blank", one.name]
            assert real.value is not None and blank.value is not None
            better = blank.value - real.value if real.lower_is_better else real.value - blank.value
            assert one.difference == pytest.approx(better)
    assert any(drop.helped for drop in found if drop.seeing.phase == "after")
    section = unseen_section(facts)
    assert section is not None and "an even grey picture" in shown(section)


def test_the_tables_of_scores_are_of_models_that_saw(facts: RunFacts) -> None:
    assert {score.images for score in facts.grid.scores.values()} == {"real"}
    assert {row["images"] for row in csv.DictReader(io.StringIO(csv_table(facts.scores)))} == {"real", "blank"}


# ---- larger than chance ---------------------------------------------------------------------------------------------


def test_with_many_metrics_tried_a_small_p_must_be_smaller(facts: RunFacts) -> None:
    base = drops(facts)[0].differences[0]
    one, two, three = (replace(base, name=name, p=p) for name, p in (("a", 0.02), ("b", 0.026), ("c", 0.9)))
    # Holm: the least of three must be at most 0.05 / 3, the next at most 0.05 / 2.
    assert beyond_chance([one]) == {"a"}
    assert beyond_chance([one, two, three]) == frozenset()
    assert beyond_chance([replace(one, p=0.01), two, three]) == {"a"}
    assert beyond_chance([replace(one, p=0.01), replace(two, p=0.024), three]) == {"a", "b"}


# ---- tables for programs and papers ---------------------------------------------------------------------------------


def test_csv_holds_every_score_and_the_gain(facts: RunFacts) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_table(facts.scores))))
    assert len(rows) == len(facts.scores)
    assert {row["level"] for row in rows} == {"metric", "group", "subtype"}
    after = next(r for r in rows if (r["name"], r["phase"], r["images"]) == ("proportion.scalar", "after", "real"))
    before = next(
        r
        for r in rows
        if (r["name"], r["phase"], r["images"], r["model"]) == ("proportion.scalar", "before", "real", after["model"])
    )
    expected = (float(before["value"]) - float(after["value"])) / float(before["value"])
    assert float(after["gain"]) == pytest.approx(expected, abs=1e-5)
    assert before["gain"] == ""


def test_latex_is_balanced_and_escaped() -> None:
    rows = [replace(row, model="a_b&c%") if row.model == "llava" else row for row in scores()]
    text = latex_table(ScoreGrid.of(rows))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert r"a\_b\&c\%" in text
    assert text.count("{") == text.count("}")
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {8}
    assert latex_escape("\\ ~ ^ #") == r"\textbackslash{} \textasciitilde{} \textasciicircum{} \#"


# ---- the audit ------------------------------------------------------------------------------------------------------


def test_the_audit_names_the_places_that_train_and_test_share(facts: RunFacts) -> None:
    from urbanvlm.report.audit import audit_section

    # The made-up run has one file for all splits.
    text = shown(audit_section(facts))
    assert "shared-places" in text and "dataset/test.jsonl" in text
    # Where the run lies is nobody's business.
    assert str(facts.run.path) not in text
    assert "presence.binary" in text and "no 6, yes 6" in text
    page = render_page(Document("t", (), (audit_section(facts),)))
    assert "<code>shared-places</code>" in page


def test_models_that_never_saw_the_pictures_have_a_report_that_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, models=MODELS[:2], images=("blank",))
    make_report(run)
    text = run.report.read_text(encoding="utf-8")
    assert f"**{MODELS[0]}** never saw the pictures: it was shown blank ones." in text
    assert "Without seeing" not in text
    assert gather(run).grid.asked
