"""Starts a program where it can do no harm. A script: run by its path, it imports nothing but the standard library.

Linux's namespaces are entered by a process of one thread, which the process of a run is not; so this is a process of
its own, and everything is done by system calls through ctypes: ``os.unshare`` is there from Python 3.12 on,
``unshare(1)`` and bubblewrap are not on every machine, and the first of them builds no root file system.

Three processes, each the child of the one before:

1. the launcher enters the namespaces, waits, and ends with the exit code of the program;
2. init, process 1 of the new process namespace, builds a root file system, gives up every right, and waits. When it
   ends, the kernel kills whatever is left in its namespace;
3. the program, under limits and a filter of system calls, in an interpreter that is started anew.

The root file system is made from nothing: the system's libraries, the interpreter and its packages, four devices, all
read-only, and a small ``/tmp`` in memory. Nothing else has a name there: no home, no data, no sockets, no ``/proc``.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import signal
import struct
import sys
import traceback
from typing import Any, NoReturn

# unshare(2) and mount(2). The constants are the kernel's interface and the same on every machine.
_NEWUSER = 0x10000000
_SPACES = 0x00020000 | 0x40000000 | 0x20000000 | 0x08000000 | 0x04000000  # mounts, network, processes, IPC, host name
_MAKING_SPACES = _NEWUSER | _SPACES | 0x02000000
_READ_ONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_OPTIONS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 1 << 21}
_DETACH = 2
_SET_DUMPABLE, _SET_SECCOMP, _SET_CHILD_SUBREAPER, _NO_NEW_PRIVS = 4, 22, 36, 38

# Where the new root is put together: a folder that every Linux has and no interpreter lies in.
_ROOT = "/sys"
# Where a program begins, in a root file system of its own.
_WORK = "/tmp/work"
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_FILES = 1024
_OPEN = 64
_STACK = 16 * 2**20  # twice the usual, for recursion; each thread takes as much of the addresses
_NOBODY = 65534
_FAILED = 125
_GRACE = 60

# System calls that are refused, by their numbers: (x86_64, aarch64). Of memory that no limit of a process counts
# (memfd, System V and POSIX queues), of sockets, of other processes' memory, and of rarely used parts of the kernel.
_REFUSED = {
    "socket": (41, 198),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
}
_CLONE, _CLONE3 = (56, 220), 435
_PIVOT_ROOT, _CAPSET = (155, 41), (126, 91)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32 = 0x40000000
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def main() -> None:
    """Reads what is asked from the first argument, and ends as the program does (128 + N for signal N)."""
    asked = json.loads(sys.argv[1])
    os.set_inheritable(asked["alive"], False)
    helpers = _enter_namespaces() if asked["confined"] else _adopt_orphans()
    child = os.fork()
    if child == 0:
        os.close(asked["alive"])
        _or_fail(_init if asked["confined"] else _program, asked, helpers)
    for end in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(end, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(math.ceil(asked["seconds"]) + _GRACE)  # for the case that whoever started this is gone
    os.close(0)
    status = os.waitpid(child, 0)[1]
    if not asked["confined"]:
        _end_orphans()
    sys.exit(_code(status))


def _adopt_orphans() -> int:
    """Without namespaces, a process whose parent has ended becomes a child of the launcher; on Linux alone."""
    if sys.platform == "linux":
        _call("prctl", _SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return 0


def _end_orphans() -> None:
    """Kills what a program has left behind, in whatever group or session it is, until there is nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # there is no child of ours to be told any more
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    children = f"/proc/self/task/{os.getpid()}/children"
    while os.path.exists(children):  # not on macOS, nor where the kernel lists no children
        with open(children, encoding="ascii") as file:
            left = [int(pid) for pid in file.read().split()]
        if not left:
            return
        for pid in left:
            os.kill(pid, signal.SIGKILL)  # not reaped before the next line, so its number is its own
        for pid in left:
            os.waitpid(pid, 0)


def _or_fail(do: Any, asked: dict[str, Any], helpers: int) -> NoReturn:
    """A copy of the process must never go on with the work of the one it was copied from."""
    try:
        do(asked, helpers)
    except BaseException:
        traceback.print_exc()
    os._exit(_FAILED)


def _code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _call(name: str, *arguments: Any) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}{arguments}: {os.strerror(code)}")


def _machine() -> tuple[int, int]:
    name = os.uname().machine
    if name not in _MACHINES:
        raise OSError(f"system calls of {name} are not known; of {', '.join(_MACHINES)} they are")
    return _MACHINES[name]


def _enter_namespaces() -> int:
    """Enters them, and says how many of our own processes will count as the program's user.

    The superuser needs no user namespace, and gets none: in one, the kernel would not count the processes of user 0,
    and a folder that only user 0 may enter could not be shown to anyone else. Where a container's superuser may not, it
    does as everyone else.
    """
    user, group = os.getuid(), os.getgid()
    if user == 0:
        try:
            _call("unshare", _SPACES)
            return 1
        except PermissionError:
            user, group = _become_nobody()
            _call("prctl", _SET_DUMPABLE, 1, 0, 0, 0)  # or what lies in /proc/self would still be the superuser's
    _call("unshare", _NEWUSER | _SPACES)
    for file, text in (("setgroups", "deny"), ("uid_map", f"1000 {user} 1"), ("gid_map", f"1000 {group} 1")):
        _write(f"/proc/self/{file}", text)
    return 2


