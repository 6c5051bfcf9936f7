"""A process per run: started warm, watched, resumed. Importing this room is light."""

from fairtune.execute.display import LiveWatcher, PlainWatcher, run_name
from fairtune.execute.engine import Watcher, run_study
from fairtune.execute.judge import JudgeState, judge_states
from fairtune.execute.probing import probe_methods
from fairtune.execute.request import Request, read_request, vocabulary
from fairtune.execute.state import State, state_of
from fairtune.execute.tuning import Resolved, resolve

__all__ = [
    "JudgeState",
    "LiveWatcher",
    "PlainWatcher",
    "Request",
    "Resolved",
    "State",
    "Watcher",
    "judge_states",
    "probe_methods",
    "read_request",
    "resolve",
    "run_name",
    "run_study",
    "state_of",
    "vocabulary",
]
