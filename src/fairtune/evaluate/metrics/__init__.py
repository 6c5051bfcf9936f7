"""What is measured: one file a metric, one table of names. No torch.

A new metric is a new file here and a row in :data:`METRICS`. Of a run, :func:`metric_of` knows its metrics.
"""

from __future__ import annotations

from fairtune.evaluate.metrics.benchmark import BenchmarkMetric
from fairtune.evaluate.metrics.bleu import Bleu
from fairtune.evaluate.metrics.chrf import Chrf
from fairtune.evaluate.metrics.cross_entropy import CrossEntropy
from fairtune.evaluate.metrics.exact_match import ExactMatch
from fairtune.evaluate.metrics.pass_at_k import PassAtK
from fairtune.evaluate.metrics.perplexity import Perplexity
from fairtune.evaluate.metrics.protocol import Facts, Floats, Metric, Outcome, Trial
from fairtune.study import RunSpec

METRICS: dict[str, Metric] = {
    "perplexity": Perplexity(),
    "cross_entropy": CrossEntropy(),
    "bleu": Bleu(),
    "chrf": Chrf(),
    "exact_match": ExactMatch(),
    # The k of the paper, and the two between that others report.
    "pass_at_1": PassAtK(1),
    "pass_at_5": PassAtK(5),
    "pass_at_10": PassAtK(10),
    "pass_at_100": PassAtK(100),
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
