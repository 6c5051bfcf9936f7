"""Whether this machine has a sandbox: found out by a program that tries to break out."""

from __future__ import annotations

import functools
import platform
import socket
import sys
import tempfile
from pathlib import Path

from fairtune.errors import FairtuneError
from fairtune.evaluate.sandbox.run import Limits, run_code

_ESCAPES = Path(__file__).parent / "escapes.py"
# Seconds enough for a machine that is busy; the probe itself takes a fifth of one.
_LIMITS = Limits(seconds=30.0)


@functools.cache
def available() -> str | None:
    """Why there is no sandbox here; None where there is one, and nothing got out of it."""
    if not sys.platform.startswith("linux"):
        return f"it is made of Linux's namespaces, and this is {platform.system()}"
    with tempfile.TemporaryDirectory(prefix="fairtune-") as folder, socket.create_server(("127.0.0.1", 0)) as door:
        witness = Path(folder) / "witness"
        witness.write_text("hidden", encoding="ascii")
        facts = f"WITNESS, FOLDER, DOOR = {str(witness)!r}, {folder!r}, {door.getsockname()!r}\n"
        try:
            verdict = run_code(facts + _ESCAPES.read_text(encoding="utf-8"), _LIMITS)
        except FairtuneError as error:
            return str(error)
    return None if verdict.passed else f"a program tried to break out of it: {verdict.reason}"


def confinement(confined: bool) -> str:
    """What is said of a score beside it."""
    if confined:
        return "sandbox: namespaces, seccomp and limits"
    return "unsafe: limits of time, memory and file size only"
