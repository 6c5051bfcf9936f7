"""Two processes train as one would: the same trajectory, the same files, every example once."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from fairtune.cache import cache_lock
from fairtune.data import divide
from fairtune.execute.nursery import Nursery
from fairtune.study import Parallel, Training
from tests import tiny

# 16 examples in fives: the last update of an epoch has one example, fewer than there are processes.
RECIPE = Training(updates=20, batch_size=5, learning_rate=2e-3, warmup=0.1)
SHORT = RECIPE.model_copy(update={"updates": 8})
CASES = {
    "lora": ("llama", "lora", {"rank": 4}, RECIPE),
    "full": ("gemma3", "full", {}, RECIPE),  # input and output embeddings are one matrix
    "recomputed": ("llama", "full", {}, RECIPE.model_copy(update={"gradient_checkpointing": True})),
    "quantised": ("llama", "qlora", {"rank": 4}, SHORT),
    "penalised": ("llama", "adalora", {"rank": 2, "initial_rank": 4}, SHORT),
}
BOTH, REPLICATED = ("alone", "ddp", "fsdp"), ("alone", "ddp")
WORLDS = {"lora": BOTH, "full": BOTH, "recomputed": BOTH, "quantised": REPLICATED, "penalised": REPLICATED}


def launch(folder):
    """In a process of its own, as a run's is."""
    from fairtune.execute.ranks import start_ranks

    failed = start_ranks(2, experiments, folder)
    (Path(folder) / "failed.json").write_text(json.dumps(failed and vars(failed)))


def experiments(folder):
    """What each of two processes does; what it finds is left in a file."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import torch

    from fairtune.train.parallel import ALONE, join_ranks
    from fairtune.train.parallel.sharded import Sharded

    torch.set_num_threads(1)
    ddp = join_ranks(Parallel(processes=2), torch.device("cpu"))
    worlds = {"alone": ALONE, "ddp": ddp, "fsdp": Sharded(ddp.group, offload=False)}
    rank = ddp.group.rank
    found = {
        case: {name: trained(Path(folder), case, name, worlds[name], rank) for name in WORLDS[case][bool(rank) :]}
        for case in CASES
    }
    found["unequal"] = refused(Path(folder), ddp, rank)
    found["diverged"] = {name: diverged(Path(folder), worlds[name], rank) for name in ("ddp", "fsdp")}
    found["missing"] = missing(ddp, rank)
    found["resumed"] = {name: resumed(Path(folder) / name, worlds[name], rank) for name in ("ddp", "fsdp")}
    (Path(folder) / f"found{rank}.json").write_text(json.dumps(found))
    ddp.group.close()


def trained(folder, case, name, world, rank):
    from fairtune.train.loop import mean_loss, train

    kind, method, options, recipe = CASES[case]

    def fresh():
        return tiny.tuned(folder / kind, method, options)

    tuned, curve, seen = fresh(), [], []
    objective = tuned.objective
    tuned.objective = lambda batch: seen.extend(item.id for item in batch) or objective(batch)
    examples, held_out = tiny.encoded(16), tiny.encoded(5, seed=9)
    result = train(tuned, examples, held_out, recipe, 0, folder / f"best{rank}", curve.append, world=world)
    tuned = world.whole(tuned, fresh)
    complete = rank == 0 or name == "ddp"
    if rank == 0:
        tuned.save(folder / case / name)
    return {
        "losses": [update.loss for update in curve],
        "norms": [update.grad_norm for update in curve],
        "validation": list(result.validation_losses),
        "afterwards": mean_loss(tuned.model, held_out) if complete else None,
        "tokens": [result.tokens, result.supervised],
        "seen": seen,
    }


def refused(folder, world, rank):
    from fairtune.errors import ModelError

    tuned = tiny.tuned(folder / "llama", "full")
    next(tuned.model.network.parameters()).data[0, 0] += rank * 1e-3
    with pytest.raises(ModelError) as error:
        world.wrap(tuned)
    return str(error.value)


def diverged(folder, world, rank):
    """One process alone computes what is no number."""
    from fairtune.errors import DivergedError
    from fairtune.train.loop import train

    tuned = tiny.tuned(folder / "llama", "lora", {"rank": 4})
    objective = tuned.objective
    tuned.objective = lambda batch: objective(batch) * (float("nan") if rank else 1.0)
    with pytest.raises(DivergedError) as error:
        train(
            tuned,
            tiny.encoded(16),
            tiny.encoded(5),
            RECIPE,
            0,
            folder / f"best{rank}",
            lambda update: None,
            world=world,
        )
    return str(error.value)


def missing(world, rank):
    """Gradients of three weights: of both processes, of one, of none."""
    import torch

    weights = [torch.zeros(3) for _ in range(3)]
    weights[0].grad = torch.full((3,), rank + 1.0)
    if rank == 1:
        weights[1].grad = torch.ones(3)
    world.reduce(weights)
    return [None if weight.grad is None else weight.grad.tolist() for weight in weights]


class KilledError(Exception):
    """In place of a signal, which would end the other process's wait too."""


