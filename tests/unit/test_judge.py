"""A judge of two runs' answers: what it is asked, what is made of what it says, and what is kept of it."""

import hashlib
import json
from dataclasses import asdict, replace

import pytest
import torch
from scipy.stats import binomtest

import fairtune.execute.judge_worker as judge_worker
from fairtune.errors import ModelError, SpecError
from fairtune.evaluate.judging import Reader, first_preferred
from fairtune.evaluate.verdicts import Verdict, fill
from fairtune.execute import read_request
from fairtune.execute.judge import question_of
from fairtune.execute.judge_worker import Sitting
from fairtune.execute.judged import Line, line_of, questions_of, verdicts_of, win_rate
from fairtune.execute.phases import PhaseMeter
from fairtune.execute.progress import ProgressFile
from fairtune.records import JudgementFolder, read_lines
from fairtune.study import JudgedItem, JudgeSpec, PairSpec, judgement_id
from tests import tiny
from tests.cli.command import study


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory):
    return tiny.save_model(tmp_path_factory.mktemp("judge"), context=1024, seed=3)


@pytest.fixture(scope="module")
def request_of(tmp_path_factory, llama, judge_folder):
    prompt = "{question}\nA: {answer_a}\nB: {answer_b}\nReply A or B."
    folder = tmp_path_factory.mktemp("asked")
    return read_request(study(folder, llama, judge={"model": str(judge_folder), "prompt": prompt}))


def items(count):
    """Every fourth with two equal answers."""
    return tuple(
        JudgedItem(
            id=f"{index:03}",
            question=f"What is {index}?",
            reference="r",
            run=f"it is {index * 7}",
            against=f"it is {index * 7}" if index % 4 == 0 else f"{index * 3} it may be",
        )
        for index in range(count)
    )


def swapped(asked):
    return tuple(item.model_copy(update={"run": item.against, "against": item.run}) for item in asked)


def lines(judge, asked, answer):
    """Lines of a judge that gives a question's first answer this probability."""
    said = {key: answer(text) for item in asked for key, text in questions_of(judge, item).items()}
    return [line_of(judge, item, said) for item in asked]


def whim(text):
    """A probability that any text has, of no meaning."""
    return hashlib.sha256(text.encode()).digest()[0] / 256


def decided(wins, losses, ties=0):
    return [
        *(Line("", "", "", result="win") for _ in range(wins)),
        *(Line("", "", "", result="loss") for _ in range(losses)),
        *(Line("", "", "", result="tie") for _ in range(ties)),
    ]


def test_braces_of_questions_and_answers_are_only_text():
    prompt = 'Reply {"x"}. {question} | {answer_a} | {answer_b} | {reference}'
    asked = fill(prompt, "{answer_b}?", "{question}", "{0}", "{}")
    assert asked == 'Reply {"x"}. {answer_b}? | {question} | {0} | {}'


@pytest.mark.parametrize(
    ("run_first", "against_first", "votes", "result", "flipped", "first_chosen"),
    [
        (0.9, 0.2, ("run", "run"), "win", False, 1),
        (0.1, 0.8, ("against", "against"), "loss", False, 1),
        (0.9, 0.7, ("run", "against"), "tie", True, 2),
        (0.3, 0.4, ("against", "run"), "tie", True, 0),
        (0.5, 0.2, ("neither", "run"), "tie", False, 0.5),
    ],
)
def test_an_item_is_won_where_both_orders_agree(run_first, against_first, votes, result, flipped, first_chosen):
    found = Verdict(run_first, against_first)
    assert (found.votes, found.result, found.flipped) == (votes, result, flipped)
    assert found.first_chosen == first_chosen
    mirrored = Verdict(against_first, run_first)
    assert mirrored.result == {"win": "loss", "loss": "win", "tie": "tie"}[result]
    assert mirrored.preference == pytest.approx(1 - found.preference)


