"""Tables for a paper: whole in LaTeX's eyes, whatever the names are."""

import re
from dataclasses import replace

import pytest

from fairtune.report import FORMATS
from fairtune.report.formats.latex import escaped
from tests import reports


def made(folder, methods=reports.SMALL, metrics=reports.METRICS, seeds=(0, 1), **more):
    return reports.report_of(folder, reports.specs_of(folder, reports.study_of(methods, metrics, seeds)), **more)


def whole(text):
    """Braces and dollars close; every line of a table has as many cells as its heading."""
    bare = re.sub(r"\\[\\{}$&#%_]", "", re.sub(r"^%.*", "", text, flags=re.MULTILINE))
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert text.count("\\begin{") == text.count("\\end{")
    for table in re.findall(r"\\toprule(.*?)\\bottomrule", text, re.DOTALL):
        rows = [line for line in table.split("\n") if line.endswith("\\\\")]
        cells = [
            len(re.findall(r"(?<!\\)&", row)) + int((re.search(r"multicolumn\{(\d+)", row) or "01")[1]) for row in rows
        ]
        assert len(set(cells)) == 1, rows
    return text


def test_there_are_a_table_of_scores_and_one_of_cost(tmp_path):
    text = whole(FORMATS["latex"](made(tmp_path)))
    assert text.count("\\begin{table}") == text.count("\\toprule") == 2
    assert "\\label{tab:made-scores}" in text
    assert "\\label{tab:made-cost}" in text
    assert (
        "method & perplexity $\\downarrow$ & bleu $\\uparrow$ & chrf $\\uparrow$ & exact\\_match $\\uparrow$ \\\\"
        in text
    )
    assert re.search(r"lora & \$[\d.]+_\{\\,\[[\d.]+,\\,[\d.]+\]\}\^\{\\blacktriangle\}\$ &", text)
    assert re.search(r"base & \$[\d.]+_\{\\,\[[\d.]+,\\,[\d.]+\]\}\$ &", text)
    assert re.search(r"full & 2\.0M & \d+\.\ds & 900 & \d\.\d\d GiB & 900 MiB & 940 MiB \\\\", text)


def test_the_caption_says_how_intervals_and_tests_were_made_and_of_how_many(tmp_path):
    text = FORMATS["latex"](made(tmp_path))
    assert "means over 2 seeds, with 95\\,\\% intervals in brackets (percentile bootstrap). Items: 100. " in text
    assert "$\\blacktriangle$ better than the untouched model at 5\\,\\% (approximate randomisation; p-values" in text


def test_a_method_without_results_says_why(tmp_path):
    specs = reports.specs_of(tmp_path, reports.study_of(seeds=(0,)))
    text = whole(FORMATS["latex"](reports.report_of(tmp_path, specs, failed=[specs[1].run_id])))
    assert "full & \\multicolumn{4}{l}{\\emph{out of memory}} \\\\" in text
    assert "full & -- & -- & -- & -- & -- & -- \\\\" in text
    assert "Scores of \\emph{made}: one seed, with" in text


def test_many_metrics_are_several_tables(tmp_path):
    text = whole(FORMATS["latex"](made(tmp_path, metrics=(*reports.METRICS, "rouge_l"))))
    assert text.count("\\toprule") == 3
    assert "\\label{tab:made-scores-2}" in text


def test_a_study_without_an_untouched_model_or_results_is_whole_too(tmp_path):
    whole(FORMATS["latex"](made(tmp_path, methods=reports.SMALL[1:])))
    specs = reports.specs_of(tmp_path, reports.study_of())
    whole(FORMATS["latex"](reports.report_of(tmp_path, specs, failed=[spec.run_id for spec in specs])))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("100 % of a_b & #1 {x}", "100 \\% of a\\_b \\& \\#1 \\{x\\}"),
        ("C:\\dir ~ ^ $5", "C:\\textbackslash{}dir \\textasciitilde{} \\textasciicircum{} \\$5"),
        ("−1 ▲ · ≈ –", "$-$1 $\\blacktriangle$ $\\cdot$ $\\approx$ --"),
        ("[a] *b", "{[}a{]} {*}b"),
        ("niño\x00\nfin", "niño fin"),
    ],
)
def test_every_sign_of_latex_is_printed_as_it_is(text, shown):
    assert escaped(text) == shown


def test_a_verdict_of_these_runs_alone_has_a_footnote(tmp_path):
    report = made(tmp_path)
    alone = tuple(replace(each, about="these runs") for each in report.comparisons)
    text = whole(FORMATS["latex"](replace(report, comparisons=alone)))
    assert "^{\\blacktriangle 1}$" in text
    assert "$^1$ Of these very runs: other seeds were not shown to agree." in text
    assert "$^1$" not in FORMATS["latex"](report)


def test_intervals_that_were_made_in_several_ways_are_told_by_metric(tmp_path):
    report = made(tmp_path, seeds=(0,))
    for row in report.rows:
        row.values["chrf"] = row.values["chrf"].model_copy(update={"interval": "BCa bootstrap"})
    assert (
        "(perplexity: percentile bootstrap; bleu: percentile bootstrap; chrf: BCa bootstrap; exact\\_match:"
        in whole(FORMATS["latex"](report))
    )