def _become_nobody() -> tuple[int, int]:
    """Gives up the superuser for a user that nobody is, another for each launcher: their processes are counted."""
    own = 2_000_000_000 + os.getpid()
    os.setgroups([])
    try:
        os.setresgid(own, own, own)
        os.setresuid(own, own, own)
    except OSError:  # a container that knows fewer users
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    return os.getuid(), os.getgid()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _init(asked: dict[str, Any], helpers: int) -> None:
    """Process 1. The program can neither read its memory nor end it."""
    _build_root(asked)
    if os.getuid() == 0:
        _become_nobody()
    _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _SET_DUMPABLE, 0, 0, 0, 0)
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _call("syscall", _CAPSET[_machine()[0]], header, none)
    child = os.fork()
    if child == 0:
        _or_fail(_program, asked, helpers)
    os.close(0)
    os.closerange(3, 256)
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(_code(status))


def _program(asked: dict[str, Any], helpers: int) -> None:
    """The program's own process, up to its interpreter."""
    if asked["confined"]:
        os.setsid()
        os.chdir(_WORK)
    _limit(asked, helpers)
    if asked["confined"]:
        _filter_calls()
    os.execve(asked["command"][0], asked["command"], asked["environment"])  # noqa: S606


def _limit(asked: dict[str, Any], helpers: int) -> None:
    limits = {
        "CPU": math.ceil(asked["seconds"]) + 1,
        "AS": asked["memory"],
        "FSIZE": asked["file_size"],
        "NOFILE": _OPEN,
        "CORE": 0,
        "STACK": min(_STACK, asked["memory"] // 4),
    }
    if asked["confined"]:  # elsewhere all processes of the user would count
        limits |= {"NPROC": asked["processes"] + helpers, "MSGQUEUE": 0}
    for name, limit in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        most = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (most, most))


def _build_root(asked: dict[str, Any]) -> None:
    """Puts the new root together, makes it read-only, and leaves the old one behind."""
    _call("mount", b"none", b"/", None, _RECURSIVE | _PRIVATE, None)
    _mount_memory(_ROOT, "size=1m,mode=755")
    # First, since the interpreter may itself lie below /tmp, and is then shown in there.
    writable = f"{_ROOT}/tmp"
    os.mkdir(writable)
    _mount_memory(writable, f"size={asked['file_size']},nr_inodes={_FILES},mode=1777")
    os.mkdir(_ROOT + _WORK)
    os.chmod(_ROOT + _WORK, 0o777)  # noqa: S103 - nobody else is there
    shown: list[str] = []
    asked_for = {*_SYSTEM, *_SETTINGS, *_DEVICES, *asked["readable"]}
    for path in sorted(asked_for, key=lambda path: os.path.realpath(path).count("/")):  # folders before what is in them
        if os.path.exists(path):
            _show(path, shown)
    os.symlink("/tmp", f"{_ROOT}/dev/shm")  # where semaphores of processes lie
    for place, options in _mounts_of_the_root():
        if place != writable.encode():
            _call("mount", None, place, None, _REMOUNT | _BIND | _READ_ONLY | _NOSUID | options, None)
    os.chdir(_ROOT)
    _call("syscall", _PIVOT_ROOT[_machine()[0]], b".", b".")
    _call("umount2", b".", _DETACH)
    os.chdir("/")


def _mount_memory(place: str, options: str) -> None:
    _call("mount", b"tmpfs", place.encode(), b"tmpfs", _NOSUID | _NODEV, options.encode())


def _show(path: str, shown: list[str]) -> None:
    """Puts a file or folder into the new root, under its name; where that is a link, what it leads to as well.

    Nothing is made inside of what is shown already: it would be made on the machine's own disk.
    """
    real = os.path.realpath(path)
    if not _covered(real, shown):
        target = _ROOT + real
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.isdir(real):
            os.makedirs(target, exist_ok=True)
        else:
            _write(target, "")
        _call("mount", real.encode(), target.encode(), None, _BIND | _RECURSIVE, None)
        shown.append(real)
    if not _covered(path, shown):
        os.makedirs(os.path.dirname(_ROOT + path), exist_ok=True)
        os.symlink(real, _ROOT + path)
        shown.append(path)


def _covered(path: str, shown: list[str]) -> bool:
    return any(path == other or path.startswith(f"{other}/") for other in shown)


def _mounts_of_the_root() -> list[tuple[bytes, int]]:
    """The mounts that make it up, and the options that each has: in a user namespace none may be taken away."""
    with open("/proc/self/mountinfo", "rb") as file:
        rows = [line.split()[:6] for line in file]
    # What was mounted there before is hidden, and still told. Of two at one place ours is the later.
    tree = {[row[0] for row in rows if row[4] == _ROOT.encode()][-1]}
    found = []
    for name, parent, _, _, place, options in rows:
        if name in tree or parent in tree:
            tree.add(name)
            plain = place.decode("unicode_escape").encode("latin-1")  # a space is told as \\040
            found.append((plain, sum(_OPTIONS.get(option, 0) for option in options.decode().split(","))))
    return found


def _filter_calls() -> None:
    """A seccomp filter: the refused calls fail with EPERM. Classic BPF, see seccomp(2) and linux/filter.h."""
    column, machine = _machine()
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, machine), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    steps += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _KILL)]
    for numbers in _REFUSED.values():
        steps += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ERRNO | _EPERM)]
    # The flags of clone3 lie in memory, where no filter sees them; told that there is none, the C library takes clone.
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    steps += [(_EQUAL, 0, 3, _CLONE[column]), (_LOAD, 0, 0, 16)]
    steps += [(_ANY_BIT, 0, 1, _MAKING_SPACES), (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    _call("prctl", _SET_SECCOMP, 2, program, 0, 0)


if __name__ == "__main__":
    main()
