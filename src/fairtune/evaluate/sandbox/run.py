"""A program run by itself, under limits that are held from outside."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import selectors
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fairtune.errors import FairtuneError
from fairtune.units import format_bytes

_HERE = Path(__file__).parent
_READY = b"ready\n"
# To start, and to be gone: nothing that a program can prolong.
_START_SECONDS, _END_SECONDS = 60.0, 5.0
_LOOK_SECONDS = 0.05
_KEPT = 4096
_LAST_CHUNKS = 64
_CHUNK = 65536
# One thread a library, as there are few processes; one arena, since each takes 64 MiB of addresses.
_ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108
    "PATH": "/usr/bin:/bin",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    ``seconds``: from the start of its interpreter, by the clock. ``memory``: bytes of addresses of each process, and
    bytes in memory of all together. ``processes``: with threads, at one time. ``file_size``: bytes of all its files
    together, and of what it prints.
    """

    seconds: float = 10.0
    memory: int = 512 * 2**20
    processes: int = 16
    file_size: int = 16 * 2**20


@dataclass(frozen=True)
class Verdict:
    """Whether a program got to its end. ``output``: the last of what it printed, stdout and stderr as they came."""

    passed: bool
    reason: str
    seconds: float
    output: str = ""


def run_code(program: str, limits: Limits | None = None, confined: bool = True) -> Verdict:
    """Runs a Python program, tests included, in an interpreter of its own; it passes if it reaches its last line.

    Every other end is a failed item with a reason: an exception, an exit before the last line, a signal, a limit. What
    a program prints decides nothing. Nothing of it is left when this returns.

    How the end is known: a token that changes with each run is put into a pipe, and whoever runs the program reads it
    only behind the last line. This guards against everything that programs do by chance or in the style of scripts
    (``sys.exit``, ``os._exit``, printing "passed", replaced functions of ``os``), not against one that is written to
    look for open pipes and take the token, nor against answers that compare equal to everything: who runs a program and
    its tests in one interpreter cannot.

    Args:
        confined: in namespaces of its own (Linux, see :func:`~fairtune.evaluate.sandbox.available`). Without, only
            time, memory of a process and file sizes are limited; the program may do all that the user may. Where the
            system is not Linux, a process of it that left its group (``setsid``) then lives on.

    Raises:
        FairtuneError: the process could not be set up; nothing was run.
    """
    if os.name != "posix":
        raise FairtuneError("programs are run on Linux and macOS only")
    with contextlib.ExitStack() as closing:
        room = None if confined else closing.enter_context(tempfile.TemporaryDirectory(prefix="fairtune-"))
        run = _Run(program, limits or Limits(), confined, room)
        closing.callback(run.close)
        run.follow()
        return run.verdict()


def _readable() -> list[str]:
    """Where the interpreter and its packages lie.

    Of an environment only these, since it may have been made in a project's own folder, beside its data.
    """
    base = {sys.base_prefix, sys.base_exec_prefix}
    if sys.prefix in base:
        return sorted(base)
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    own = {str(Path(sys.executable).parent), str(Path(sys.prefix) / "pyvenv.cfg")}
    return sorted(base | packages | own)


@dataclass
class _Stream:
    """What came through a pipe: all of it counted, its last or its first bytes kept."""

    end: int
    first: bool = False
    kept: bytes = b""
    count: int = 0

    def take(self, content: bytes) -> None:
        self.count += len(content)
        kept = self.kept + content
        self.kept = kept[:_KEPT] if self.first else kept[-_KEPT:]


