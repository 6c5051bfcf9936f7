"""``python benchmarks/tokenize.py FILE`` measures tokenisation; the measuring is in ``tokens.py``.

Python's own module ``tokenize`` has the name of this file, and a script's folder comes first where modules are looked
for. So to every other script of this folder this file becomes that module.
"""

import sys

folder = __file__.rpartition("/")[0]
sys.path[:] = [place for place in sys.path if place != folder]
if __name__ == "__main__":
    import runpy

    runpy.run_path(f"{folder}/tokens.py", run_name="__main__")
else:
    del sys.modules[__name__]
    import tokenize  # noqa: F401