def test_two_runs_that_change_places_mirror_the_win_rate(request_of):
    judge, asked = request_of.judge, items(40)
    ours, theirs = lines(judge, asked, whim), lines(judge, swapped(asked), whim)
    one, other = verdicts_of(ours), verdicts_of(theirs)
    assert one.wins
    assert (one.wins, one.ties, one.losses, one.flips) == (other.losses, other.ties, other.wins, other.flips)
    (rate, p), (mirrored, q) = win_rate(ours), win_rate(theirs)
    assert rate.value == 1 - mirrored.value
    assert (rate.low, rate.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
    assert p == q


def test_equal_answers_are_ties_and_nobody_is_asked(request_of):
    asked = [item.model_copy(update={"against": item.run}) for item in items(6)]
    assert not any(questions_of(request_of.judge, item) for item in asked)
    found = lines(request_of.judge, asked, whim)
    (rate, p), verdicts = win_rate(found), verdicts_of(found)
    assert (rate.value, rate.n, p) == (0.5, 6, 1.0)
    assert (verdicts.ties, verdicts.equal, verdicts.asked, verdicts.first_chosen) == (6, 6, 0, None)


def test_a_judge_that_always_takes_the_first_answer_gives_only_ties(request_of):
    found = lines(request_of.judge, items(12), lambda _: 0.99)
    verdicts = verdicts_of(found)
    assert (verdicts.wins, verdicts.ties, verdicts.losses) == (0, 12, 0)
    assert (verdicts.flips, verdicts.asked, verdicts.first_chosen) == (9, 9, 1.0)
    assert win_rate(found)[0].value == 0.5


def test_the_rate_and_its_p_value_are_those_of_closed_forms():
    rate, p = win_rate(decided(10, 2))
    outside = binomtest(10, 12)
    assert rate.value == pytest.approx(10 / 12)
    assert p == pytest.approx(outside.pvalue, abs=0.012)
    wilson = outside.proportion_ci(method="wilson")
    assert (rate.low, rate.high) == pytest.approx((wilson.low, wilson.high))
    rate, p = win_rate(decided(10, 2, ties=8))
    assert rate.value == pytest.approx(14 / 20)
    assert p == pytest.approx(outside.pvalue, abs=0.012)  # a tie says nothing of which is better
    assert rate.low < 14 / 20 < rate.high
    assert "bootstrap" in rate.interval


def test_items_that_are_too_long_are_left_out_and_counted(request_of):
    asked = items(8)
    found = lines(request_of.judge, asked, lambda text: None if "What is 3?" in text else 0.2)
    verdicts, (rate, _) = verdicts_of(found), win_rate(found)
    assert (verdicts.items, verdicts.left_out, rate.n) == (8, 1, 7)
    assert [line.reason for line in found if line.result is None] == ["longer than the judge reads"]
    rate, p = win_rate([replace(line, result=None) for line in found])
    assert (rate.value, rate.low, p) == (None, None, None)
    assert "longer than the judge reads" in rate.reason


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_verdict_is_the_likelihood_of_two_letters(request, kind):
    """In the chat template, or without one."""
    model = tiny.language_model(request.getfixturevalue(kind))
    reader = Reader(model.tokenizer)
    question = "Which is better?"
    found = first_preferred(model, reader, [question])[0]
    asked, opened = question + "\n", "<|im_start|>user\nWhich is better?<|im_end|>\n<|im_start|>assistant\n"
    ids = model.tokenizer(opened if kind == "llama" else asked, add_special_tokens=False)["input_ids"]
    letters = [model.tokenizer(letter, add_special_tokens=False)["input_ids"][0] for letter in "AB"]
    with torch.no_grad():
        logits = model.network(input_ids=torch.tensor([ids])).logits[0, -1, letters]
    assert found == pytest.approx(float(logits.float().softmax(-1)[0]), abs=1e-4)


def test_questions_share_what_they_begin_with(judge_folder):
    model = tiny.language_model(judge_folder)
    reader = Reader(model.tokenizer)
    questions = ["Some long instruction. " * 10 + f"{index} {order}" for index in range(8) for order in "xy"]
    seen = []
    embedding = model.network.get_input_embeddings()
    hook = embedding.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0].numel()))
    together = first_preferred(model, reader, questions)
    hook.remove()
    lengths = [len(reader.replies(question)[0].context) for question in questions]
    assert sum(seen) < sum(lengths) / 4
    alone = [first_preferred(model, reader, [question])[0] for question in questions]
    assert together == pytest.approx(alone, abs=1e-4)


def test_a_question_beyond_the_context_is_not_cut_but_left_out(llama):
    model = tiny.language_model(llama)  # 256 tokens
    reader = Reader(model.tokenizer)
    around = len(reader.replies("")[0].context)
    fits, not_quite = "x" * (256 - around), "x" * (257 - around)
    found = first_preferred(model, reader, [not_quite, fits, "x"])
    assert found[0] is None
    assert None not in found[1:]
    assert first_preferred(model, reader, [not_quite]) == [None]