class _Run:
    """A program that is running, seen from outside."""

    def __init__(self, program: str, limits: Limits, confined: bool, room: str | None) -> None:
        self._limits = limits
        self._program = program.encode("utf-8", "replace")
        self._token = secrets.token_hex(16).encode()
        self._ended_by: str | None = None
        self._began = time.monotonic()
        self._ready = False
        self._open: set[int] = set()
        try:
            self._start(asdict(limits), confined, room)
        except OSError as error:
            for end in tuple(self._open):
                self._close(end)
            raise FairtuneError(f"the process of a program could not be set up: {error}") from error

    def _start(self, limits: dict[str, float], confined: bool, room: str | None) -> None:
        token, put = self._pipe()
        verdict, tell = self._pipe()
        alive, live = self._pipe()
        os.write(put, self._token)
        # Not -I, which would take the seed of hashes from the environment too; there is nothing else in it.
        command = [sys.executable, "-s", "-B", "-c", (_HERE / "tested.py").read_text(encoding="utf-8")]
        asked = {
            **limits,
            "confined": confined,
            "readable": _readable(),
            "environment": _ENVIRONMENT,
            "alive": live,
            "command": [*command, str(token), str(tell)],
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(_HERE / "inside.py"), json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(token, tell, live),
            start_new_session=True,
            cwd=room or "/",
            env=_ENVIRONMENT,
        )
        for theirs in (token, tell, live, put):
            self._close(theirs)
        self._output, self._told, self._life = _Stream(self._fd("stdout")), _Stream(verdict, True), _Stream(alive)

    def follow(self) -> None:
        """Feeds the program, listens to it, and ends it where a limit is passed."""
        with selectors.DefaultSelector() as selector:
            for stream in (self._output, self._told, self._life):
                os.set_blocking(stream.end, False)
                selector.register(stream.end, selectors.EVENT_READ, functools.partial(self._hear, selector, stream))
            feed = self._fd("stdin")
            os.set_blocking(feed, False)
            selector.register(feed, selectors.EVENT_WRITE, functools.partial(self._feed, selector, feed))
            # The launcher's own end of a pipe closes with it: seen without reaping it, so its number stays its own.
            while self._life.end in selector.get_map() and self._ended_by is None:
                for key, _ in selector.select(_LOOK_SECONDS):
                    key.data()
                self._ended_by = self._beyond()
        self._seconds = time.monotonic() - self._began
        self._end()

    def verdict(self) -> Verdict:
        """What is to be said of it, when it has ended."""
        output = self._output.kept.decode("utf-8", "replace").strip()
        if not self._told.kept.startswith(_READY):
            reason = _last_line(output) or self._ended_by or "no reason told"
            raise FairtuneError(f"the process of a program could not be set up: {reason}")
        code = self._process.returncode
        proved = self._told.kept == _READY + self._token
        if self._ended_by is None and code == 0 and proved:
            return Verdict(True, "passed", self._seconds, output)
        return Verdict(False, self._ended_by or _reason(code, output), self._seconds, output)

    def close(self) -> None:
        """Whatever happened, no process and no pipe is left."""
        if self._process.returncode is None:
            self._end()
        for end in tuple(self._open):
            self._close(end)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _beyond(self) -> str | None:
        """The limit that is passed, if one is."""
        limits, now = self._limits, time.monotonic()
        if not self._ready:
            if self._told.kept.startswith(_READY):
                self._ready, self._began = True, now
            elif now - self._began > _START_SECONDS:
                return "it did not start"
            return None
        if now - self._began > limits.seconds:
            return f"time: not done after {limits.seconds:g} s"
        if self._output.count > limits.file_size:
            return f"output: more than {format_bytes(limits.file_size)} printed"
        if _resident(self._process.pid) > limits.memory:
            return f"memory: more than {format_bytes(limits.memory)} in all processes"
        return None

    def _end(self) -> None:
        """Kills the program, its init and the launcher, in this order, so that each is waited for by its own parent.

        The launcher is not reaped before its group is killed: until then nobody else can have its number.
        """
        deadline = time.monotonic() + _END_SECONDS
        os.kill(self._process.pid, signal.SIGTERM)
        while self._is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._output, self._told):
            for _ in range(_LAST_CHUNKS):
                if not self._take(stream):
                    break

    def _is_alive(self) -> bool:
        return self._take(self._life) is not False

    def _hear(self, selector: selectors.BaseSelector, stream: _Stream) -> None:
        if self._take(stream) is False:
            selector.unregister(stream.end)

    def _take(self, stream: _Stream) -> bool | None:
        """Whether there was something; False at the end of the pipe, None where there is nothing yet."""
        try:
            content = os.read(stream.end, _CHUNK)
        except BlockingIOError:
            return None
        stream.take(content)
        return bool(content)

    def _feed(self, selector: selectors.BaseSelector, feed: int) -> None:
        """Gives the program's text, as much as the pipe takes."""
        with contextlib.suppress(BrokenPipeError):  # it has ended already; its exit code says how
            self._program = self._program[os.write(feed, self._program) :]
            if self._program:
                return
        selector.unregister(feed)
        self._process.stdin.close()  # type: ignore[union-attr]

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._open.update(ends)
        return ends

    def _close(self, end: int) -> None:
        self._open.discard(end)
        os.close(end)

    def _fd(self, name: str) -> int:
        return int(getattr(self._process, name).fileno())


def _reason(code: int, output: str) -> str:
    """Why a program did not get to its end, by its exit code: what Python said, where it said something."""
    if code == 0:
        return "it ended by itself before its tests were done"
    if code == 128 + signal.SIGXCPU:
        return "time: too many seconds of the processor"
    for found in signal.Signals:
        if code == 128 + found:
            return f"signal {found.name}"
    return _last_line(output) or f"exit code {code}"


def _last_line(output: str) -> str:
    return output.rsplit("\n", 1)[-1][:200]


def _resident(process: int) -> int:
    """Bytes in memory of a process and all below it; pages that several share count for each. 0 but on Linux."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
        threads = [*Path(f"/proc/{process}/task").iterdir()]
        below = [pid for thread in threads for pid in (thread / "children").read_text(encoding="ascii").split()]
    except OSError:  # it has ended, or this is another system
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_resident(int(pid)) for pid in below)
