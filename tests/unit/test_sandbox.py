"""Programs that would do harm: each ends as a failed item, within its limits, and nothing of it is left."""

from __future__ import annotations

import gzip
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fairtune.errors import FairtuneError
from fairtune.evaluate.sandbox import Limits, available, run, run_code

_AMPLE = Limits(seconds=5.0)


@pytest.fixture(scope="module", autouse=True)
def _sandbox():
    reason = available()
    if reason:
        pytest.skip(f"no sandbox here: {reason}")


@pytest.fixture
def nothing_left(monkeypatch):
    """Every process of the test's programs has a mark in its environment; at the end there is none."""
    mark = uuid.uuid4().hex
    monkeypatch.setitem(run._ENVIRONMENT, "MARK", mark)
    yield
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if mark.encode() in _bytes(path)]


def _bytes(path):
    try:
        return path.read_bytes()
    except OSError:  # ended, or somebody else's
        return b""


_DEAD = "it ended by itself before its tests were done"
_FORKS = "import os, time\nfor _ in range({count}):\n    if os.fork() == 0:\n        {child}\n        os._exit(0)\n"
_TELLING = """
import contextlib, os
for end in range(3, 64):
    with contextlib.suppress(OSError):
        os.write(end, b"ready\\n" * 9999)
assert False
"""
ATTACKS = {
    "an endless loop": ("while True:\n    pass", "time: not done after 0.5 s"),
    "sleep": ("import time\ntime.sleep(1000)", "time: not done after 0.5 s"),
    "a fork bomb": ("import os\nwhile True:\n    os.fork()", "BlockingIOError"),
    "a fork bomb that goes on": (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "time: not done after 0.5 s",
    ),
    "threads without end": (
        "import threading, time\nwhile True:\n    threading.Thread(target=time.sleep, args=(50,)).start()",
        "can't start new thread",
    ),
    "10 GB": ("bytearray(10 * 10**9)", "MemoryError"),
    "10 GB that nobody counts": ("import os\nos.memfd_create('a')", "PermissionError"),
    "many processes with much memory each": (
        _FORKS.format(count=12, child="x = bytearray(300 * 2**20); time.sleep(50)") + "time.sleep(50)",
        "memory: more than 512 MiB in all processes",
    ),
    "a file without end": ("f = open('a', 'wb')\nwhile True:\n    f.write(bytes(2**20))", "OSError: [Errno 2"),
    "files without end": (
        "n = 0\nwhile True:\n    n += 1\n    open(str(n), 'w').write('x' * 9999)",
        "No space left on device",
    ),
    "printing for ever": ("while True:\n    print('x' * 1000)", "output: more than 16 MiB printed"),
    "writing outside": ("open('/usr/lib/x', 'w')", "Read-only file system"),
    "writing into the root": ("import os\nos.mkdir('/x')", "Read-only file system"),
    "writing over its packages": ("import json\nopen(json.__file__, 'a')", "Error: [Errno"),
    "changing what is mounted": (
        "import ctypes, os\nassert ctypes.CDLL(None).mount(b'none', b'/', None, 32, None) == 0",
        "AssertionError",
    ),
    "reading the passwords": ("open('/etc/shadow')", "FileNotFoundError"),
    "looking at other processes": ("import os\nos.listdir('/proc')", "FileNotFoundError"),
    "a socket": ("import socket\nsocket.create_server(('127.0.0.1', 0))", "PermissionError"),
    "an abstract socket": ("import socket\nsocket.socket(socket.AF_UNIX).bind('\\0x')", "PermissionError"),
    "killing process 1": ("import os\nos.kill(1, 9)\nos.kill(os.getppid(), 9)\nos.kill(os.getpid(), 9)", "SIGKILL"),
    "killing all": ("import os\nos.kill(-1, 9)\nraise SystemExit(3)", ""),
    "looking into process 1": ("import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0", "AssertionError"),
    "becoming the superuser": ("import os\nos.setuid(0)", ""),
    "a namespace of its own": ("import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0", "AssertionError"),
    "more than its limits": (
        "import resource as r\nr.setrlimit(r.RLIMIT_NPROC, (999, 999))",
        "not allowed to raise maximum limit",
    ),
    "sys.exit before the tests": ("import sys\nprint('passed')\nsys.exit(0)\nassert False", _DEAD),
    "os._exit before the tests": ("import os\nos._exit(0)\nassert False", _DEAD),
    "an exit code of its own": ("import os\nos._exit(213)", "exit code 213"),
    "a crash": ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
    "no Python": ("this is no program", "SyntaxError"),
    "telling what it cannot know": (_TELLING, ""),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.usefixtures("nothing_left")
def test_a_program_that_does_harm_fails_within_its_limits_and_leaves_nothing(name):
    program, reason = ATTACKS[name]
    began = time.monotonic()
    verdict = run_code(program, Limits(0.5) if reason.startswith("time") else _AMPLE)
    assert not verdict.passed
    # Forked processes all print their end, so the last line may be of any of them, torn by the others.
    assert reason in f"{verdict.reason}\n{verdict.output}"
    assert time.monotonic() - began < 8  # the rest is for a busy machine
    assert len(verdict.output) <= 4096


@pytest.mark.usefixtures("nothing_left")
def test_what_a_program_leaves_running_ends_with_it():
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(1000)\n"
    assert run_code(program, _AMPLE).passed


def test_files_of_the_user_are_not_there(tmp_path):
    (tmp_path / "secret").write_text("hidden")
    told = (
        "import os\nfor place in {places!r}:\n    assert not os.path.exists(place), place\nassert os.listdir('.') == []"
    )
    places = [str(tmp_path), str(tmp_path / "secret"), __file__, "/etc/passwd", "/run", "/var", "/sys"]
    verdict = run_code(told.format(places=places), _AMPLE)
    assert verdict.passed, verdict


def test_a_listening_socket_of_the_machine_cannot_be_reached():
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.settimeout(0.1)
        assert not run_code(f"import socket\nsocket.create_connection({door.getsockname()!r})", _AMPLE).passed
        with pytest.raises(TimeoutError):
            door.accept()


def test_a_program_has_as_many_processes_as_it_may():
    program = "import os, time\n" + "for _ in range({}):\n    if os.fork() == 0:\n        time.sleep(9)\n"
    assert run_code(program.format(3), Limits(1.0, processes=4)).passed
    assert not run_code(program.format(4), Limits(1.0, processes=4)).passed


def test_ordinary_programs_pass_and_their_output_is_kept():
    program = "import numpy, multiprocessing, dataclasses\n@dataclasses.dataclass\nclass A:\n    x: 'int' = 1\n"
    program += "open('a', 'w').write('b')\nmultiprocessing.Lock()\nassert open('a').read() == 'b'\nprint('é', A())"
    verdict = run_code(program, Limits(5.0))
    assert verdict.passed, verdict
    assert verdict.output == "é A(x=1)"


def test_an_answer_may_do_what_it_likes_when_it_is_run_as_a_script():
    assert run_code("if __name__ == '__main__':\n    print(input())", _AMPLE).passed


def test_hashes_are_the_same_every_time():
    one, two = (run_code("print(hash('a'), list({'a', 'b', 'c', 'd'}))", _AMPLE).output for _ in range(2))
    assert one == two


def test_a_program_longer_than_a_pipe_is_whole():
    verdict = run_code("x = 1\n" * 50_000 + "assert x == 2", _AMPLE)
    assert verdict.reason.startswith("AssertionError")


def test_without_the_sandbox_time_and_memory_are_limited_still(tmp_path):
    assert run_code("import os\nassert os.listdir('.') == []\nassert os.path.exists('/proc')", _AMPLE, False).passed
    assert "time" in run_code("while True:\n    pass", Limits(0.5), False).reason
    assert "MemoryError" in run_code("bytearray(10**10)", _AMPLE, False).reason
    left = run_code("import os, time\nif os.fork() == 0:\n    time.sleep(50)", _AMPLE, False)
    assert left.passed
    assert left.seconds < 4


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it lives on")
def test_without_the_sandbox_a_process_that_left_its_group_is_ended_too(nothing_left):
    flee = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(50)\n"
    assert run_code(flee + "    os._exit(0)\nos.wait()", _AMPLE, False).passed
    assert "time" in run_code(flee + "    time.sleep(50)\ntime.sleep(50)", Limits(0.5), False).reason


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="this interpreter has no environment")
def test_of_an_environment_only_interpreter_and_packages_are_shown():
    """It may have been made in the folder of a project."""
    script = f"import os, sys\nprint(os.listdir(sys.prefix), os.listdir({str(Path(sys.prefix) / 'lib')!r}))"
    verdict = run_code(script, _AMPLE)
    assert verdict.passed, verdict
    shown = set(verdict.output.replace("'", "").replace("[", "").replace("]", "").replace(" ", ",").split(","))
    assert shown <= {"", "bin", "lib", "lib64", "pyvenv.cfg", f"python3.{sys.version_info[1]}"}


