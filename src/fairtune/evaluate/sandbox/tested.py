"""What the new interpreter does: runs the program from its input, then proves that it got to the end of it.

Given as text with ``-c``, since this file does not exist where it runs. The arguments are the numbers of two pipes.
"""

from __future__ import annotations

import linecache
import os
import sys
import traceback
import types


def main() -> None:
    """Passes the token on only behind the program's last line; until then the token lies in a pipe, unread."""
    token, verdict = int(sys.argv[1]), int(sys.argv[2])
    sys.argv = [""]
    # Whatever the program calls by these names later.
    read, write, leave, printed = os.read, os.write, os._exit, sys.stdout
    write(verdict, b"ready\n")
    source = sys.stdin.buffer.read().decode()
    # Not "__main__": what an answer does when it is run as a script is no part of what is asked. In the table of
    # modules, since dataclasses look themselves up there.
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    linecache.cache["answer.py"] = (len(source), None, source.splitlines(keepends=True), "answer.py")
    done = False
    try:
        exec(compile(source, "answer.py", "exec"), module.__dict__)  # noqa: S102 - that is what all this is for
        done = True
    except Exception:
        traceback.print_exc()
    if not printed.closed:
        printed.flush()
    if not done:
        leave(1)  # without waiting for its threads
    write(verdict, read(token, 64))
    leave(0)


if __name__ == "__main__":
    main()
