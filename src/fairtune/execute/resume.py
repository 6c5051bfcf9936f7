"""An interrupted training goes on: what is kept of it, what must be the same, and what the record says."""

from __future__ import annotations

import torch

import fairtune
from fairtune.execute.curve import Curve
from fairtune.execute.origin import utc_now
from fairtune.execute.phases import PhaseMeter
from fairtune.methods import Course
from fairtune.models.device import device_name
from fairtune.records import PhaseCost, Resumption, RunFolder, package_versions, python_version
from fairtune.study import RunSpec
from fairtune.train.checkpoint import Checkpoints
from fairtune.train.parallel import Group

_NOT_IN_TRAINING = {"sacrebleu", "babel"}


class Attempt:
    """One attempt at a training, which may not be the first.

    Attributes:
        checkpoints: None where the study wants none.
        resumed: every attempt that went on from another, this one included.
    """

    def __init__(
        self, spec: RunSpec, folder: RunFolder, course: Course, meter: PhaseMeter, curve: Curve, group: Group
    ) -> None:
        self.resumed: tuple[Resumption, ...] = ()
        self.checkpoints: Checkpoints | None = None
        self._meter, self._curve = meter, curve
        if spec.checkpoint is not None:
            identity, circumstances = _identity(spec, course, meter.device), _circumstances(meter.device)
            self.checkpoints = Checkpoints(
                folder.checkpoints, spec.checkpoint, identity, circumstances, aside=self._beside, group=group
            )
            self._take_up(self.checkpoints)

    def _take_up(self, checkpoints: Checkpoints) -> None:
        """Curve, seconds and peak of the attempts before, up to the checkpoint that is found."""
        checkpoints.look()
        if checkpoints.found:
            beside = checkpoints.beside
            self._meter.costs["train"] = PhaseCost.model_validate(beside["cost"])
            self._curve.take_over(beside["curve"])
            self.resumed = tuple(Resumption.model_validate(each) for each in beside["resumed"])
        if checkpoints.found or checkpoints.remarks:
            now = Resumption(update=checkpoints.update, at=utc_now(), remarks=tuple(checkpoints.remarks))
            self.resumed = (*self.resumed, now)

    def _beside(self) -> dict[str, object]:
        return {
            "cost": self._meter.so_far("train").model_dump(),
            "curve": self._curve.so_far(),
            "resumed": [each.model_dump() for each in self.resumed],
        }


def _identity(spec: RunSpec, course: Course, device: torch.device) -> dict[str, object]:
    """What must be the same. The run's id stands for weights, data, recipe and seed."""
    return {
        "run": spec.run_id,
        "updates": course.updates,
        # A teacher that was done again, elsewhere, may teach otherwise under the same id.
        "lessons": course.lessons.name if course.lessons else None,
        "device": device.type,
        "strategy": spec.parallel.strategy if spec.ranks > 1 else None,
        "fairtune": fairtune.__version__,
        "packages": {name: version for name, version in package_versions().items() if name not in _NOT_IN_TRAINING},
    }


def _circumstances(device: torch.device) -> dict[str, object]:
    """What may round otherwise, and is no reason to lose hours."""
    return {"threads": torch.get_num_threads(), "device name": device_name(device), "Python": python_version()}
