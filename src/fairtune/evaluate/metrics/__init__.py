"""What is measured: one file a metric, one table of names. No torch.

A new metric is a new file here and a row in :data:`METRICS`.
"""

from __future__ import annotations

from fairtune.evaluate.metrics.bleu import Bleu
from fairtune.evaluate.metrics.chrf import Chrf
from fairtune.evaluate.metrics.cross_entropy import CrossEntropy
from fairtune.evaluate.metrics.exact_match import ExactMatch
from fairtune.evaluate.metrics.perplexity import Perplexity
from fairtune.evaluate.metrics.protocol import Floats, Metric, Outcome

METRICS: dict[str, Metric] = {
    "perplexity": Perplexity(),
    "cross_entropy": CrossEntropy(),
    "bleu": Bleu(),
    "chrf": Chrf(),
    "exact_match": ExactMatch(),
}

__all__ = ["METRICS", "Floats", "Metric", "Outcome"]