def resumed(folder, world, rank):
    """A whole training, and one killed after update 7 whose newest checkpoint is damaged in rank 1's part alone."""
    from fairtune.study import Checkpoint
    from fairtune.train.checkpoint import Checkpoints
    from fairtune.train.loop import train

    def attempt(name, killed_at):
        curve = []

        def report(update):
            curve.append([update.loss, update.grad_norm])
            if update.step == killed_at:
                raise KilledError

        tuned = tiny.tuned(folder.parent / "llama", "lora", {"rank": 4, "dropout": 0.1})
        kept = Checkpoints(folder / name, Checkpoint(updates=2), {}, {}, group=world.group)
        kept.look()
        found, scratch = kept.update, folder / f"{name}-best{rank}"
        with contextlib.suppress(KilledError):
            train(tuned, tiny.encoded(16), tiny.encoded(5), SHORT, 0, scratch, report, kept, world)
        return found, curve

    whole = attempt("whole", None)[1]
    killed = attempt("killed", 7)[1]
    if rank:
        damaged = folder / "killed" / "6" / "rank-1.safetensors"
        damaged.write_bytes(damaged.read_bytes()[:-8])
    world.group.barrier()
    found, later = attempt("killed", None)
    return {"whole": whole, "killed": killed, "found": found, "later": later}


def in_a_run(target, *arguments):
    """Calls a function as the process of a run is started."""
    nursery = Nursery()
    nursery.warm()
    process = nursery._context.Process(target=target, args=arguments)
    process.start()
    process.join(240)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the two processes found, and their folder. One start for everything, whichever worker needs it first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ranks"
    with cache_lock(folder):
        if not (folder / "failed.json").exists():
            for kind in ("llama", "gemma3"):
                tiny.save_model(folder / kind, kind)
            in_a_run(launch, str(folder))
    assert json.loads((folder / "failed.json").read_text()) is None
    return [json.loads((folder / f"found{rank}.json").read_text()) for rank in (0, 1)], folder


SHARED = [(case, world) for case, worlds in WORLDS.items() for world in worlds if world != "alone"]


@pytest.mark.parametrize(("case", "world"), SHARED)
@pytest.mark.parametrize("what", ["losses", "norms", "validation"])
def test_two_processes_go_the_way_of_one(found, case, world, what):
    (zero, one), _ = found
    usual, other = zero[case]["alone"][what], zero[case][world][what]
    drift = [abs(a - b) / abs(a) for a, b in zip(usual, other, strict=True)]
    limit = 1e-4 if what == "norms" else 1e-5
    assert max(drift) <= limit
    assert sum(drift) / len(drift) <= limit
    assert one[case][world][what] == other  # what is decided from it is decided alike
    assert zero[case][world]["tokens"] == zero[case]["alone"]["tokens"]


@pytest.mark.parametrize(("case", "world"), SHARED)
def test_the_model_afterwards_is_that_of_one_process_and_so_are_its_files(found, case, world):
    import torch
    from safetensors.torch import load_file

    (zero, one), folder = found
    assert zero[case][world]["afterwards"] == pytest.approx(zero[case]["alone"]["afterwards"], rel=1e-5)
    if world == "ddp":
        assert one[case][world]["afterwards"] == pytest.approx(zero[case][world]["afterwards"], rel=1e-12)
    usual, other = folder / case / "alone", folder / case / world
    assert {path.name for path in usual.iterdir()} == {path.name for path in other.iterdir()}
    for file in usual.glob("*.safetensors"):
        ours, theirs = load_file(file), load_file(other / file.name)
        shapes = {name: (weight.dtype, weight.shape) for name, weight in ours.items()}
        assert shapes == {name: (weight.dtype, weight.shape) for name, weight in theirs.items()}
        assert all(torch.allclose(ours[name], theirs[name], rtol=0, atol=1e-3) for name in ours)


