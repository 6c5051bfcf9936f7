"""Equal chances: what is searched, which trials there are, what they choose, and what is said of it."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

import fairtune.execute.request as asking
from fairtune.data.corpus import Examples
from fairtune.errors import SpecError
from fairtune.execute import State, read_request, resolve, vocabulary
from fairtune.execute.proposals import STARTUP, Past, foreseen, propose
from fairtune.execute.tuning import PRUNE_AFTER, Tuning, limits_after
from fairtune.records import ErrorInfo, Pruned, RunFolder, RunRecord, Selection
from fairtune.report import Entry
from fairtune.report.chances import chances_notes, trials_table, unequal
from fairtune.study import Range, RunSpec, Search, expand_cells, study_schema
from fairtune.train.loop import train
from tests import tiny
from tests.cli.command import study
from tests.invariant.test_resume import RECIPE
from tests.unit.test_study import identify, load, problems, runs_of

HEAD = "name: n\ntask: cldr-spanish\nmodels: [m]\nseeds: [4, 1]\n"
THREE = HEAD + "methods: [base, full, lora]\n"
RATES = "tune: {learning_rate: [1e-5, 1e-4, 1e-3], rank: [8, 32]}\n"
LOG = Range(low=1e-5, high=1e-2, log=True)


def cells(folder, text):
    return expand_cells(load(folder, text), vocabulary(), identify, "data")


def searches(folder, text):
    return {cell.first.method.label: cell for cell in cells(folder, text) if isinstance(cell, Search)}


def ended(spec, losses=(), status="ok", limit=None, best=None):
    """A trial's state, with these validation losses."""
    pruned = limit and Pruned(epoch=len(losses), update=4, planned=12, loss=min(losses), limit=limit)
    chosen = best or (losses.index(min(losses)) + 1 if losses else None)
    selection = losses and Selection(best_epoch=chosen, validation_losses=losses, rule="r", pruned=pruned)
    error = None if status == "ok" else ErrorInfo(phase="train", kind="k", message="why")
    record = RunRecord(
        run_id=spec.run_id, study="n", status=status, error=error, spec=spec, selection=selection or None
    )
    return State(spec, RunFolder(Path("nowhere")), record, None, None)


def missing(spec):
    return State(spec, RunFolder(Path("nowhere")), None, None, None)


def tuned(search, loss):
    """All trials, each with the losses that a function of its values and number gives, or a state."""
    tuning = Tuning(search)
    while (spec := tuning.next()) is not None:
        found = loss(spec)
        tuning.add(found if isinstance(found, State) else ended(spec, tuple(found)))
    return tuning


def rate(spec):
    return spec.trial.values["learning_rate"]


# What is searched.


def test_every_method_that_trains_searches_what_it_has_in_as_many_trials(tmp_path):
    base, full, lora = cells(tmp_path, THREE + RATES.replace("}", ", trials: 3}"))
    assert isinstance(base, RunSpec)
    assert not base.tuned
    assert (list(full.space), list(lora.space)) == (["learning_rate"], ["learning_rate", "rank"])
    assert full.trials == lora.trials == 3
    assert [run.seed for run in lora.drafts] == [4, 1]


def test_without_a_number_the_largest_grid_is_gone_through_and_who_has_fewer_points_repeats_none(tmp_path):
    found = searches(tmp_path, THREE + RATES)
    assert {name: (search.asked, search.trials) for name, search in found.items()} == {
        "full": (6, 3),
        "lora": (6, 6),
    }


def test_a_range_is_for_tpe_unless_another_sampler_is_named_and_gives_eight_trials(tmp_path):
    text = THREE + "tune: {learning_rate: {low: 1e-5, high: 1e-2, log: true}}\n"
    assert {(search.sampler, search.trials) for search in searches(tmp_path, text).values()} == {("tpe", 8)}
    text = text.replace("}}", "}, sampler: random}")
    assert {search.sampler for search in searches(tmp_path, text).values()} == {"random"}


def test_a_range_becomes_the_kind_of_number_that_the_option_takes(tmp_path):
    text = THREE + "tune: {learning_rate: {low: 1, high: 2}, rank: {low: 2.0, high: 8}}\n"
    space = searches(tmp_path, text)["lora"].space
    assert (space["learning_rate"].whole, space["rank"].whole, space["rank"].size) == (False, True, 7)


