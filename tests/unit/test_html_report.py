"""The report as a page: complete, safe, small, the same every time."""

import html
import json
import re
from dataclasses import replace

import pytest

from fairtune.evaluate.metrics import Outcome
from fairtune.records import LabelScores
from fairtune.report import FORMATS, Judged, collect
from fairtune.report.cells import mark_of
from fairtune.report.html import items as items_module
from fairtune.report.html import render
from fairtune.report.html.items import embedded, safe_json
from fairtune.report.html.pool import read_pool
from fairtune.report.leaks import LEAKED
from tests import pages
from tests.unit.test_study import runs_of

ATTACK = "<script>alert(1)</script><!-- \u2028 ]]> & ' \" </style><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return pages.report(tmp_path_factory.mktemp("animals"))


@pytest.fixture(scope="module")
def page(report):
    return render(report, study_text=pages.STUDY, study_file="animals.yaml", prompts={"item1": "What is it?"})


def data_of(page):
    return json.loads(re.search(r'id="items-data">(.*?)</script>', page, re.DOTALL)[1])


def text_of(page, section):
    """What is read in a section."""
    part = re.search(rf'<section id="{section}">(.*?)</section>', page, re.DOTALL)[1].replace("<wbr>", "")
    return re.sub(
        r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<script.*?</script>", "", part, flags=re.S)))
    )


def test_every_section_is_there_in_its_order(page):
    found = [name for name in re.findall(r'<section id="(\w+)">', page) if name != "figures"]
    assert found == ["results", "cost", "pairs", "items", "answers", "data", "numbers", "provenance"]
    assert page.startswith("<!doctype html>")
    assert page.count("<h1>") == 1
    for anchor in re.findall(r'<a href="#(\w+)">', page):
        assert f'id="{anchor}"' in page


def test_a_page_is_the_same_for_the_same_report(report, page):
    again = render(report, study_text=pages.STUDY, study_file="animals.yaml", prompts={"item1": "What is it?"})
    assert again == page


