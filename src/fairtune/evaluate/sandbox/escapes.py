"""A program that tries to break out, and ends in an exception where it can. Given as text; it runs in the sandbox.

Three lines are put before it: ``WITNESS`` (a file of the user's), ``FOLDER`` (where it lies), ``DOOR`` (host and port
of a listening socket).
"""

import contextlib
import ctypes
import os
import socket
import time

WITNESS: str
FOLDER: str
DOOR: tuple[str, int]


def read_what_is_hidden() -> None:
    os.stat(WITNESS)


def write_outside() -> None:
    os.open(f"{FOLDER}/written", os.O_WRONLY | os.O_CREAT)


def write_to_the_system() -> None:
    os.open("/usr/fairtune-was-here", os.O_WRONLY | os.O_CREAT)


def see_other_processes() -> None:
    os.listdir("/proc/1")


def reach_the_network() -> None:
    socket.create_connection(DOOR, 1)


def take_memory() -> None:
    bytearray(10 * 2**30)


def write_much() -> None:
    with open("/tmp/much", "wb", buffering=0) as file:
        for _ in range(1024):
            file.write(bytes(2**20))


def make_many_processes() -> None:
    for _ in range(100):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)


def enter_a_namespace() -> None:
    if ctypes.CDLL(None).unshare(0x10000000) < 0:
        raise PermissionError


def become_another_user() -> None:
    os.setuid(0)


for attempt in (
    *(read_what_is_hidden, write_outside, write_to_the_system, see_other_processes, reach_the_network, take_memory),
    *(write_much, make_many_processes, enter_a_namespace, become_another_user),
):
    with contextlib.suppress(OSError, MemoryError):
        attempt()
        raise AssertionError(f"it could {attempt.__name__.replace('_', ' ')}")
