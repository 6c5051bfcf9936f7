"""Pictures of a study: which there are, that they are the same each time, and that they stand in one page together."""

import re
import xml.dom.minidom
from dataclasses import replace

import numpy as np
import pytest

from fairtune.errors import SpecError
from fairtune.evaluate.metrics import METRICS
from fairtune.records import BenchmarkLeakage, BenchmarkNote, Plan
from fairtune.report.collect import collect
from fairtune.report.figures import FIGURES, figures, png, save, svg
from fairtune.report.figures.cast import Method, methods_of
from fairtune.report.figures.loss import smoothed, smoothing, thinned
from fairtune.report.figures.palette import LIGHT, STAND_INS, VARIABLES
from fairtune.report.figures.panels import pages_of
from fairtune.report.figures.quality import Spot, main_metric, pareto
from fairtune.report.figures.sheet import cut, log_ticks, number, span, text_width, wrapped
from fairtune.report.tables import Entry
from tests import reports


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Everything that can be drawn, in two seeds of two methods; one run failed."""
    folder = tmp_path_factory.mktemp("made")
    specs = reports.with_benchmark(reports.specs_of(folder, reports.study_of()))
    report = reports.report_of(folder, specs, failed=[specs[2].run_id], leakage=reports.leaking())
    return reports.with_labels(report, ["yes", "no", "a & b <c>"])


@pytest.fixture(scope="module")
def drawn(made):
    return {figure.name: svg(figure) for figure in figures(made)}


def names(report):
    return {figure.name for figure in figures(report)}


def small(folder, metrics=reports.METRICS, seeds=(0, 1), methods=reports.SMALL, **more):
    return reports.report_of(folder, reports.specs_of(folder, reports.study_of(methods, metrics, seeds)), **more)


def test_a_study_with_everything_has_every_figure_in_order(made):
    assert [figure.name for figure in figures(made)] == list(FIGURES)


def test_every_figure_says_in_words_what_it_shows(made):
    for figure in figures(made):
        assert figure.title
        assert figure.caption.endswith(".")
        assert len(figure.alt) > 30
        assert "nan" not in figure.alt


def test_the_same_report_gives_the_same_bytes(made, drawn):
    assert {figure.name: svg(figure) for figure in figures(made)} == drawn
    first = figures(made)[0]
    assert png(first) == png(first)
    assert png(first).startswith(b"\x89PNG")


def test_no_id_stands_twice_in_a_page_of_all_figures_and_every_one_that_is_used_is_there(drawn):
    page = "".join(drawn.values())
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert ids
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', page)) == set(ids)


def test_a_themed_figure_has_the_pages_colours_and_no_other(drawn):
    page = "".join(drawn.values())
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", page)
    used = set(re.findall(r"var\(--[a-z0-9-]+\)", page))
    assert used <= set(VARIABLES.values())
    assert {"var(--ink)", "var(--muted)", "var(--grid)", "var(--surface)", "var(--series-1)", "var(--better)"} <= used


def test_a_figure_that_stands_alone_has_fixed_colours(made):
    text = svg(figures(made)[0], themed=False)
    assert "var(" not in text
    assert LIGHT.ink in text
    assert not any(colour in text for colour in VARIABLES)


def test_an_svg_is_one_element_for_screen_readers_with_text_as_text(drawn):
    for name, text in drawn.items():
        root = xml.dom.minidom.parseString(text).documentElement  # noqa: S318 - our own
        assert (root.tagName, root.getAttribute("role")) == ("svg", "img")
        assert root.getAttribute("aria-label")
        width, height = (float(root.getAttribute(side)) for side in ("width", "height"))
        assert root.getAttribute("viewBox") == f"0 0 {width:g} {height:g}"
        assert width in (460, 720)
        assert text.startswith("<svg")
        assert not re.search("<metadata|<style|<!--|<\\?xml|DejaVu|xlink", text), name
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:[a-z0-9]+ )*([\d.]+)px", text)]
        assert sizes
        assert min(sizes) >= 9
        assert len(text) < 150_000


def test_labels_are_texts_whatever_stands_in_them(made, drawn):
    assert "a &amp; b &lt;c&gt; (12)" in drawn["labels"]


def test_labels_of_any_script_and_length_are_drawn(tmp_path):
    labels = ["日本語", "$x_1$", "a" * 200, "line\nbreak\x00", "العربية", "\\frac"]
    found = reports.with_labels(small(tmp_path, metrics=("exact_match",), files=False), labels)
    (figure,) = [each for each in figures(found) if each.name == "labels"]
    text = svg(figure)
    xml.dom.minidom.parseString(text)  # noqa: S318 - our own
    assert "日本語 (10)" in text
    assert "$x_1$ (11)" in text
    assert "line break (13)" in text
    assert png(figure)


def test_runs_without_results_are_named_and_left_out(made):
    found = {figure.name: figure.caption for figure in figures(made)}
    for name in ("uplift", "quality_memory", "loss", "labels", "subjects", "lengths"):
        assert "Not shown: full, seed 1 (out of memory)." in found[name], name


def test_a_study_of_which_nothing_was_run_has_no_figures(tmp_path):
    specs = reports.specs_of(tmp_path, reports.study_of())
    report = small(tmp_path, failed=[spec.run_id for spec in specs])
    assert figures(report) == []
    entries = [Entry(spec, report.entries[0].folder, None) for spec in specs]
    assert figures(collect("made", entries)) == []


def test_without_an_untouched_model_there_is_no_uplift_and_methods_still_meet(tmp_path):
    found = names(small(tmp_path, methods=reports.SMALL[1:]))
    assert "uplift" not in found
    assert {"pairs", "quality_memory", "seeds", "loss"} <= found


def test_without_training_there_is_nothing_to_compare(tmp_path):
    assert names(small(tmp_path, methods=["base"])) == {"lengths"}


def test_missing_files_are_told_and_draw_nothing(tmp_path):
    report = small(tmp_path, files=False)
    assert not {"loss", "lengths", "subjects"} & names(report)
    reports.write_files(report.entries[1].folder, report.entries[1].record, np.random.default_rng(0))
    (loss,) = [figure for figure in figures(report) if figure.name == "loss"]
    assert "full, seed 1" in loss.caption
    assert "no curve.jsonl to read" in loss.caption
    assert "full:" in loss.alt
    assert "lora:" not in loss.alt


@pytest.mark.parametrize(
    "text", ["", "{", '{"step": 1}\n', '{"step": 1, "loss": NaN}\n', '{"step": null, "loss": 2}\n']
)
def test_a_damaged_curve_is_a_missing_one(tmp_path, text):
    report = small(tmp_path)
    for entry in report.entries:
        entry.folder.curve.write_text(text, encoding="utf-8")
    assert "loss" not in names(report)


def test_one_seed_has_no_figure_of_seeds(tmp_path):
    assert "seeds" not in names(small(tmp_path, seeds=(0,)))


def drawable(report):
    """Everything is drawn; an exception is what would be wrong."""
    return {figure.name: svg(figure) for figure in figures(report)}


def changed(report, **change):
    """Every score of every run with other numbers."""
    entries = []
    for entry in report.entries:
        metrics = {name: value.model_copy(update=change) for name, value in entry.record.metrics.items()}
        entries.append(Entry(entry.spec, entry.folder, entry.record.model_copy(update={"metrics": metrics})))
    return reports.assembled(entries)


@pytest.mark.parametrize(
    "change",
    [{"low": None, "high": None}, {"value": 0.0, "low": 0.0, "high": 0.0}, {"value": 1e9}, {"value": -3e-7}],
    ids=["no interval", "all equal", "huge", "tiny"],
)
def test_scores_of_any_kind_are_drawn(tmp_path, change):
    found = drawable(changed(small(tmp_path, metrics=("perplexity", "chrf")), **change))
    assert {"uplift", "pairs", "quality_memory", "seeds"} <= set(found)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_left_out(tmp_path, value):
    found = drawable(changed(small(tmp_path), value=value, low=None, high=None))
    assert not {"uplift", "quality_memory", "seeds"} & set(found)


def test_a_single_item_is_drawn_without_a_comparison(tmp_path):
    report = small(tmp_path, files=False)
    for entry in report.entries:
        reports.write_files(entry.folder, entry.record, np.random.default_rng(0), items=1)
    found = drawable(collect("made", report.entries))
    assert "uplift" not in found
    assert {"quality_memory", "lengths", "loss"} <= set(found)


def test_the_real_collector_gives_what_figures_need(tmp_path):
    found = drawable(collect("made", small(tmp_path, metrics=("exact_match",)).entries))
    assert {"uplift", "pairs", "quality_memory", "quality_time", "seeds", "loss", "lengths", "memory"} == set(found)


def test_many_methods_are_several_figures_that_can_be_read(tmp_path):
    report = small(tmp_path, methods=reports.MANY, seeds=(0,), files=False)
    found = figures(report)
    by_name = {figure.name: figure for figure in found}
    assert {"uplift", "uplift-2", "pairs"} <= set(by_name)
    assert by_name["uplift-2"].title.endswith("(2 of 2)")
    text = svg(by_name["uplift"])
    assert float(re.search(r'height="([\d.]+)"', text)[1]) < 850
    assert "p-values are adjusted for all these pairs" in by_name["pairs"].caption
    assert ">14</text>" in svg(by_name["pairs"])


def test_pages_hold_all_rows_and_panels_once():
    for rows, panels in [(1, 1), (3, 5), (14, 6), (45, 3), (20, 10)]:
        pages = pages_of(rows, panels, ["name"] * rows)
        cells = [(row, panel) for block, shown in pages for row in block for panel in shown]
        assert sorted(cells) == [(row, panel) for row in range(rows) for panel in range(panels)]
        assert len(cells) == len(set(cells))


def test_a_method_has_one_colour_and_one_mark_of_its_own(tmp_path):
    methods = methods_of(small(tmp_path, methods=reports.MANY, seeds=(0,), files=False))
    looks = [(method.colour(STAND_INS), method.marker) for method in methods]
    assert len(set(looks)) == len(methods) == 15
    assert looks[0] == (STAND_INS.muted, "X")
    assert len({method.name for method in methods}) == 15


def test_lower_is_better_is_said_at_the_axis(tmp_path):
    report = small(tmp_path, metrics=("perplexity",), seeds=(0,))
    (uplift,) = [figure for figure in figures(report) if figure.name == "uplift"]
    assert "← better" in svg(uplift)
    assert "better →" not in svg(uplift)


def test_one_run_that_went_wrong_does_not_press_the_others_together(tmp_path):
    report = small(tmp_path, methods=reports.MANY, seeds=(0,), metrics=("perplexity",), files=False)
    entries = list(report.entries)
    bad = entries[3].record
    worst = {"perplexity": bad.metrics["perplexity"].model_copy(update={"value": 54321.0})}
    entries[3] = Entry(entries[3].spec, entries[3].folder, bad.model_copy(update={"metrics": worst}))
    found = {figure.name: figure for figure in figures(reports.assembled(entries))}
    assert "+54300 →" in svg(found["uplift"])
    frame = found["quality_memory"].draw(LIGHT).axes[0]
    assert frame.get_ylim()[1] < 50
    assert any(text.get_text().endswith(": 54300") for text in frame.texts)


def telling(report, **change):
    return replace(report, comparisons=tuple(replace(each, **change) for each in report.comparisons))


def test_a_verdict_of_these_runs_alone_is_hollow_and_said_to_be(tmp_path):
    report = small(tmp_path, metrics=("chrf",), files=False)
    for about, fill in (("these runs", LIGHT.surface), ("other seeds too", LIGHT.better)):
        (figure,) = [each for each in figures(telling(report, verdict="better", about=about)) if each.name == "uplift"]
        triangles = [line for line in figure.draw(LIGHT).axes[0].lines if line.get_marker() == "^"]
        assert {line.get_markerfacecolor() for line in triangles} == {fill}
        assert ("Hollow triangles" in figure.caption) == (about == "these runs")
        assert ("better: these runs alone" in svg(figure)) == (about == "these runs")
        assert ("better of these runs alone" in figure.alt) == (about == "these runs")


def test_an_interval_that_speaks_of_other_seeds_has_that_of_these_runs_within(tmp_path):
    report = small(tmp_path, metrics=("chrf",), files=False)
    wide = {"about": "other seeds too", "low_items": -0.1, "high_items": 0.1}
    report = telling(report, **wide)
    for figure in figures(report)[:2]:
        assert "(about other seeds too, thick for these very runs on other items)" in figure.caption
        lines = figure.draw(LIGHT).axes[0].lines
        assert [-0.1, 0.1] in [list(line.get_xdata()) for line in lines]


def spots(pairs):
    method = Method("c", "n", (), 0)
    value = reports.score(0.0, METRICS["chrf"])
    return [Spot(method, x, value.model_copy(update={"value": y})) for x, y in pairs]


def test_the_front_holds_those_that_none_beats_in_both():
    found = pareto(spots([(1, 5), (2, 4), (3, 7), (1, 4), (4, 7), (5, 9)]), higher=True)
    assert [(spot.x, spot.y) for spot in found] == [(1, 5), (3, 7), (5, 9)]
    found = pareto(spots([(1, 5), (2, 4), (3, 7)]), higher=False)
    assert [(spot.x, spot.y) for spot in found] == [(1, 5), (2, 4)]


def test_the_main_metric_is_the_first_of_which_one_way_is_better(made):
    assert main_metric(made) == "perplexity"


def test_smoothing_keeps_a_constant_and_a_mean():
    assert [smoothing(updates) for updates in (1, 4, 48, 400, 10_000)] == [1, 1, 5, 17, 81]
    assert np.allclose(smoothed(np.full(50, 2.5), 9), 2.5)
    assert np.allclose(smoothed(np.arange(50.0), 5)[2:-2], np.arange(50.0)[2:-2])
    assert np.array_equal(thinned(np.arange(1000.0), 300)[[0, -1]], [0, 999])
    assert len(thinned(np.arange(1000.0), 300)) == 300


def test_validation_stands_at_the_last_update_of_its_epoch(made):
    (loss,) = [figure for figure in figures(made) if figure.name == "loss"]
    assert "dots are the validation loss" in loss.caption
    frame = loss.draw(LIGHT).axes[0]
    dots = [line for line in frame.lines if line.get_linestyle() == "None"]
    assert [list(dot.get_xdata()) for dot in dots] == [[200, 400]] * 3
    assert [list(dot.get_ydata()) for dot in dots] == [[2.1, 1.9]] * 3


def test_a_loss_over_a_wide_range_has_a_logarithmic_axis(tmp_path):
    report = small(tmp_path)
    for entry in report.entries:
        lines = [{"step": step, "loss": 1000.0 / step} for step in range(1, 101)]
        reports.write_lines(entry.folder.curve, lines)
    (loss,) = [figure for figure in figures(report) if figure.name == "loss"]
    assert loss.draw(LIGHT).axes[0].get_yscale() == "log"


def test_leaks_of_benchmarks_have_bars_too(tmp_path):
    leak = BenchmarkLeakage(in_train=2, in_validation=0, ids=("a/1", "a/2"), kinds={"exact": 2})
    notes = (BenchmarkNote(name="exams", items=9, requests=9, leakage=leak),)
    (figure,) = [each for each in figures(small(tmp_path, benchmarks=notes)) if each.name == "leakage"]
    assert "exams in training data: 2 exact." in figure.alt


def test_clean_data_and_unplanned_memory_have_no_figure(tmp_path):
    assert not {"leakage", "memory"} & names(small(tmp_path, plan=Plan()))


def test_the_budget_is_a_line_where_it_is_near(tmp_path):
    def drawn(budget):
        plan = reports.report_of(tmp_path, specs, files=False).entries[1].record.plan
        report = reports.report_of(tmp_path, specs, files=False, plan=plan.model_copy(update={"budget_bytes": budget}))
        (figure,) = [each for each in figures(report) if each.name == "memory"]
        return svg(figure)

    specs = reports.specs_of(tmp_path, reports.study_of(seeds=(0,)))
    assert ">budget 1.50 GiB</text>" in drawn(3 * 2**29)
    assert "budget" not in drawn(80 * 2**30)


def test_tasks_of_a_benchmark_are_its_items_by_the_first_part_of_their_id(tmp_path):
    specs = reports.with_benchmark(reports.specs_of(tmp_path, reports.study_of(seeds=(0,))))
    report = reports.report_of(tmp_path, specs)
    name = next(name for name in report.metrics if report.known[name].needs == "benchmark")
    keys = report.known[name].statistics
    for entry in report.entries:
        rows = [
            {
                "id": f"{task}/{item}",
                "prompt_hash": "h",
                "scores": dict(zip(keys, (float(item < hits), 1.0), strict=True)),
            }
            for task, hits in (("law", 1), ("art", 3), ("tea/room", 4))
            for item in range(4)
        ]
        reports.write_lines(entry.folder.examples(name), rows)
    (figure,) = [each for each in figures(report) if each.name == "subjects"]
    assert "law: base 0.250, full 0.250, lora 0.250." in figure.alt
    assert "tea/room: base 1.00" in figure.alt


def test_files_are_written_by_name_and_kind(made, tmp_path):
    first = figures(made)[:1]
    assert [path.name for path in save(first, tmp_path / "new")] == ["uplift.svg", "uplift.png"]
    assert (tmp_path / "new" / "uplift.svg").read_text(encoding="utf-8") == svg(first[0], themed=False)
    with pytest.raises(SpecError, match="pdf: unknown; there are svg and png"):
        save(first, tmp_path, kinds=("pdf",))


def test_a_pair_says_once_what_both_have_in_common(tmp_path):
    text = reports.study_of(seeds=(0,), metrics=("chrf",)).replace("models: ./model", "models: [./one, ./two]")
    report = reports.report_of(tmp_path, reports.specs_of(tmp_path, text), files=False)
    (pairs,) = [figure for figure in figures(report) if figure.name == "pairs"]
    assert "full − lora ·" in svg(pairs).replace("\u00a0", " ")


def test_names_are_cut_in_the_middle_and_wrapped_to_a_width():
    name = "prefix num_virtual_tokens=16 learning_rate=0.001"
    assert text_width(cut(name, 100)) <= 100
    assert cut(name, 100).startswith("pref")
    assert cut(name, 100).endswith("0.001")
    assert all(text_width(line) <= 150 for line in wrapped(name, 150).split("\n"))
    assert wrapped("short", 150) == "short"


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [(0.0, True, "0"), (-1.5, False, "−1.5"), (2.0, True, "+2"), (1e-17, True, "0"), (2.5e7, False, "2.5e7")],
)
def test_numbers_at_axes_are_short(value, signed, shown):
    assert number(value, signed) == shown


def test_an_axis_of_equal_numbers_has_some_room():
    assert span([0.0, 0.0]) == (-1.0, 1.0)
    assert span([5.0, 5.0]) == (4.5, 5.5)


def test_a_logarithmic_axis_has_round_numbers():
    from matplotlib.axis import XAxis
    from matplotlib.figure import Figure

    axis: XAxis = Figure().add_subplot().xaxis
    log_ticks(axis, 3, 70)
    assert list(axis.get_majorticklocs()) == [5, 10, 20, 50]
    log_ticks(axis, 1e-3, 1e6)
    assert len(axis.get_majorticklocs()) <= 6