def test_every_example_of_an_epoch_is_learned_once_by_one_of_the_processes(found):
    from fairtune.data import updates

    (zero, one), _ = found
    examples = [item.id for item in tiny.encoded(16)]
    learned = zero["lora"]["ddp"]["seen"] + one["lora"]["ddp"]["seen"]
    expected = [examples[row] for epoch in range(5) for batch in updates(16, 5, 0, epoch) for row in batch]
    assert sorted(learned) == sorted(expected)
    assert len(zero["lora"]["fsdp"]["seen"]) >= len(zero["lora"]["ddp"]["seen"])  # stand-ins are computed besides


def test_processes_that_begin_with_different_weights_are_refused(found):
    for told in (rank["unequal"] for rank in found[0]):
        assert "begin with different weights, first in model.embed_tokens.weight" in told


def test_a_number_that_one_process_loses_stops_both_at_the_same_update(found):
    for rank in found[0]:
        for told in rank["diverged"].values():
            assert told.startswith("update 1 of 20")
            assert "the loss is nan" in told


def test_a_gradient_that_one_process_lacks_was_zero_there(found):
    for rank in found[0]:
        assert rank["missing"] == [[3.0] * 3, [1.0] * 3, None]


@pytest.mark.parametrize("world", ["ddp", "fsdp"])
def test_both_go_on_from_the_last_checkpoint_that_is_whole_for_both_to_the_bit(found, world):
    for rank in found[0]:
        seen = rank["resumed"][world]
        assert seen["killed"] == seen["whole"][:7]
        assert seen["found"] == 4
        assert seen["later"] == seen["whole"][4:]


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_rows_are_divided_without_rest_and_evenly(ranks):
    lengths = [1 + (7 * row) % 23 for row in range(40)]
    shares = divide(lengths, ranks)
    assert sorted(row for share in shares for row in share) == list(range(40))
    tokens = [sum(lengths[row] for row in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(lengths)
    assert [len(share) for share in divide([5, 3], 4)] == [1, 1, 0, 0]


def failing(folder, command):
    """Rank 1 raises while rank 0 waits for it in a collective."""
    import torch

    from fairtune.execute import worker
    from fairtune.train.parallel import join_ranks

    def run_job(spec, folder, meter, happened):
        world = join_ranks(spec.parallel, torch.device("cpu"))
        with meter.phase("train"):
            world.group.barrier()
            if world.group.rank:
                raise RuntimeError("a disk came off")
            world.group.barrier()

    worker.run_job = run_job
    worker.work_as_rank(folder, command)


def lead_failing(folder):
    from fairtune.execute.ranks import lead
    from fairtune.records import RunFolder
    from fairtune.study import RunSpec

    run = RunFolder(Path(folder))
    lead(RunSpec.model_validate_json(run.spec.read_text()), run, ("fairtune", "run"), failing)


def test_the_process_that_raised_is_named_and_not_the_one_that_missed_it(tmp_path, llama):
    from fairtune.execute import read_request
    from fairtune.records import RunFolder, write_atomically
    from tests.cli.command import study

    path = study(tmp_path, llama, methods=["lora"], parallel={"processes": 2})
    spec = read_request(path).specs[0]
    folder = RunFolder.of(tmp_path / "runs", spec)
    write_atomically(folder.spec, spec.model_dump_json())
    in_a_run(lead_failing, str(folder.path))
    record = folder.read()
    assert record.status == "failed"
    assert record.error.model_dump() == {
        "phase": "train",
        "kind": "RuntimeError",
        "message": "rank 1: a disk came off",
    }
    assert (record.provenance.processes, record.provenance.strategy) == (2, "ddp")
    assert "a disk came off" in (folder.path / "ranks" / "1" / "log.txt").read_text()
