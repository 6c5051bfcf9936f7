"""Forms in which a run's model can be taken elsewhere: one file a form, one table of names. Importing is light."""

from __future__ import annotations

from fairtune.models.export.adapter import Adapter
from fairtune.models.export.gguf import Gguf
from fairtune.models.export.merged import Merged
from fairtune.models.export.protocol import ExportFormat, Finished

FORMATS: dict[str, ExportFormat] = {"adapter": Adapter(), "merged": Merged(), "gguf": Gguf()}

__all__ = ["FORMATS", "ExportFormat", "Finished"]