def test_nothing_is_loaded_from_anywhere(page):
    outside = r"""(?:src|href|action|data|poster|srcset)\s*=\s*["']?(?!#)|url\((?!#)|@import|<link|<iframe|<base"""
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.findall(outside, re.sub(r'href="#[^"]*"', "", markup))
    assert not re.findall(r"https?://", page.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    policy = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert not re.findall(r"<[^>]* on\w+=", markup)


def test_a_run_that_failed_is_a_row_with_its_reason_and_no_number(page):
    rows = re.findall(r"<tr class=[^>]*>.*?</tr>", page, re.DOTALL)
    (diverged,) = [row for row in rows if "the loss is nan at update 12" in row]
    memory = [row for row in rows if "needed 21 GiB of 20 GiB" in row]
    assert len(memory) == 2
    for row in (diverged, *memory):
        assert '<td class="number' not in row
    assert "1 of 2 seeds" in text_of(page, "results")
    assert re.search(r"<b>2</b> out of memory.*<b>1</b> diverged", page)


def test_numbers_stand_with_interval_difference_and_the_test_behind_it(report, page):
    found = next(one for one in report.comparisons if (one.metric, one.verdict) == ("bleu", "better"))
    text = text_of(page, "results")
    assert f"Δ +{found.difference:.1f} {mark_of(found)} better; details" in text
    assert "p adjusted" in text
    assert "(Holm)" in text
    assert "p no worse" not in text_of(page, "pairs")  # the study has no margins, so there is no column


def test_what_a_comparison_knows_more_is_shown(report):
    found = replace(
        report.comparisons[0], about="other seeds too", smallest=1.25, items_needed=4321, unequal="3 trials against 8"
    )
    page = render(replace(report, comparisons=(found, *report.comparisons[1:])))
    for text in ("could have shown", "1.25", "items needed", "4,300", "other seeds too", "3 trials against 8"):
        assert text in text_of(page, "pairs")
    assert "4,300" in text_of(page, "results")
    assert "p no worse" not in text_of(page, "pairs")


def test_items_of_all_runs_are_embedded_with_texts_and_scores(report, page):
    data = data_of(page)
    assert data["runs"] == ["base", "full · seed 0", "full · seed 1", "lora rank=4 · seed 0"]
    assert [metric["name"] for metric in data["metrics"]] == list(report.metrics)
    assert len(data["items"]) == 60
    name, prompt, reference, outputs, scores = data["items"][1]
    assert (name, prompt, len(outputs)) == ("item1", "What is it?", 4)
    exact = list(report.metrics).index("exact_match")
    assert scores[exact] == [float(said == reference) for said in outputs]
    assert data["counts"] is None
    assert data["items"][0][1] is None


def test_where_items_do_not_fit_those_that_changed_most_are_kept_and_all_are_counted(report):
    pool = read_pool(report)
    every = json.loads(embedded(report, pool, {}).text)
    small = embedded(report, pool, {}, budget=6_000)
    data = json.loads(small.text)
    assert 0 < small.shown == len(data["items"]) < small.total == 60
    metric = list(report.metrics).index("bleu")
    gaps = {item[0]: item[4][metric][1] - item[4][metric][0] for item in every["items"]}
    better, worse, same = data["counts"][metric]["0,1"]
    assert (better, worse) == (sum(gap > 0 for gap in gaps.values()), sum(gap < 0 for gap in gaps.values()))
    assert better + worse + same == 60
    assert len(small.text) < 10_000


def test_a_page_of_long_answers_of_many_items_keeps_its_size(tmp_path):
    entries = []
    for at, spec in enumerate(
        runs_of(
            tmp_path, pages.STUDY.replace("[perplexity, bleu, rouge_l, exact_match, answer_length]", "exact_match")
        )[:3]
    ):
        answers = [
            Outcome(f"i{n}", "p", "word " * 200, output=f"{at} " + "word " * 800, output_tokens=9, stopped=True)
            for n in range(1500)
        ]
        entries.append(pages.finished(spec, tmp_path, answers))
    page = render(collect("animals", entries))
    assert 1_000_000 < len(page.encode()) < 5_000_000
    data = data_of(page)
    assert all(len(text) <= items_module.LONGEST for item in data["items"] for text in (item[2], *item[3]))
    assert f"{len(data['items']):,} of 1,500 items are in this page" in text_of(page, "items")


def test_what_models_and_data_say_is_text_and_nothing_else(tmp_path):
    entries = []
    for spec in runs_of(tmp_path, pages.STUDY)[:2]:
        named = spec.model_copy(update={"model": spec.model.model_copy(update={"name": ATTACK})})
        answers = [
            Outcome(f"{ATTACK}{n}", "p", ATTACK, loss=1.0, loss_tokens=2, output=ATTACK, output_tokens=2, stopped=True)
            for n in range(4)
        ]
        entries.append(pages.finished(named, tmp_path, answers))
    failing = runs_of(tmp_path, pages.STUDY)[2]
    entries.append(pages.failed(failing, tmp_path, "failed", ATTACK))
    page = render(collect(ATTACK, entries), study_text=ATTACK, study_file=ATTACK, prompts={f"{ATTACK}0": ATTACK})
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 3
    assert page.count("<!--") == 0
    assert "\u2028" not in re.search(r'id="items-data">(.*?)</script>', page, re.DOTALL)[1]
    assert data_of(page)["items"][0][2] == ATTACK


@pytest.mark.parametrize("value", [ATTACK, {"</script>": ["<!--", "\u2028\u2029", "\ud800", "ñ"]}])
def test_json_in_a_page_is_what_it_was(value):
    text = safe_json(value)
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029\ud800]", text)