def test_a_place_that_cannot_be_made_is_no_failed_item(monkeypatch):
    monkeypatch.setattr(run, "_readable", lambda: ["/usr"])
    monkeypatch.setattr(sys, "prefix", "/nowhere")
    if sys.executable.startswith("/usr/"):
        pytest.skip("this interpreter is the system's own, which is always shown")
    with pytest.raises(FairtuneError, match="could not be set up"):
        run_code("pass", _AMPLE)


@pytest.mark.skipif(os.getuid() != 0, reason="needs the superuser, to be somebody else")
@pytest.mark.parametrize("who", ["somebody", "a superuser who may not mount"])
def test_the_sandbox_is_there_for_others_than_the_superuser(who):
    """By the system's own interpreter: nobody else may enter the superuser's folder."""
    system = Path("/usr/bin/python3")
    if not system.exists():
        pytest.skip("no interpreter that others may read")
    script = "from fairtune.evaluate.sandbox import available; print(available())"
    less = ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps=-sys_admin"]
    result = subprocess.run(
        [*([] if who == "somebody" else less), str(system), "-B", "-c", script],
        env={"PYTHONPATH": str(Path(run.__file__).parents[3])},
        user=12345 if who == "somebody" else None,
        group=12345 if who == "somebody" else None,
        extra_groups=[] if who == "somebody" else None,
        capture_output=True,
        text=True,
    )
    if "Permission denied" in result.stderr or "No module" in result.stderr:
        pytest.skip("the code itself cannot be read by others")
    assert result.stdout == "None\n", result.stderr


def _leetcode(folder):
    path = folder / "leetcode" / "LeetCodeDataset-v0.2.0-test.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _verdicts(rows):
    from fairtune.data import Row
    from fairtune.data.shapes import Reading, read_examples
    from fairtune.data.sources import Faults

    names = {"prompt": "query", "tests": "test", "prelude": "prompt", "entry_point": "entry_point"}
    made = [Row(row, f"row {index}") for index, row in enumerate(rows)]
    examples = list(read_examples(made, Reading("prompt_completion", columns=names), Faults()))
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda example: run_code(example.checks.program(example.answer)), examples))


def test_ten_reference_solutions_pass(shared_data):
    assert all(verdict.passed for verdict in _verdicts(_leetcode(shared_data)[:10]))


@pytest.mark.slow
def test_all_reference_solutions_pass(shared_data):
    verdicts = _verdicts(_leetcode(shared_data))
    assert sum(verdict.passed for verdict in verdicts) == len(verdicts) == 200