def test_what_a_method_gives_a_value_is_not_searched_and_its_own_tune_goes_before_the_studys(tmp_path):
    full, lora = "{learning_rate: 1e-5, tune: {batch_size: [4, 8]}}", "{rank: 4, tune: {learning_rate: [3, 4]}}"
    methods = f"methods: [full: {full}, lora: {lora}]\n"
    found = searches(tmp_path, HEAD + methods + RATES)
    assert [search.space for search in found.values()] == [{"batch_size": (4, 8)}, {"learning_rate": (3, 4)}]
    assert found["full"].first.training.learning_rate == 1e-5


def test_a_method_with_its_own_length_of_training_searches_no_other(tmp_path):
    methods = "methods: [full: {epochs: 3}, lora]\n"
    found = searches(tmp_path, HEAD + methods + "tune: {updates: [10, 20], learning_rate: [1e-4, 1e-3]}\n")
    assert list(found["full"].space) == ["learning_rate"]
    assert found["lora"].trial(1, {"updates": 20, "learning_rate": 1e-4}).training.epochs is None


def test_a_list_in_a_method_is_still_a_grid_of_methods_each_tuned_by_itself(tmp_path):
    found = searches(tmp_path, HEAD + "methods: [lora: {rank: [4, 8]}]\n" + RATES)
    assert list(found) == ["lora rank=4", "lora rank=8"]
    assert all(list(search.space) == ["learning_rate"] for search in found.values())


def test_a_method_that_searches_an_option_is_told_from_one_that_gives_it(tmp_path):
    labels = {run.method.label for run in runs_of(tmp_path, HEAD + "methods: [lora, lora: {rank: 16}]\n" + RATES)}
    assert labels == {"lora rank=tuned", "lora rank=16"}


def test_a_method_that_takes_any_key_searches_any_and_of_the_study_what_it_is_known_to_have(tmp_path):
    text = HEAD + "methods: [lora, peft: {type: loha, tune: {r: [2, 4]}}]\n" + RATES
    search = searches(tmp_path, text)["peft"]
    assert list(search.space) == ["learning_rate", "r"]
    assert search.trial(1, {"learning_rate": 1e-4, "r": 4}).method.options["r"] == 4


def test_a_method_alone_may_be_tuned_and_the_others_stay_as_they_are(tmp_path):
    text = HEAD + "methods: [full, lora: {tune: {rank: [2, 4]}}]\ntune: {trials: 2}\n"
    untouched = runs_of(tmp_path, HEAD + "methods: [full, lora]\n")
    assert [run.run_id for run in cells(tmp_path, text)[:2]] == [run.run_id for run in untouched[:2]]


