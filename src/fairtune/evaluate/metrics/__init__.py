"""What is measured: one file a metric, one table of names. No torch.

A new metric is a new file here and a row in :data:`METRICS`. Of a run, :func:`metric_of` knows its metrics.
"""

from __future__ import annotations

from fairtune.evaluate.metrics.benchmark import BenchmarkMetric
from fairtune.evaluate.metrics.bleu import Bleu
from fairtune.evaluate.metrics.chrf import Chrf
from fairtune.evaluate.metrics.cross_entropy import CrossEntropy
from fairtune.evaluate.metrics.exact_match import ExactMatch
from fairtune.evaluate.metrics.json_answers import JsonFields, JsonValid
from fairtune.evaluate.metrics.labels import LABELS
from fairtune.evaluate.metrics.numbers import NUMBERS
from fairtune.evaluate.metrics.pass_at_k import PassAtK
from fairtune.evaluate.metrics.perplexity import Perplexity
from fairtune.evaluate.metrics.protocol import Facts, Floats, Metric, Outcome, Trial
from fairtune.evaluate.metrics.rouge import ROUGE
from fairtune.evaluate.metrics.ter import Ter
from fairtune.evaluate.metrics.text import TEXT
from fairtune.evaluate.metrics.token_accuracy import TokenAccuracy
from fairtune.evaluate.metrics.token_f1 import TokenF1
from fairtune.evaluate.metrics.writing import WRITING
from fairtune.study import RunSpec

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Perplexity(),
        CrossEntropy(),
        TokenAccuracy(),
        *TEXT,
        Bleu(),
        Chrf(),
        Ter(),
        *ROUGE,
        TokenF1(),
        ExactMatch(),
        *LABELS,
        *NUMBERS,
        JsonValid(),
        JsonFields(),
        *WRITING,
        # The k of the paper, and the two between that others report.
        *(PassAtK(k) for k in (1, 5, 10, 100)),
    )
}


def metric_of(spec: RunSpec, name: str) -> Metric:
    """A metric of a run, by its name: everybody who has a run asks here, since a metric may depend on its task."""
    for benchmark in spec.benchmarks:
        for score in benchmark.scores:
            if score.name == name:
                return BenchmarkMetric(score)
    return METRICS[name].with_labels(spec.task.labels)


def metrics_of(spec: RunSpec) -> dict[str, Metric]:
    """All metrics of a run, by name."""
    return {name: metric_of(spec, name) for name in spec.scores}


__all__ = ["METRICS", "BenchmarkMetric", "Facts", "Floats", "Metric", "Outcome", "Trial", "metric_of", "metrics_of"]
