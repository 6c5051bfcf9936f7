"""Distillation: the loss is its closed form, lessons say what the teacher says, and limits are told."""

import json

import numpy as np
import pytest
import torch

from fairtune.errors import BudgetError
from fairtune.methods import METHODS, Course
from fairtune.methods.distill import divergence
from fairtune.models.lessons import Lesson, Lessons, Syllabus, write_lessons
from fairtune.models.likelihood import supervised_logits
from fairtune.train.loop import train
from tests import tiny
from tests.contract.cases import RECIPE

torch.manual_seed(0)
TEACHER, STUDENT = 3 * torch.randn(5, 12), 3 * torch.randn(5, 12)


def lesson(top_k, temperature=1.0, logits=TEACHER):
    log_p = (logits / temperature).log_softmax(-1)
    if top_k == "all":
        return Lesson(log_p, None, torch.full((len(logits),), -torch.inf))
    best, ids = log_p.topk(top_k)
    return Lesson(best, ids, (1 - best.double().exp().sum(-1)).clamp_min(0).log().float())


def dense(student, teacher, temperature=1.0):
    """Hinton et al. 2015: the sum over the whole vocabulary, as it is written."""
    p, q = (teacher / temperature).softmax(-1), (student / temperature).softmax(-1)
    return (p * (p / q).log()).sum(-1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_all_tokens_kept_is_the_dense_divergence(temperature):
    found = divergence(STUDENT, lesson("all", temperature), temperature)
    assert torch.allclose(found, dense(STUDENT, TEACHER, temperature), atol=1e-5)
    whole = lesson(12, temperature)
    rest = divergence(STUDENT, Lesson(whole.log_p, whole.ids, torch.full((5,), -torch.inf)), temperature)
    assert torch.allclose(rest, found, atol=1e-5)


@pytest.mark.parametrize("top_k", [1, 3, 11])
def test_the_best_and_the_rest_are_a_divergence_over_so_many_outcomes(top_k):
    p, q = TEACHER.softmax(-1), STUDENT.softmax(-1)
    ids = p.topk(top_k).indices
    p_kept, q_kept = p.gather(-1, ids), q.gather(-1, ids)
    p_rest, q_rest = 1 - p_kept.sum(-1), 1 - q_kept.sum(-1)
    expected = (p_kept * (p_kept / q_kept).log()).sum(-1) + p_rest * (p_rest / q_rest).log()
    found = divergence(STUDENT, lesson(top_k), 1.0)
    assert torch.allclose(found, expected, atol=1e-5)
    assert (found <= dense(STUDENT, TEACHER) + 1e-6).all()  # the log-sum inequality


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    for top_k in (1, 5, "all"):
        logits = TEACHER.clone().requires_grad_(True)
        loss = divergence(logits, lesson(top_k), 1.0).sum()
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0, abs=1e-5)
        assert logits.grad.abs().max() < 1e-5


def test_the_gradient_is_student_minus_teacher_over_the_temperature():
    """Hinton et al. 2015, equation 2: dC/dz = (q - p) / T."""
    for temperature in (1.0, 2.0):
        logits = STUDENT.clone().requires_grad_(True)
        divergence(logits, lesson("all", temperature), temperature).sum().backward()
        expected = ((STUDENT / temperature).softmax(-1) - (TEACHER / temperature).softmax(-1)) / temperature
        assert torch.allclose(logits.grad, expected, atol=1e-6)


@pytest.mark.parametrize("top_k", [1, 4])
def test_the_gradient_with_a_rest_is_that_of_finite_differences(top_k):
    logits = STUDENT.double().requires_grad_(True)
    kept = lesson(top_k)
    kept = Lesson(kept.log_p.double(), kept.ids, kept.log_tail.double())
    assert torch.autograd.gradcheck(lambda z: divergence(z, kept, 1.5), (logits,))


def test_a_student_that_is_nearly_sure_keeps_a_finite_gradient():
    sure = torch.zeros(1, 12)
    sure[0, 3] = 60.0  # 1 - q is zero in fp32
    teacher = torch.zeros(1, 12)
    teacher[0, 3] = 5.0
    logits = sure.clone().requires_grad_(True)
    divergence(logits, lesson(1, logits=teacher), 1.0).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().max() > 0