def test_a_tokenizer_without_letters_cannot_judge():
    class Blind:
        chat_template, eos_token_id, added_tokens_decoder, all_special_ids = None, 0, {}, []

        def __call__(self, text, add_special_tokens=True):
            return {"input_ids": [1] * len(text)}

    with pytest.raises(ModelError, match="same tokens"):
        Reader(Blind()).replies("Which?")


def test_a_question_has_its_instruction_and_all_its_turns():
    from fairtune.data import Message, make_example

    system, user, answer = Message("system", "Be brief."), Message("user", "Why?"), Message("assistant", "So.")
    assert question_of(make_example((system, user, answer))) == "Be brief.\n\nWhy?"
    asked = question_of(make_example((user, answer, Message("user", "And?"), answer)))
    assert asked == "User: Why?\n\nAssistant: So.\n\nUser: And?"


# The judge at work, in this process.


def pair_of(request, asked, turned=False):
    run, against = request.pairs[0][::-1] if turned else request.pairs[0]
    return PairSpec(id=judgement_id(request.judge, run, against, asked), run=run, against=against, items=asked)


def sitting(request, folder, *pairs):
    there = JudgementFolder(folder / "judgements")
    there.process.path.mkdir(parents=True, exist_ok=True)
    spec = JudgeSpec(study="small", judge=request.judge, pairs=pairs, budget=request.loaded.study.budget)
    return there, Sitting(spec, there, PhaseMeter(ProgressFile(there.process.progress)), ("fairtune",))


