import pytest

from annotation.failures import add_class, add_example, set_status, statuses
from annotation.models import FailureStatus
from annotation.withdraw import withdraw
from studio.models import Project


def test_file_an_example(project, sme, answers, guideline):
    failure = add_class(project, "  Invents   functions ", sme, description="Names that do not exist.", severity=3)
    assert failure.name == "Invents functions" and failure.get_severity_display() == "Critical"
    example = add_example(failure, answers[0][1], sme, correction="Use reversed().", reasoning="No such method.")
    assert example.prompt == answers[0][1].prompt and example.guideline == guideline
    with pytest.raises(ValueError, match="filed this completion"):
        add_example(failure, answers[0][1], sme, correction="Again.")
    withdraw(example, sme, "It was right after all")
    assert example.withdrawn_by == sme


def test_the_newest_status_of_each_model_counts(project, sme, answers):
    failure = add_class(project, "Rambles", sme)
    tortoise, hare = answers[0][0].model, answers[0][1].model
    for model, state in ((tortoise, "open"), (tortoise, "fixed"), (hare, "open"), (tortoise, "regressed")):
        set_status(failure, model, state, sme)
    newest = statuses([failure])
    assert newest[failure.pk, tortoise.pk].state == "regressed" and newest[failure.pk, hare.pk].state == "open"
    assert FailureStatus.objects.count() == 4


def test_refusals(project, sme, answers, make_artifact):
    failure = add_class(project, "Rambles", sme)
    elsewhere = Project.objects.create(slug="other", name="Other")
    with pytest.raises(ValueError, match="already"):
        add_class(project, "RAMBLES", sme)
    with pytest.raises(ValueError, match="name"):
        add_class(project, " ", sme)
    with pytest.raises(ValueError, match="Severity"):
        add_class(project, "Odd", sme, severity=9)
    with pytest.raises(ValueError, match="should have been"):
        add_example(failure, answers[0][0], sme, correction=" ")
    with pytest.raises(ValueError, match="another project"):
        add_example(add_class(elsewhere, "Rambles", sme), answers[0][0], sme, correction="x")
    with pytest.raises(ValueError, match="state"):
        set_status(failure, answers[0][0].model, "gone", sme)
    with pytest.raises(ValueError, match="model of this project"):
        set_status(failure, make_artifact("corpus", "Corpus"), "open", sme)