@pytest.mark.parametrize(
    ("methods", "tune", "told"),
    [
        ("[lora]", "{rnak: [8]}", "tune.rnak: no method of the study has it; did you mean 'rank'?"),
        ("[full]", "{rank: [8]}", "tune.rank: no method of the study has it"),
        ("[base]", "{learning_rate: [1]}", "tune: no method of the study trains"),
        ("[lora]", "{rank: 8}", "tune.rank: 8 is no list; give choices, [1, 2, 4], or a range"),
        ("[lora]", "{rank: []}", "tune.rank: is an empty list"),
        ("[lora]", "{rank: [8, -1]}", "tune.rank: -1"),
        ("[lora]", "{learning_rate: [fast]}", "tune.learning_rate: 'fast'"),
        ("[lora]", "{learning_rate: {low: 2, high: 1}}", "tune.learning_rate: {'low': 2, 'high': 1}: low (2) must be"),
        ("[lora]", "{learning_rate: {low: 0, high: 1, log: true}}", "log needs a low above 0"),
        ("[lora]", "{learning_rate: {lo: 0, high: 1}}", "tune.learning_rate.lo: unknown; did you mean 'low'?"),
        ("[lora]", "{rank: {low: 1.5, high: 8}}", "takes whole numbers for it, not 1.5 to 8"),
        ("[lora]", "{schedule: {low: 1, high: 8}}", "takes no numbers for it; give a list of choices"),
        ("[lora]", "{rank: {low: 1, high: 8}, sampler: grid}", "tune.rank: a grid needs a list"),
        ("[lora]", "{rank: [1], sampler: tpee}", "tune.sampler: 'tpee' is not allowed; did you mean 'tpe'?"),
        ("[lora]", "{rank: [1], trials: 0}", "tune.trials: 0"),
        ("[lora]", "{max_length: [64, 128]}", "tune.max_length: cannot be searched: validation examples are cut to it"),
        ("[lora: {rank: 4}]", "{rank: [8, 16]}", "tune: nothing is left to search"),
        (
            "[lora: {rank: 4, tune: {rank: [8]}}]",
            "{trials: 2}",
            "lora.tune.rank: methods[0].lora.rank gives it a value",
        ),
        ("[lora: {tune: {trials: 4}}]", "{rank: [8]}", "lora.tune.trials: every method has the same"),
        ("[lora: {tune: {rnak: [4]}}]", "{trials: 2}", "lora.tune.rnak: unknown; did you mean 'rank'?"),
        ("[lora: {tune: {rank: [0]}}]", "{trials: 2}", "methods[0].lora.tune.rank: 0"),
        ("[lora: {tune: {rank: [4]}}]", None, "the study has no `tune`"),
        ("[base: {tune: {rank: [4]}}]", "{trials: 2}", "tune"),
        ("[lora]", "{updates: [1, 2], epochs: [1, 2]}", "stands beside updates"),
        ("[lora]", "3", "tune: 3"),
        ("[lora: {tune: 3}]", "{trials: 2}", "methods[0].lora.tune: 3: keys with what to search are needed"),
    ],
)
def test_what_is_wrong_is_told_when_the_study_is_read(tmp_path, methods, tune, told):
    found = problems(tmp_path, HEAD + f"methods: {methods}\n" + (f"tune: {tune}\n" if tune else ""))
    assert any(told in problem for problem in found), found


def test_more_combinations_than_can_be_looked_at_are_refused(tmp_path):
    keys = ", ".join(f"{key}: {list(range(1, 30))}" for key in ("rank", "alpha", "batch_size"))
    (problem,) = problems(tmp_path, HEAD + f"methods: lora\ntune: {{{keys}}}\n")
    assert "24,389 combinations" in problem


def test_an_editor_knows_the_key(tmp_path):
    editor = jsonschema.Draft202012Validator(study_schema(vocabulary()))
    good = (
        "methods: [lora: {tune: {rank: [4, 8]}}]\ntune: {learning_rate: {low: 1e-5, high: 1, log: true}, trials: 3}\n"
    )
    assert not list(editor.iter_errors(yaml.safe_load((HEAD + good).replace("1e-5", "0.1"))))
    for bad in ("tune: {rnak: [8]}", "tune: {rank: 8}", "tune: {sampler: best}", "tune: {rank: {low: 1}}"):
        assert list(editor.iter_errors(yaml.safe_load(HEAD + "methods: [lora]\n" + bad)))


def test_a_teacher_that_is_tuned_is_refused_and_one_that_is_not_teaches(tmp_path):
    student = "distill: {teacher: {run: full}, student: lora}"
    with pytest.raises(SpecError, match="'full' is tuned, so which run teaches is not known"):
        cells(tmp_path, HEAD + f"methods: [full, {student}]\n" + "tune: {learning_rate: [1e-4, 1e-3]}\n")
    text = HEAD + f"methods: [full: {{learning_rate: 1e-5}}, {student}]\ntune: {{learning_rate: [1e-4, 1e-3]}}\n"
    teacher, _, search = cells(tmp_path, text)
    assert search.trial(1, {"learning_rate": 1e-4}).teacher.run_id == teacher.run_id


def test_an_empty_validation_part_is_told_since_nothing_can_be_chosen_on_it(tmp_path, llama, monkeypatch):
    path = study(tmp_path, llama, tune={"learning_rate": [1e-4, 1e-3]})
    splits = replace(read_request(path).splits, validation=Examples.of([]))
    monkeypatch.setattr(asking, "load_splits", lambda *_: splits)
    with pytest.raises(
        SpecError, match=r"task\.validation: `tune` chooses by validation loss, and the validation part"
    ):
        read_request(path)


