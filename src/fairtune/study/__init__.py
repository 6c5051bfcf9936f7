"""What is asked: the study file, checked, and the runs it expands into. No torch."""

from fairtune.study.benchmark import BenchmarkChoice, BenchmarkGeneration, BenchmarkRef, BenchmarkScore, BenchmarkTask
from fairtune.study.checkpoint import Checkpoint
from fairtune.study.expand import expand, run_id
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
from fairtune.study.schema import study_schema
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
    "RunSpec",
    "Samples",
    "Scratch",
    "Strict",
    "Study",
    "Task",
    "TaskChoice",
    "TeacherChoice",
    "TeacherRef",
    "Training",
    "Vocabulary",
    "expand",
    "find_pairs",
    "judgement_id",
    "load_study",
    "load_task",
    "resolve_judge",
    "run_id",
    "study_schema",
]