def test_a_real_judge_mirrors_exactly_and_asks_nothing_twice(tmp_path, request_of, monkeypatch):
    pair, turned = pair_of(request_of, items(10)), pair_of(request_of, swapped(items(10)), turned=True)
    there, one = sitting(request_of, tmp_path / "one", pair)
    one.judge(pair)
    elsewhere, other = sitting(request_of, tmp_path / "other", turned)
    other.judge(turned)
    ours, theirs = there.read(pair.id), elsewhere.read(turned.id)
    assert ours.win_rate.value == 1 - theirs.win_rate.value
    assert (ours.verdicts.wins, ours.verdicts.losses) == (theirs.verdicts.losses, theirs.verdicts.wins)
    first = [line["first"] for line in read_lines(there.lines(pair.id))]
    assert first == [line["first"][::-1] for line in read_lines(elsewhere.lines(turned.id))]
    assert ours.verdicts.asked == 7
    assert not there.partial(pair.id).exists()

    def asked_again(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr(judge_worker, "first_preferred", asked_again)
    _, again = sitting(request_of, tmp_path / "one", turned)
    again.judge(turned)  # the same questions in the other order: known, and no model is loaded
    assert there.read(turned.id).win_rate == theirs.win_rate
    assert there.read(turned.id).phases == {}


def test_what_was_said_before_a_judge_was_stopped_is_kept(tmp_path, request_of, monkeypatch):
    pair = pair_of(request_of, items(10))
    monkeypatch.setattr(judge_worker, "_TOGETHER", 4)
    calls = []

    def stopped(model, reader, questions):
        calls.append(len(questions))
        if len(calls) == 3:
            raise RuntimeError("CUDA out of memory")
        return [0.7] * len(questions)

    monkeypatch.setattr(judge_worker, "first_preferred", stopped)
    there, one = sitting(request_of, tmp_path, pair)
    with pytest.raises(RuntimeError) as error:
        one.judge(pair)
    one.fail(error.value)
    failed = there.read(pair.id)
    assert (failed.status, failed.error.kind, failed.win_rate) == ("out_of_memory", "RuntimeError", None)
    assert len(there.said()) == 8
    with there.partial(pair.id).open("a", encoding="utf-8") as file:
        file.write('{"key": "torn')  # as a killed process may leave it
    there.put_away(pair.id)
    _, again = sitting(request_of, tmp_path, pair)
    again.judge(pair)
    assert calls == [4, 4, 4, 4, 2]
    found = there.read(pair.id)
    assert (found.status, found.verdicts.flips) == ("ok", 7)
    assert [path.name for path in (there.path / "attempts").iterdir()] == [f"{pair.id}.1.json"]


def test_the_id_of_a_judgement_is_what_it_depends_on(request_of):
    judge, asked = request_of.judge, items(4)
    run, against = request_of.pairs[0]
    first = judgement_id(judge, run, against, asked)
    other_text = (*asked[:3], asked[3].model_copy(update={"run": "other"}))
    changed = [
        judgement_id(judge, against, run, asked),
        judgement_id(judge, run, against, other_text),
        judgement_id(judge.model_copy(update={"precision": "bf16"}), run, against, asked),
        judgement_id(judge.model_copy(update={"prompt": "else"}), run, against, asked),
    ]
    assert len({first, *changed}) == 5
    moved = judge.model.model_copy(update={"source": "/elsewhere", "name": "other"})
    assert judgement_id(judge.model_copy(update={"model": moved}), run, against, asked) == first


def test_a_line_is_plain_data(request_of):
    (found, *_) = lines(request_of.judge, items(2)[1:], whim)
    assert json.loads(json.dumps(asdict(found)))["votes"] == list(found.votes)


def test_a_judge_changes_no_run(tmp_path, llama, judge_folder):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    judged = read_request(study(tmp_path / "with", llama, judge={"model": str(judge_folder)}))
    plain = read_request(study(tmp_path / "without", llama))
    assert [spec.run_id for spec in judged.specs] == [spec.run_id for spec in plain.specs]
    assert (plain.judge, plain.pairs) == (None, ())


def test_runs_are_compared_with_the_method_that_is_named(tmp_path, llama, judge_folder):
    methods = ["base", {"full": {"learning_rate": 1e-3}}, {"lora": {"rank": [2, 4]}}]
    judge = {"model": str(judge_folder), "against": "full"}
    found = read_request(study(tmp_path, llama, methods=methods, judge=judge, seeds=[0, 1])).pairs
    names = [(run.method.label, run.seed, other.method.label, other.seed) for run, other in found]
    assert sorted(names) == [(f"lora rank={rank}", seed, "full", seed) for rank in (2, 4) for seed in (0, 1)]


@pytest.mark.parametrize(
    ("judge", "changes", "told"),
    [
        ({}, {}, "judge.model: is required"),
        ({"model": "./nowhere"}, {}, "judge.model: model folder"),
        ({"model": {"source": "JUDGE", "revison": "x"}}, {}, "judge.model.revison: unknown; did you mean 'revision'?"),
        ({"model": "JUDGE", "limt": 1}, {}, "judge.limt: unknown; did you mean 'limit'?"),
        ({"model": "JUDGE", "limit": 0}, {}, "judge.limit"),
        ({"model": "JUDGE", "precision": "fp8"}, {}, "fp8 is not written yet"),
        ({"model": "JUDGE", "prompt": "{question} {answer_a}"}, {}, "judge.prompt: lacks {answer_b}"),
        ({"model": "JUDGE", "prompt": "./ask.txt"}, {}, "judge.prompt: './ask.txt' has no fields"),
        ({"model": "JUDGE", "against": "ful"}, {}, "no method is called 'ful'; did you mean 'full'?"),
        ({"model": "JUDGE"}, {"methods": ["full"]}, "judge: the study has no untouched model"),
        ({"model": "JUDGE"}, {"methods": ["base"]}, "judge: there is no trained run to compare with 'base'"),
        (
            {"model": "JUDGE"},
            {"evaluate": ["perplexity"]},
            "no metric of this study (perplexity) has any written; add one to `evaluate`: bleu, chrf",
        ),
        (
            {"model": {"scratch": {"architecture": "gpt2", "layers": 1, "heads": 1, "hidden": 8, "context": 64}}},
            {},
            "a model from scratch has learned nothing",
        ),
    ],
)
def test_a_judge_that_cannot_judge_is_told_when_the_study_is_read(tmp_path, llama, judge_folder, judge, changes, told):
    asked = json.loads(json.dumps(judge).replace("JUDGE", str(judge_folder)))
    with pytest.raises(SpecError) as error:
        read_request(study(tmp_path, llama, judge=asked, **changes))
    assert str(error.value).count(told) == 1
    assert "study.yaml" in str(error.value)


def test_plain_text_has_nothing_to_judge(tmp_path, llama, judge_folder):
    for name in ("train", "test"):
        (tmp_path / f"{name}.txt").write_text(tiny.text(3000, seed=len(name)), encoding="utf-8")
    task = {"name": "text", "train": "train.txt", "test": "test.txt", "metrics": ["perplexity"], "window": 64}
    with pytest.raises(SpecError, match="judge: compares answers, and plain text has none"):
        read_request(study(tmp_path, llama, task=task, judge={"model": str(judge_folder)}))
