"""A process per run: started warm, watched, resumed. Importing this room is light."""

from fairtune.execute.display import LiveWatcher, PlainWatcher, run_name
from fairtune.execute.engine import State, Watcher, run_study, state_of
from fairtune.execute.judge import JudgeState, judge_states
from fairtune.execute.probing import probe_methods
from fairtune.execute.request import Request, read_request, vocabulary

__all__ = [
    "JudgeState",
    "LiveWatcher",
    "PlainWatcher",
    "Request",
    "State",
    "Watcher",
    "judge_states",
    "probe_methods",
    "read_request",
    "run_name",
    "run_study",
    "state_of",
    "vocabulary",
]