# --- lessons on disk -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("top_k", "tolerance"), [(5, 1e-6), (1000, 2e-3), ("all", 2e-3)])
def test_lessons_say_what_the_teacher_says(llama, tmp_path, top_k, tolerance):
    teacher, items = tiny.language_model(llama), tiny.encoded(7)
    write_lessons(teacher, items, Syllabus("x", top_k, 2.0), tmp_path / "l")
    lessons = Lessons(tmp_path / "l")
    batch = [items[5], items[0], items[3]]  # another order than they were written in
    found = lessons.of(batch, torch.device("cpu"))
    with torch.no_grad():
        logits, _, _ = supervised_logits(teacher, batch)
    log_p = (logits[:, : lessons.width] / 2.0).log_softmax(-1)
    kept = log_p if found.ids is None else log_p.gather(-1, found.ids)
    assert torch.allclose(found.log_p, kept, atol=tolerance * 10, rtol=tolerance)
    whole = found.log_p.exp().sum(-1) + found.log_tail.exp()
    assert torch.allclose(whole, torch.ones_like(whole), atol=1e-5)
    assert (found.ids is None) == (top_k != 5)


def test_lessons_are_keyed_by_teacher_texts_and_settings():
    items = tiny.encoded(3)
    plain = Syllabus("a", 5, 1.0)
    keys = {
        plain.key(items),
        plain.key(items[:2]),
        plain.key(tiny.encoded(3, seed=5)),
        Syllabus("b", 5, 1.0).key(items),
        Syllabus("a", 6, 1.0).key(items),
        Syllabus("a", "all", 1.0).key(items),
        Syllabus("a", 5, 2.0).key(items),
    }
    assert len(keys) == 7
    assert plain.key(tiny.encoded(3)) == plain.key(items)


def test_lessons_that_were_cut_short_are_not_there(llama, tmp_path, monkeypatch):
    monkeypatch.setattr(np.lib.format, "open_memmap", lambda *a, **k: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_lessons(tiny.language_model(llama), tiny.encoded(2), Syllabus("x", 5, 1.0), tmp_path / "l")
    assert not (tmp_path / "l").exists()


def test_lessons_that_do_not_fit_the_disk_are_refused(llama, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(BudgetError, match="lower top_k"):
        write_lessons(tiny.language_model(llama), tiny.encoded(2), Syllabus("x", "all", 1.0), tmp_path / "l")


# --- a student in training -----------------------------------------------------------------------------------------


def taught(llama, folder, alpha, top_k="all", student="full", temperature=1.0):
    items = tiny.encoded(12)
    if not (folder / "l").exists():
        teacher = tiny.language_model(tiny.save_model(folder / "teacher", seed=5))
        write_lessons(teacher, items, Syllabus("x", top_k, temperature), folder / "l")
    options = METHODS["distill"].options.model_validate(
        {"teacher": "x", "student": student, "alpha": alpha, "top_k": top_k, "temperature": temperature}
    )
    course = Course(0, 3, folder / "l")
    tuned = METHODS["distill"].attach(tiny.language_model(llama), options.model_dump(), course)
    curve = []
    train(tuned, items, tiny.encoded(3, seed=9), RECIPE, 0, folder / "best", curve.append)
    return tuned, [update.loss for update in curve]


def test_without_weight_for_the_teacher_it_is_ordinary_training(llama, tmp_path):
    _, losses = taught(llama, tmp_path, alpha=0.0)
    curve = []
    train(tiny.tuned(llama, "full"), tiny.encoded(12), tiny.encoded(3, seed=9), RECIPE, 0, tmp_path / "b", curve.append)
    assert losses == pytest.approx([update.loss for update in curve], rel=1e-6)


def test_the_student_comes_nearer_to_the_teacher(llama, tmp_path):
    tuned, losses = taught(llama, tmp_path, alpha=1.0)
    assert losses[-1] < losses[0]
    assert {weight.requires_grad for weight in tuned.model.network.parameters()} == {True}


def test_a_student_can_be_any_method(llama, tmp_path):
    tuned, _losses = taught(llama, tmp_path, alpha=0.5, top_k=5, student={"lora": {"rank": 2}}, temperature=2.0)
    moved = [name for name, weight in tuned.model.network.named_parameters() if weight.requires_grad]
    assert moved
    assert all("lora_" in name for name in moved)
    tuned.save(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "adapter_config.json").read_text())["r"] == 2
    method = METHODS["distill"].acting({"student": {"lora": {}}})
    assert (method.name, method.artifact) == ("lora", "adapter")