def test_what_a_device_cannot_do_is_told_of_every_choice(tmp_path, llama):
    with pytest.raises(SpecError, match="optimizer paged_adamw_8bit is not there on cpu"):
        read_request(study(tmp_path, llama, tune={"optimizer": ["adamw", "paged_adamw_8bit"]}))


# What a trial is.


def test_a_trial_is_a_run_of_the_first_seed_that_scores_nothing(tmp_path):
    search = searches(tmp_path, THREE + RATES)["lora"]
    trial = search.trial(2, {"learning_rate": 1e-3, "rank": 8}, (2.5,))
    assert (trial.seed, trial.metrics, trial.benchmarks, trial.tuned) == (4, (), (), None)
    assert (trial.training.learning_rate, trial.method.options["rank"]) == (1e-3, 8)
    assert trial.trial.told == "trial 2 of 6: learning_rate=0.001 rank=8"
    assert trial.method.label == "lora"
    assert RunSpec.model_validate_json(trial.model_dump_json()) == trial


def test_a_trial_keeps_its_id_whatever_its_number_its_limits_and_the_other_choices_are(tmp_path):
    values = {"learning_rate": 1e-3, "rank": 8}
    one = searches(tmp_path, THREE + RATES)["lora"].trial(1, values)
    more = searches(tmp_path, THREE + RATES.replace("32", "32, 64"))["lora"].trial(3, values, (1.0, None))
    assert one.run_id == more.run_id
    fixed = searches(tmp_path, HEAD + "methods: [lora: {rank: 8}]\n" + RATES)["lora"]
    assert fixed.trial(1, {"learning_rate": 1e-3}).run_id != one.run_id  # pruned among others


def test_what_is_chosen_is_the_run_that_one_would_have_written_by_hand(tmp_path):
    search = searches(tmp_path, THREE + RATES)["lora"]
    tuning = tuned(search, lambda spec: [abs(rate(spec) - 1e-3) + spec.trial.values["rank"]])
    by_hand = runs_of(tmp_path, HEAD + "methods: [lora: {learning_rate: 1e-3, rank: 8}]\n")
    assert [run.run_id for run in tuning.finals] == [run.run_id for run in by_hand]
    assert [run.method for run in tuning.finals] == [run.method for run in by_hand]
    assert tuning.finals[0].tuned.chosen == {"learning_rate": 1e-3, "rank": 8}
    assert tuning.finals[0].metrics == by_hand[0].metrics


def test_no_open_run_has_the_id_of_one_that_could_be_asked_for(tmp_path):
    search = searches(tmp_path, THREE + RATES)["full"]
    possible = {run.run_id for value in search.space["learning_rate"] for run in by_rate(tmp_path, value)}
    assert not possible & {run.run_id for run in search.drafts}
    two = "methods: [lora: {tune: {rank: [8, 16]}}, lora: {tune: {rank: [8, 32]}}]\ntune: {trials: 2}\n"
    assert len({run.run_id for run in runs_of(tmp_path, HEAD + two)}) == 4


def by_rate(folder, value):
    return runs_of(folder, HEAD + f"methods: [full: {{learning_rate: {value}}}]\n")


def test_a_plan_is_made_of_every_shape_and_of_one_rate(tmp_path, llama):
    methods = ["base", "full", {"lora": {"tune": {"alpha": {"low": 1, "high": 9}}}}]
    tune = {"learning_rate": [1e-4, 1e-3, 1e-2], "rank": [2, 4], "sampler": "random"}
    request = read_request(study(tmp_path, llama, methods=methods, tune=tune, seeds=[0, 1]))
    labels = [spec.method.label for spec in request.shapes]
    assert labels[:3] == ["base", "full", "full"]
    assert labels[3::2] == [f"lora rank={rank} alpha={alpha}" for rank, alpha in itertools.product((2, 4), (1, 9))]


# Which trials there are.


def proposals(space, sampler, count, loss=lambda values: 1.0, seed="s"):
    past = []
    while len(past) < count and (values := propose(space, sampler, seed, past)) is not None:
        past.append(Past(values, "complete", loss(values), (loss(values),)))
    return [one.values for one in past]


