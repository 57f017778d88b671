"""The form that starts a run: made from the recipe, checked by the same rules as the shell's."""

import pytest
from django.urls import reverse

from studio.models import Project
from studio.runs.contract import ConfigError
from studio.runs.forms import RunForm
from studio.runs.models import Run
from studio.runs.submit import submit_run
from tests import counting
from training.recipes import pretrain, tokenizer

COUNT = {"config-steps": "7", "config-seconds_a_step": "0", "config-checkpoint_every": "1", "config-fail_at": "-1"}


@pytest.fixture
def url() -> str:
    return reverse("runs:start", args=["helpdesk", "count"])


@pytest.fixture
def corpus(make_artifact, engineer):
    return make_artifact(engineer, "corpus", "Handbook", {"train.jsonl": [{"text": "a"}]})


def test_choosing_a_recipe(project, engineer, sme, known_recipes, client_for):
    url = reverse("runs:new", args=["helpdesk"])
    page = client_for(engineer).get(url).content.decode()
    assert reverse("runs:start", args=["helpdesk", "count"]) in page
    assert "Still missing: Corpus" in page  # what the tokenizer needs
    assert client_for(sme).get(url).status_code == 403
    assert client_for(engineer).post(url).status_code == 405


def test_the_form_shows_what_the_recipe_declares(project, engineer, known_recipes, corpus, client_for, url):
    page = client_for(engineer).get(url).content.decode()
    assert "How far to count. From 1 to 10,000." in page
    assert '<input type="text" name="config-steps" value="10" inputmode="numeric"' in page
    assert f'<option value="{corpus.pk}">Handbook (#{corpus.pk}' in page
    assert 'type="checkbox" name="config-ignore_stop"' in page
    assert "<span>s</span>" in page  # the unit
    assert " style=" not in page


def test_a_run_starts_with_the_given_values(project, engineer, known_recipes, corpus, client_for, url, unsent):
    answer = client_for(engineer).post(
        url, COUNT | {"title": "To seven", "config-ignore_stop": "on", "input-start": corpus.pk}
    )
    run = Run.objects.get()
    assert answer.url == reverse("runs:detail", args=["helpdesk", run.pk])
    assert (run.title, run.status, run.created_by) == ("To seven", "queued", engineer)
    assert run.config == {"steps": 7, "seconds_a_step": 0.0, "checkpoint_every": 1, "fail_at": -1, "ignore_stop": True}
    assert [(row.role, row.artifact) for row in run.inputs.all()] == [("start", corpus)]


