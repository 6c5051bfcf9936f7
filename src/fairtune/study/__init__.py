"""What is asked: the study file, checked, and the runs it expands into. No torch."""

from fairtune.study.benchmark import BenchmarkChoice, BenchmarkGeneration, BenchmarkRef, BenchmarkScore, BenchmarkTask
from fairtune.study.checkpoint import Checkpoint
from fairtune.study.expand import expand, expand_cells
from fairtune.study.fields import Strict
from fairtune.study.judge import (
    JudgeChoice,
    JudgedItem,
    JudgeSpec,
    PairSpec,
    find_pairs,
    judgement_id,
    resolve_judge,
)
from fairtune.study.load import LoadedStudy, load_study, load_task
from fairtune.study.run_ids import run_id
from fairtune.study.schema import study_schema
from fairtune.study.search import Search
from fairtune.study.spec import (
    AugmentChoice,
    Budget,
    MethodChoice,
    MetricChoice,
    ModelChoice,
    ModelRef,
    Parallel,
    Precision,
    RunSpec,
    Scratch,
    Study,
    TaskChoice,
    TeacherChoice,
    TeacherRef,
    Training,
)
from fairtune.study.task import Code, Generation, Prompt, Samples, Task
from fairtune.study.tune import Chances, Range, Space, Trial
from fairtune.study.vocabulary import AugmentWords, MethodWords, Vocabulary

__all__ = [
    "AugmentChoice",
    "AugmentWords",
    "BenchmarkChoice",
    "BenchmarkGeneration",
    "BenchmarkRef",
    "BenchmarkScore",
    "BenchmarkTask",
    "Budget",
    "Chances",
    "Checkpoint",
    "Code",
    "Generation",
    "JudgeChoice",
    "JudgeSpec",
    "JudgedItem",
    "LoadedStudy",
    "MethodChoice",
    "MethodWords",
    "MetricChoice",
    "ModelChoice",
    "ModelRef",
    "PairSpec",
    "Parallel",
    "Precision",
    "Prompt",
    "Range",
    "RunSpec",
    "Samples",
    "Scratch",
    "Search",
    "Space",
    "Strict",
    "Study",
    "Task",
    "TaskChoice",
    "TeacherChoice",
    "TeacherRef",
    "Training",
    "Trial",
    "Vocabulary",
    "expand",
    "expand_cells",
    "find_pairs",
    "judgement_id",
    "load_study",
    "load_task",
    "resolve_judge",
    "run_id",
    "study_schema",
]
