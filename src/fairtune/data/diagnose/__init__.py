"""Faults of data that ruin a training, found before it: one small function a fault, and a table of their names."""

from __future__ import annotations

from fairtune.data.diagnose import template, tokens
from fairtune.data.diagnose.finding import Detector, Finding, Material, Severity

DETECTORS: dict[str, Detector] = {
    "template_twice": template.template_twice,
    "other_template": template.other_template,
    "turns_dropped": template.turns_dropped,
    "chat_without_template": template.chat_without_template,
    "text_for_a_chat_model": template.text_for_a_chat_model,
    "special_in_content": template.special_in_content,
    "doubled_bos": tokens.doubled_bos,
    "missing_bos": tokens.missing_bos,
    "doubled_eos": tokens.doubled_eos,
    "end_not_supervised": tokens.end_not_supervised,
    "end_not_special": tokens.end_not_special,
    "answers_lost": tokens.answers_lost,
    "beyond_context": tokens.beyond_context,
    "answers_cut": tokens.answers_cut,
    "empty_answers": tokens.empty_answers,
    "unknown_tokens": tokens.unknown_tokens,
    "earlier_answers_not_learned": tokens.earlier_answers_not_learned,
    "answers_without_words": tokens.answers_without_words,
    "answer_in_context": tokens.answer_in_context,
    "system_added": template.system_added,
}
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")
# Tokenise everything once more, for a note.
_SLOW = {"answer_in_context"}
_IDS = 5


def diagnose(material: Material, quick: bool = False) -> list[Finding]:
    """What every detector finds, the worst first.

    Args:
        quick: leave out what takes as long as tokenising did; no error or warning is among it.
    """
    names = [name for name in DETECTORS if not (quick and name in _SLOW)]
    found = [finding for name in names if (finding := _finding(name, material)) is not None]
    return sorted(found, key=lambda finding: _ORDER.index(finding.severity))


def _finding(name: str, material: Material) -> Finding | None:
    fault = DETECTORS[name](material)
    if fault is None:
        return None
    count = len(fault.ids)
    return Finding(name, fault.severity, count, count / len(material.examples), fault.ids[:_IDS], fault.text)


__all__ = ["DETECTORS", "Finding", "Material", "Severity", "diagnose"]