def test_lost_and_damaged_files_are_told_and_cost_only_their_numbers(tmp_path):
    report = pages.report(tmp_path, items=5)
    for entry in report.entries:
        if entry.ok:
            entry.folder.examples("bleu").unlink()
            entry.folder.examples("rouge_l").write_text('{"id": 1}\n')
    page = render(report)
    assert "bleu.jsonl: cannot be read" in text_of(page, "items")
    assert "rouge_l.jsonl: damaged, an item lacks" in text_of(page, "items")
    assert len(data_of(page)["items"]) == 5


@pytest.mark.parametrize("kept", [0, 1])
def test_half_a_study_is_a_page_that_says_so(tmp_path, kept):
    specs = runs_of(tmp_path, pages.STUDY)
    entries = [pages.finished(spec, tmp_path, pages.outcomes(0.5, 1, items=1)) for spec in specs[:kept]]
    entries += [pages.missing(spec, tmp_path) for spec in specs[kept:]]
    page = render(collect("animals", entries))
    assert text_of(page, "items").count("It takes two runs with results") == 1
    assert "There is nothing to compare" in text_of(page, "pairs")
    assert ("Nothing has run yet" in text_of(page, "cost")) == (kept == 0)
    assert ("Nothing was found wrong" in text_of(page, "data")) == (kept == 1)
    assert text_of(page, "results").count("not run yet") == len(specs) - kept
    assert 'id="items-data"' not in page


def test_one_item_has_no_interval_and_no_difference(tmp_path):
    specs = runs_of(tmp_path, pages.STUDY)[:2]
    page = render(
        collect("animals", [pages.finished(spec, tmp_path, pages.outcomes(0.5, 1, items=1)) for spec in specs])
    )
    assert "[?]" in text_of(page, "results")
    assert "1 item" in page


def test_without_an_untouched_model_the_trained_ones_are_compared(tmp_path):
    specs = runs_of(tmp_path, pages.STUDY.replace("base, ", "").replace("seeds: [0, 1]", "seeds: 0"))
    entries = [pages.finished(spec, tmp_path, pages.outcomes(0.2 * at, at)) for at, spec in enumerate(specs)]
    page = render(collect("animals", entries))
    assert "full − lora rank=4" in text_of(page, "pairs")
    assert json.loads(re.search(r'id="items-first">(.*?)</script>', page)[1])[:2] == [0, 1]


def test_the_items_chosen_to_be_read_do_not_depend_on_the_runs(report, tmp_path):
    page = FORMATS["html"](report)
    found = re.findall(r"Item <code>(\w+)</code>", page)
    other = FORMATS["html"](pages.report(tmp_path))
    assert len(found) == 6
    assert re.findall(r"Item <code>(\w+)</code>", other) == found


def test_labels_and_judges_have_their_tables_where_there_are_any(report):
    scores = LabelScores(precision=0.25, recall=0.5, f1=1 / 3, support=17)
    first = report.entries[0]
    value = first.record.metrics["exact_match"].model_copy(update={"per_label": {"<perro>": scores}})
    record = first.record.model_copy(update={"metrics": {**first.record.metrics, "exact_match": value}})
    judged = (Judged(report.entries[1].spec, first.spec, "a <judge>", None),)
    page = render(replace(report, entries=(replace(first, record=record), *report.entries[1:]), judged=judged))
    assert "<perro> 0.250 0.500 0.333 17" in text_of(page, "labels")
    assert "full · seed 0 base missing: not judged yet" in text_of(page, "judged")
    assert "a &lt;judge&gt;" in page


def test_a_leak_is_told_below_the_numbers_that_it_flatters(report):
    note = f"{LEAKED} Leak: 3 test items are asked in training too."
    page = render(replace(report, notes=(note, *report.notes), leaked=frozenset({"bleu"})))
    assert note in text_of(page, "results")
    assert note not in text_of(page, "numbers")
    assert "bleu ↑ †" in text_of(page, "results")


def test_the_best_of_a_column_is_marked_and_only_one(page):
    cells = re.findall(r'<td class="number[^"]*\bbest\b[^"]*" data-sort="([^"]*)"', page)
    assert len(cells) >= 3
    assert "(best of the column)" in page