def test_a_grid_goes_through_all_points_once_in_an_order_of_the_seed():
    space = {"a": (1, 2, 3), "b": ([1], [1, 2]), "c": (True, 1)}
    first, again, other = (proposals(space, "grid", 99, seed=seed) for seed in ("x", "x", "y"))
    assert first == again != other
    points = [json.dumps(values) for values in first]
    assert len(set(points)) == len(points) == 12


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_gives_the_same_trials_and_none_twice(sampler):
    space = {"rate": LOG, "rank": Range(low=1, high=3), "kind": ("a", "b")}
    first, again, other = (proposals(space, sampler, 9, seed=seed) for seed in ("x", "x", "y"))
    assert first == again != other
    assert all(1e-5 <= values["rate"] <= 1e-2 and values["rank"] in (1, 2, 3) for values in first)
    assert all(len(f"{values['rate']:.12g}".replace("0", "").replace(".", "").split("e")[0]) <= 3 for values in first)
    few = proposals({"rank": Range(low=1, high=3), "kind": ("a", "b")}, sampler, 99)
    assert len({tuple(values.values()) for values in few}) == len(few) == 6


def test_tpe_looks_where_it_was_good():
    found = proposals({"rate": LOG}, "tpe", 24, loss=lambda values: abs(values["rate"] - 5e-3))
    near = [abs(values["rate"] - 5e-3) < 2.5e-3 for values in found]
    assert sum(near[12:]) > sum(near[:12])


def test_tpe_turns_away_from_what_diverged():
    space, past = {"rate": Range(low=1e-5, high=1e5, log=True)}, []
    while len(past) < 20:
        values = propose(space, "tpe", "s", past)
        high = values["rate"] > 1
        past.append(Past(values, "diverged") if high else Past(values, "complete", 1.0, (1.0,)))
    assert sum(one.state == "diverged" for one in past[10:]) < 5


def test_a_range_that_is_too_narrow_ends_when_nothing_else_is_left():
    assert len(proposals({"rate": Range(low=1.0001, high=1.0002, log=True)}, "random", 99)) < 5


def test_optuna_says_nothing_and_leaves_no_warning(recwarn, capfd):
    proposals({"rate": LOG, "kind": ([1], None)}, "tpe", 8)
    proposals({"kind": ("a", None)}, "grid", 8)
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_trials_that_depend_on_no_other_are_known_before_any_is_done():
    opened = [Past({"a": value}) for value in range(9)]
    assert foreseen("grid", opened)
    assert foreseen("random", opened)
    assert foreseen("tpe", opened[: STARTUP - 1])
    assert not foreseen("tpe", opened[:STARTUP])


def test_the_sequence_goes_on_from_records_as_if_it_had_never_been_interrupted(tmp_path):
    text = THREE + "tune: {learning_rate: {low: 1e-5, high: 1e-1, log: true}, rank: [2, 4, 8], trials: 9}\n"
    search = searches(tmp_path, text)["lora"]

    def loss(spec):
        return [3.0, abs(rate(spec) - 1e-3)]

    whole = tuned(search, loss)
    halfway = Tuning(search)
    for state in whole.trials[:5]:
        assert halfway.next().run_id == state.spec.run_id
        halfway.add(state)
    again = tuned(search, loss)
    assert [state.spec for state in again.trials] == [state.spec for state in whole.trials]
    assert halfway.next() == whole.trials[5].spec


# Who is pruned.


def test_limits_are_those_of_optunas_median_pruner():
    import optuna

    curves = [(4.0, 3.0, 2.0), (5.0, 2.0), (3.0, 2.5, 2.4), (6.0, 5.0, 1.0)]
    past = [Past({}, "complete", min(losses), losses) for losses in curves]
    past += [Past({}, "pruned", None, (9.0,)), Past({}, "failed"), Past({}, "diverged"), Past({})]
    limits = limits_after(past)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=PRUNE_AFTER)
    finished = optuna.create_study(pruner=pruner)
    for losses in curves:
        seen = dict(enumerate(losses, 1))
        finished.add_trial(optuna.trial.create_trial(value=min(losses), intermediate_values=seen))
    for losses in itertools.product((2.0, 4.4, 4.6), (1.9, 2.7, 2.8), (2.1, 2.3)):
        trial = finished.ask()
        for epoch, loss in enumerate(losses, 1):
            trial.report(loss, epoch)
            assert bool(trial.should_prune()) is (min(losses[:epoch]) > limits[epoch - 1])