def test_bad_values_get_the_sentences_of_the_shell(project, engineer, known_recipes, client_for, url):
    answer = client_for(engineer).post(url, COUNT | {"config-steps": "0", "config-fail_at": "two"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "Steps: 0 must be at least 1 and at most 10000." in page
    assert "Fail at: &#x27;two&#x27; is not a whole number." in page
    assert 'value="two"' in page and 'aria-invalid="true"' in page  # what was typed is still there
    assert not Run.objects.exists()


def test_an_artifact_of_another_kind_or_project_is_refused(
    project, engineer, known_recipes, make_artifact, client_for, url
):
    model = make_artifact(engineer, "model", "Model", {"config.json": "{}"})
    elsewhere = Project.objects.create(slug="other", name="Other")
    foreign = make_artifact(engineer, "corpus", "Foreign", {"train.jsonl": "x"}, project=elsewhere)
    client = client_for(engineer)
    for chosen in (model.pk, foreign.pk, "nonsense"):
        page = client.post(url, COUNT | {"input-start": chosen}).content.decode()
        assert "Start: choose an artifact of this project (kind: corpus)." in page
    assert not Run.objects.exists()


def test_a_required_input_must_be_chosen(project, engineer, known_recipes, client_for):
    url = reverse("runs:start", args=["helpdesk", "tokenizer"])
    client = client_for(engineer)
    assert "This project has none yet." in client.get(url).content.decode()
    answer = client.post(url, {"config-vocab_size": "300", "config-minimum_frequency": "2"}).content.decode()
    assert "Corpus: choose an artifact (kind: corpus)." in answer


def test_only_engineers_start_runs(project, sme, annotator, outsider, known_recipes, client_for, url):
    assert client_for(sme).post(url, COUNT).status_code == 403
    assert client_for(annotator).get(url).status_code == 403
    assert client_for(outsider).post(url, COUNT).status_code == 404
    assert client_for(sme).put(url).status_code == 405
    assert not Run.objects.exists()


def test_no_such_recipe(project, engineer, known_recipes, client_for):
    assert client_for(engineer).get(reverse("runs:start", args=["helpdesk", "abacus"])).status_code == 404


def test_repeating_fills_in_the_old_values_and_inputs(project, engineer, make_run, corpus, client_for, url, unsent):
    old = make_run(project, engineer, "succeeded", title="Old", config={"steps": 42})
    old.inputs.create(role="start", artifact=corpus)
    client = client_for(engineer)
    page = client.get(url, {"repeat": old.pk}).content.decode()
    assert 'value="42"' in page and 'value="Old"' in page
    assert f'<option value="{corpus.pk}" selected>' in page
    client.post(f"{url}?repeat={old.pk}", COUNT | {"input-start": corpus.pk})
    assert Run.objects.get(repeat_of=old).config["steps"] == 7
    assert client.get(url, {"repeat": 999}).status_code == 404
    assert client.get(reverse("runs:start", args=["helpdesk", "tokenizer"]), {"repeat": old.pk}).status_code == 404


def test_an_artifact_page_can_hand_over_its_artifact(project, engineer, known_recipes, corpus, client_for, url):
    assert (
        f'<option value="{corpus.pk}" selected>'
        in client_for(engineer).get(url, {"input-start": corpus.pk}).content.decode()
    )


def test_every_form_asks_few_questions_of_the_database(
    project, engineer, known_recipes, corpus, client_for, django_assert_max_num_queries
):
    client = client_for(engineer)
    for name in known_recipes:
        with django_assert_max_num_queries(15):
            client.get(reverse("runs:start", args=["helpdesk", name]))


def test_groups_that_concern_the_machine_start_closed_unless_they_hold_an_error(project, known_recipes):
    closed = {g.title for g in RunForm(pretrain.RECIPE, project).groups if g.collapsed}
    assert closed and closed <= {"Hardware", "Machine", "Watching", "Advanced"}
    form = RunForm(pretrain.RECIPE, project, {})
    form.full_clean()
    name = next(group for group in form.groups if group.collapsed).fields[0].name
    form.add_error(name, "Wrong.")
    assert not next(g for g in form.groups if name in [field.name for field in g.fields]).collapsed


@pytest.mark.parametrize("recipe", [counting.RECIPE, tokenizer.RECIPE, pretrain.RECIPE])
def test_an_untouched_form_gives_the_defaults(recipe, project, known_recipes):
    """What a browser sends back of the initial values is parsed to the dataclass's own defaults."""
    from studio.runs.contract import options, parse_config

    empty = RunForm(recipe, project)
    sent = {}
    for o in options(recipe.config):
        value = empty.initial[f"config-{o.name}"]
        if value is not False:
            sent[f"config-{o.name}"] = "on" if value is True else value
    form = RunForm(recipe, project, sent)
    assert form.is_valid(), form.errors
    assert parse_config(recipe.config, form.values()) == recipe.config()


@pytest.mark.parametrize(
    "path", ["{var}/secret-key", "{var}/imports/../secret-key", "manage.py", "evaluation/../manage.py"]
)
def test_server_paths_outside_the_import_roots_are_refused_however_they_are_written(project, engineer, settings, path):
    """The secret key and the database lie in var/; a bare name counts from the studio's own directory."""
    (settings.VAR / "secret-key").touch()
    values = {"pairs_file": path.format(var=settings.VAR)}
    with pytest.raises(ConfigError) as caught:
        submit_run(project, engineer, "bias", values, {})
    assert "is outside the directories that may be read" in caught.value.errors["pairs_file"]


def test_server_paths_below_an_import_root_are_accepted(project, engineer, settings):
    (settings.VAR / "imports" / "pairs.csv").touch()
    with pytest.raises(ConfigError) as caught:
        submit_run(project, engineer, "bias", {"pairs_file": str(settings.VAR / "imports" / "pairs.csv")}, {})
    assert "pairs_file" not in caught.value.errors  # only the models are missing
