"""Something that translates lines, and a memory of what it said."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairtune.data.examples import digest
from fairtune.errors import DataError, Problem, SpecError
from fairtune.records import write_atomically

_TOLD = 500
"""Characters of a failed command's last words."""


@dataclass(frozen=True)
class Translator:
    """Lines to as many lines.

    Attributes:
        identity: stands for everything that decides the translations: weights and settings, or a command and its files.
        at_once: lines a call; what is done is then kept, whatever happens to the rest. None for all.
    """

    identity: str
    translate: Callable[[Sequence[str]], list[str]]
    at_once: int | None = None


def translated(texts: Iterable[str], translator: Translator, cache: Path) -> dict[str, str]:
    """Each text in translation, line by line; white space around a line stays.

    Args:
        cache: a line that the same translator has translated before is found there.

    Raises:
        DataError: the translator fails.
    """
    asked = list(texts)
    lines = list(dict.fromkeys(line.strip() for text in asked for line in text.split("\n") if line.strip()))
    memory = _remembered(lines, translator, cache / hashlib.sha256(translator.identity.encode()).hexdigest()[:32])
    return {text: "\n".join(_put_in(line, memory) for line in text.split("\n")) for text in asked}


def _put_in(line: str, memory: dict[str, str]) -> str:
    words = line.strip()
    return line.replace(words, memory[words], 1) if words else line


def _remembered(lines: Sequence[str], translator: Translator, folder: Path) -> dict[str, str]:
    memory = _recalled(folder)
    new = [line for line in lines if line not in memory]
    step = translator.at_once or max(1, len(new))
    for start in range(0, len(new), step):
        asked = new[start : start + step]
        pairs = [[line, _one_line(said)] for line, said in zip(asked, translator.translate(asked), strict=True)]
        # A file a call, written whole: two processes that translate the same do not disturb each other.
        text = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{digest(text)}.jsonl", text)
        memory.update((line, said) for line, said in pairs)
    return memory


def _recalled(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob("*.jsonl"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").split("\n") if line]
    return dict(map(json.loads, lines))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def command_translator(command: Sequence[str], root: Path) -> Translator:
    """A program that reads lines on its standard input and writes as many to its standard output."""

    def translate(lines: Sequence[str]) -> list[str]:
        return _run(command, root, lines)

    return Translator(command_identity(command, root), translate)


def command_identity(command: Sequence[str], root: Path) -> str:
    """The command, and the content of those of its arguments that are files.

    Raises:
        SpecError: there is no such program.
    """
    if shutil.which(command[0]) is None and not (root / command[0]).is_file():
        raise SpecError(
            [
                Problem(
                    "augment.back_translation", f"command: no program '{command[0]}', neither installed nor in {root}"
                )
            ]
        )
    parts = []
    for argument in command:
        file = root / argument
        parts.append(hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else argument)
    return json.dumps(["command", *parts])


def _run(command: Sequence[str], root: Path, lines: Sequence[str]) -> list[str]:
    shown = " ".join(command)
    given = "".join(f"{line}\n" for line in lines).encode()
    try:
        done = subprocess.run(list(command), input=given, capture_output=True, cwd=root, check=False)
    except OSError as error:
        raise DataError(f"the translating command `{shown}` cannot be started: {error.strerror}") from None
    last = done.stderr.decode(errors="replace").strip()[-_TOLD:]
    if done.returncode != 0:
        raise DataError(f"the translating command `{shown}` ended with code {done.returncode}: {last or 'no message'}")
    try:
        said = done.stdout.decode("utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"the translating command `{shown}` wrote what is not UTF-8 (byte {error.start})") from None
    if len(said) != len(lines):
        raise DataError(
            f"the translating command `{shown}` was given {len(lines)} lines and wrote {len(said)}; it must write one "
            f"line for each{f'. It said: {last}' if last else ''}"
        )
    return said