def test_nobody_is_measured_against_fewer_than_three(tmp_path):
    tuning = tuned(searches(tmp_path, THREE + RATES)["lora"], lambda spec: [5.0 - spec.trial.number, 1.0])
    assert [state.spec.trial.limits for state in tuning.trials[:4]] == [(), (), (), (3.0, 1.0)]
    assert tuning.chances.pruned == 0


def run(llama, folder, limits, recipe=RECIPE):
    model = tiny.attach(tiny.language_model(llama), "full", updates=12)
    return train(
        model, tiny.encoded(16), tiny.encoded(5, seed=9), recipe, 0, folder / "b", lambda _: None, limits=limits
    )


def test_a_weak_trial_ends_at_the_end_of_an_epoch_and_a_good_one_goes_on(llama, tmp_path):
    whole = run(llama, tmp_path, ())
    assert not whole.pruned
    first = whole.validation_losses[0]
    weak = run(llama, tmp_path, (first - 0.1,))
    assert (weak.pruned, weak.updates, weak.validation_losses) == (True, 4, (first,))
    good = run(llama, tmp_path, (first + 0.1, None))
    assert good.validation_losses == whole.validation_losses
    # The lowest so far counts, and after the last epoch there is nothing to save.
    assert not run(llama, tmp_path, (first, first, 0.0)).pruned


def test_early_stopping_is_not_taken_for_pruning(llama, tmp_path):
    patient = RECIPE.model_copy(update={"epochs": 8, "warmup": 1 / 32, "early_stopping": 1})
    stopped = run(llama, tmp_path, (), patient)
    assert stopped.updates < 32
    assert not stopped.pruned


# What they choose.


def test_the_lowest_loss_of_the_weights_that_are_kept_wins_and_the_earliest_of_equal_ones(tmp_path):
    search = searches(tmp_path, THREE + RATES)["full"]
    losses = {1e-5: ended_at(1.0, 5.0, best=2), 1e-4: ended_at(3.0, 2.0), 1e-3: ended_at(2.0, 2.5)}
    tuning = tuned(search, lambda spec: losses[rate(spec)](spec))
    first = next(state.spec.trial for state in tuning.trials if rate(state.spec) in (1e-4, 1e-3))
    assert tuning.chances.chosen == first.values
    assert tuning.chances.validation_loss == 2.0


def ended_at(*losses, **changes):
    return lambda spec: ended(spec, losses, **changes)


def test_pruned_and_failed_trials_count_and_never_win(tmp_path):
    search = searches(tmp_path, THREE + RATES)["lora"]
    outcomes = [
        ended_at(2.0),
        ended_at(status="diverged"),
        ended_at(0.5, limit=0.1),
        ended_at(status="out_of_memory"),
        ended_at(1.5),
        ended_at(3.0),
    ]
    chances = tuned(search, lambda spec: outcomes[spec.trial.number - 1](spec)).chances
    assert (chances.trials, chances.pruned, chances.failed, chances.validation_loss) == (6, 1, 2, 1.5)
    assert len(chances.runs) == 6


@pytest.mark.parametrize("lost", [missing, ended_at(status="interrupted")])
def test_nothing_is_chosen_while_a_trial_is_missing(tmp_path, lost):
    search = searches(tmp_path, THREE + RATES)["full"]
    tuning = tuned(search, lambda spec: lost(spec) if spec.trial.number == 2 else [1.0])
    assert [run.tuned.open for run in tuning.finals] == ["waits for 1 of 3 trials"] * 2
    assert [run.run_id for run in tuning.finals] == [run.run_id for run in search.drafts]
    assert missing(tuning.finals[0]).status == "waiting"
    assert missing(tuning.finals[0]).detail == "waits for 1 of 3 trials"


def test_if_all_trials_fail_the_runs_say_so(tmp_path):
    tuning = tuned(searches(tmp_path, THREE + RATES)["full"], ended_at(status="diverged"))
    assert tuning.finals[0].tuned.open == "all 3 trials failed; `fairtune status` says why"
    one = tuned(searches(tmp_path, THREE + "tune: {learning_rate: [1e-4], trials: 1}\n")["full"], ended_at(1.0))
    assert one.chances.chosen == {"learning_rate": 1e-4}


