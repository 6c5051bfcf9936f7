"""The table of devices, for the terminal, programs and the documentation: one source for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fairtune.plan.calibration import calibration_of
from fairtune.plan.devices import DEVICES, DTYPES, Device
from fairtune.units import format_bytes

_GIGAFLOPS = {dtype: f"{dtype} GFLOP/s" for dtype in DTYPES}
_SOURCED = ("memory_bytes", *DTYPES, "bandwidth", "interconnect")


def with_those_here(here: Iterable[Device]) -> dict[str, Device]:
    """All devices by name; those of this machine, which may have no profile, as they really are."""
    return {**DEVICES, **{device.name: device for device in here}}


def device_rows(devices: Mapping[str, Device], here: Iterable[Device]) -> list[dict[str, Any]]:
    """A row a device, for people."""
    names = {device.name for device in here}
    return [{**_row(device), "here": "✓" if device.name in names else None} for device in devices.values()]


def device_json(
    devices: Mapping[str, Device], here: Iterable[Device], rates: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """A row a device, for programs: bytes, FLOP/s, bytes/s.

    Args:
        rates: the products that were timed on this machine's processor, for its row.
    """
    names = {device.name for device in here}
    rows = [
        {**device.as_json(), "here": device.name in names, "calibrated": _calibrated(device)}
        for device in devices.values()
    ]
    return [{**row, "measured": rates} if row["kind"] == "cpu" else row for row in rows]


def calibration_rows(devices: Mapping[str, Device]) -> list[dict[str, Any]]:
    """What earlier runs on this machine say of devices: bytes of the runtime, and seconds over those predicted."""
    found = []
    places = [(device, device.name) for device in devices.values()]
    places += [(device, f"{device.name} in 16 bits") for device in devices.values() if device.kind == "cpu"]
    for device, place in places:
        calibration = calibration_of(place, device.title)
        if not calibration.runs:
            continue
        for phase, size in calibration.runtime.items():
            times = calibration.speed.get(phase)
            told = {"runtime": format_bytes(size), "seconds": "–" if times is None else f"× {times:.2f}"}
            found.append({"device": place, "phase": phase, **told, "runs": calibration.runs})
    return found


def _calibrated(device: Device) -> dict[str, Any]:
    """What is added to each phase besides what is simulated; from runs on this machine, or as it ships (0 runs)."""
    found = calibration_of(device.name, device.title)
    return {"runs": found.runs, "runtime_bytes": dict(found.runtime), "seconds_factor": dict(found.speed)}


def rate_rows(rates: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was timed on this machine's processor, a row a number of rows of the product."""
    timed = [product for product in rates["products"] if product["streamed"]]
    largest = max(product["elements"] for product in timed)
    found: dict[int, dict[str, Any]] = {}
    for product in timed:
        if product["elements"] == largest:
            row = found.setdefault(product["least"], {"rows": product["least"], **dict.fromkeys(_GIGAFLOPS.values())})
            row[_GIGAFLOPS[product["dtype"]]] = _scaled(product["flops"], 1e9)
    return [found[rows] for rows in sorted(found)]


def markdown_page() -> str:
    """The table, and where each figure is from: `fairtune devices --markdown` prints it, for docs/devices.md."""
    sections = "\n".join(_section(device) for device in DEVICES.values() if device.kind != "cpu")
    return f"{_table()}\n## Assumed\n\n{_assumed()}\n## Where each figure is from\n\n{sections}"


def _row(device: Device) -> dict[str, Any]:
    return {
        "name": device.name,
        "memory": format_bytes(device.memory_bytes),
        **{f"{dtype} TFLOP/s": _scaled(device.flops[dtype], 1e12) for dtype in DTYPES},
        "memory GB/s": _scaled(device.bandwidth, 1e9),
        "to others GB/s": _scaled(device.interconnect, 1e9),
        "device": device.title,
    }


def _scaled(value: float | None, unit: float) -> float | None:
    """Three digits or so: 0.131, 2.53, 1008."""
    return None if value is None else float(f"{value / unit:.4g}")


def _table() -> str:
    rows = [_row(device) for device in DEVICES.values() if device.kind != "cpu"]
    lines = [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    for row in rows:
        name, *cells = row.values()
        lines.append(f"| `{name}` | {' | '.join(map(_cell, cells))} |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _assumed() -> str:
    """What is taken to be the same for every GPU."""
    some = next(device for device in DEVICES.values() if device.kind == "cuda")
    return (
        f"* `achieved` {some.achieved:g}: {some.sources['achieved']}.\n"
        f"* `context_bytes` {format_bytes(some.context_bytes)}: {some.sources['context_bytes']}.\n"
    )


def _section(device: Device) -> str:
    """Figures that are from one place share a line."""
    by_source: dict[str, list[str]] = {}
    for figure in _SOURCED:
        by_source.setdefault(device.sources[figure], []).append(figure.removesuffix("_bytes"))
    lines = [f"* {', '.join(figures)}: {source}." for source, figures in by_source.items()]
    return "\n".join([f"### `{device.name}`: {device.title}", "", *lines, ""])