def test_a_judge_compares_what_was_chosen(tmp_path, llama):
    judge = {"model": str(tiny.save_model(tmp_path / "judge", context=512, seed=3))}
    path = study(tmp_path, llama, methods=["base", "full"], tune={"learning_rate": [1e-4, 1e-3]}, judge=judge)
    request = read_request(path)
    assert [(run.method.label, against.method.label) for run, against in request.pairs] == [("full", "base")]
    opened = resolve(request, tmp_path / "runs").request
    assert opened.pairs[0][0].tuned.open == "waits for 2 of 2 trials"


# What is said of it.


def entries(folder, text, loss):
    """The final runs and the trials, as a report has them."""
    finals, trials = [], []
    for cell in cells(folder, text):
        if isinstance(cell, RunSpec):
            finals.append(cell)
            continue
        tuning = tuned(cell, loss)
        finals += tuning.finals
        trials += [Entry(state.spec, state.folder, state.record) for state in tuning.trials]
    return [Entry(spec, RunFolder(Path("nowhere")), None) for spec in finals], trials


def test_chances_are_told_and_where_they_were_unequal(tmp_path):
    finals, trials = entries(tmp_path, THREE + RATES, lambda spec: [rate(spec)])
    base, full, _, lora, _ = (entry.spec for entry in finals)
    assert unequal(full, lora) == "3 trials against 6"
    assert unequal(lora, full) == "6 trials against 3"
    assert unequal(base, full) is unequal(full, base) is unequal(full, full) is None
    (fixed, *_) = runs_of(tmp_path, HEAD + "methods: full\n")
    assert (unequal(full, fixed), unequal(fixed, full)) == ("3 trials against none", "no trials against 3")
    notes = chances_notes(finals)
    assert "validation loss alone" in notes[0]
    assert notes[1].startswith(
        "full: 3 trials (grid) of 6 asked, since it has no more combinations; chosen: learning_rate=1e-05"
    )
    assert any(note.startswith("Unequal chances: full 3 trials, lora 6 trials.") for note in notes)
    assert "full: learning_rate=1e-05 is at the lower end of what was tried" in notes[-2]
    table = trials_table(trials, finals)
    assert len(table.rows) == 9
    assert [row[-1] for row in table.rows].count(("chosen",)) == 2


def test_equal_chances_and_choices_in_the_middle_need_no_warning(tmp_path):
    text = THREE + RATES.replace(", rank: [8, 32]", ", weight_decay: [0, 0.1, 0.2], trials: 8")
    finals, _ = entries(tmp_path, text, lambda spec: [abs(rate(spec) - 1e-4) + spec.trial.values["weight_decay"]])
    assert len({entry.spec.tuned.chosen["learning_rate"] for entry in finals[1:]}) == 1
    assert not [note for note in chances_notes(finals) if re.search("Unequal|end of", note)]


def test_the_end_of_a_range_is_one_too(tmp_path):
    text = THREE + "tune: {learning_rate: {low: 1e-5, high: 1e-2, log: true}, sampler: random, trials: 40}\n"
    for toward, words in ((lambda value: -value, "upper end"), (lambda value: abs(value - 3e-4), None)):
        finals, _ = entries(tmp_path, text, lambda spec, toward=toward: [toward(rate(spec))])
        found = [note for note in chances_notes(finals) if "end of" in note]
        assert all(words in note for note in found) if words else not found


def test_a_study_that_tunes_nothing_has_nothing_to_tell(tmp_path):
    finals, trials = entries(tmp_path, THREE, lambda spec: [1.0])
    assert chances_notes(finals) == []
    assert trials_table(trials, finals).rows == ()


def test_runs_that_wait_and_trials_that_failed_are_told(tmp_path):
    finals, trials = entries(tmp_path, THREE + RATES, ended_at(status="diverged"))
    assert "3 failed; nothing is chosen: all 3 trials failed" in chances_notes(finals)[1]
    assert (finals[1].status, finals[1].reason[:10]) == ("waiting", "all 3 tria")
    assert trials_table(trials, finals).rows[0][-1] == ("diverged: why",)
