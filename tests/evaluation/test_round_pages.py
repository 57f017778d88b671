"""The list of rounds, the form that starts one, and a round's page. Works / bad input / wrong role / wrong method."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from annotation.models import Task
from annotation.reviews import win_rates
from evaluation import rounds
from studio.models import Project, Round, User
from studio.runs.models import Run
from tests.showcase import build_showcase, finish

ARGUMENTS = ["showcase"]
DRAW = {"completions_per_prompt": 3, "answers_per_task": 3}
FORM = {"config-completions_per_prompt": "3", "config-answers_per_task": "3", "config-overlap": "1",
        "config-prompts": "0", "config-temperature": "1.0", "config-max_tokens": "48",
        "config-reward_model_epochs": "2", "config-reward_model_learning_rate": "0.0002", "config-episodes": "160",
        "config-ppo_learning_rate": "0.0001", "config-kl_coef": "0.05", "config-review_overlap": "1",
        "config-review_answers": "1",
        "config-review_also": ""}  # fmt: skip


@pytest.fixture
def showcase(db) -> Project:
    """A project whose first round is in review, with one held-out prompt still to be judged."""
    return build_showcase()


@pytest.fixture
def round(showcase) -> Round:
    return showcase.rounds.get()


@pytest.fixture
def sign_in(client_for):
    return lambda name: client_for(User.objects.get(username=name))


def url(name: str, *arguments: int) -> str:
    return reverse(f"evaluation:{name}", args=[*ARGUMENTS, *arguments])


def words(response) -> str:
    return " ".join(response.content.decode().split())


# The list


def test_the_list_shows_figures_with_intervals(round, sign_in, django_assert_max_num_queries):
    client = sign_in("sme")
    with django_assert_max_num_queries(15):
        shown = words(client.get(url("rounds")))
    assert "Round 1" in shown and "In review" in shown
    assert "75.0 %" in shown and "50.0 % – 92.0 %" in shown  # the reward model's accuracy
    assert "0.3 – 0.7" in shown  # PPO's gain: 0.6 after, 0.1 before
    assert "style=" not in shown.split("<main", 1)[1]
    assert url("new-round") not in shown  # a round is under way, and experts do not start any


def test_the_number_of_queries_does_not_grow_with_the_rounds(round, sign_in, django_assert_max_num_queries):
    for number in range(2, 6):
        Round.objects.create(
            project=round.project, number=number, status="closed", start_policy=round.start_policy,
            final_policy=round.final_policy, created_by=round.created_by,
        )  # fmt: skip
    client = sign_in("engineer")
    with django_assert_max_num_queries(15):
        assert "Round 5" in words(client.get(url("rounds")))


def test_an_empty_list_teaches(project, engineer, sme, client_for):
    address = reverse("evaluation:rounds", args=["helpdesk"])
    assert "choose the policy they start from" in words(client_for(engineer).get(address))
    shown = words(client_for(sme).get(address))
    assert "No rounds yet" in shown and "Choose a model" not in shown


@pytest.mark.parametrize("name", ["rounds", "new-round"])
def test_lists_and_forms_are_closed_to_annotators(name, showcase, sign_in):
    assert sign_in("annotator").get(url(name)).status_code == 403


def test_a_list_is_not_posted_to(showcase, sign_in):
    assert sign_in("engineer").post(url("rounds")).status_code == 405


# Starting one


def test_an_engineer_starts_the_next_round(round, sign_in):
    rounds.close(round, "For the test.")
    client = sign_in("engineer")
    form = words(client.get(url("new-round")))
    assert "Start round 2" in form and "Answers drawn a prompt" in form and 'value="3"' in form  # as the first round
    base = Run.objects.get(recipe_name="import_model").outputs.get()
    assert f'<option value="{base.pk}">' in form  # a model that may be reviewed too
    response = client.post(url("new-round"), FORM | {"config-review_also": str(base.pk)})
    assert response.status_code == 302 and response.url == url("round", 2)
    second = Round.objects.get(number=2)
    assert second.config["review_also"] == str(base.pk) and second.runs.get().recipe_name == "sample"


def test_bad_values_come_back_beside_their_fields(round, sign_in):
    rounds.close(round, "For the test.")
    client = sign_in("engineer")
    response = client.post(url("new-round"), FORM | {"config-overlap": "many", "config-review_also": "99999"})
    assert response.status_code == 422
    assert "choose a model of this project" in words(response)
    response = client.post(url("new-round"), FORM | {"config-overlap": "many"})
    assert response.status_code == 422 and "is not a whole number" in words(response)
    assert Round.objects.count() == 1


def test_a_second_start_gets_the_reason(round, sign_in):
    response = sign_in("engineer").post(url("new-round"), FORM)
    assert response.status_code == 422 and "Round 1 is still under way" in words(response)
    assert "A round is under way" in words(sign_in("engineer").get(url("new-round")))


def test_experts_do_not_start_rounds(showcase, sign_in):
    assert sign_in("sme").post(url("new-round"), FORM).status_code == 403
    assert sign_in("engineer").delete(url("new-round")).status_code == 405


# One round


def test_a_round_tells_its_story(round, sign_in, django_assert_max_num_queries):
    client = sign_in("engineer")
    with django_assert_max_num_queries(15):
        shown = words(client.get(url("round", 1)))
    for step in ("Draw answers", "Compare", "Reward model", "PPO", "Blind review", "Promotion"):
        assert step in shown
    for run in round.runs.all():
        assert reverse("runs:detail", args=["showcase", run.pk]) in shown
    assert "75.0 %" in shown and "18 trained on, 6 held out" in shown
    rate = win_rates(round.reviews.get())[0].rate
    assert "Win rate of" in shown and f"{rate.value:.1%}".replace("%", " %") in shown
    assert "style=" not in shown.split("<main", 1)[1]


def test_experts_read_but_are_not_told_how_an_open_review_stands(round, sign_in):
    """They may still be given its tasks. Of the five judgements one was withdrawn."""
    client = sign_in("sme")
    shown = words(client.get(url("round", 1)))
    assert "4 judgements so far" in shown and "Win rate of" not in shown
    assert url("promote-round", 1) not in shown and url("close-round", 1) not in shown
    rate = win_rates(round.reviews.get())[0].rate
    said = f"{rate.low:.1%} – {rate.high:.1%}".replace("%", " %")
    assert said not in words(client.get(url("rounds"))) and said in words(sign_in("engineer").get(url("rounds")))
    rounds.close(round, "For the test.")
    assert "Win rate of" in words(client.get(url("round", 1))) and said in words(client.get(url("rounds")))


def test_the_button_is_the_one_that_is_next(round, sign_in):
    client = sign_in("engineer")
    shown = words(client.get(url("round", 1)))
    assert url("promote-round", 1) in shown and url("train-round", 1) not in shown
    client.post(url("close-round", 1), {"note": "Start over"})
    rounds.start_round(Project.objects.get(pk=round.project_id), round.created_by, DRAW)
    shown = words(client.get(url("round", 2)))
    assert "Answers are being drawn" in shown and url("train-round", 2) not in shown
    assert 'hx-trigger="every 3s"' in shown
    Run.objects.filter(round__number=2).update(status="failed", error="Out of memory: lower the batch.")
    shown = words(client.get(url("round", 2)))
    assert "to resume it" in shown and "Out of memory: lower the batch." in shown
    Run.objects.filter(round__number=2).update(status="queued", error="")
    finish(Run.objects.get(round__number=2))
    shown = words(client.get(url("round", 2)))
    # 12 training prompts, 3 left unranked in the first round: its 9 comparisons and the imported one train the second
    # reward model too.
    assert "Train on what has been compared (10 comparisons)" in shown


def test_a_refresh_brings_only_the_story_and_says_what_changed(round, sign_in):
    client = sign_in("engineer")
    part = words(client.get(url("round", 1) + "?shown=old", headers={"HX-Request": "true"}))
    assert "<html" not in part and 'id="round-story"' in part and "hx-swap-oob" in part
    version = re.search(r"shown=([\w.-]+)", part).group(1)
    assert "hx-swap-oob" not in words(client.get(url("round", 1) + f"?shown={version}", headers={"HX-Request": "true"}))


@pytest.mark.parametrize("who", ["engineer", "owner"])
def test_engineers_and_owners_promote(round, sign_in, who):
    response = sign_in(who).post(url("promote-round", 1), follow=True)
    round.refresh_from_db()
    assert round.status == "promoted" and "the next round starts from this policy" in words(response)
    assert Project.objects.get(pk=round.project_id).policy == round.final_policy


def test_who_comes_second_is_told(round, sign_in):
    client = sign_in("engineer")
    client.post(url("promote-round", 1))
    assert "Round 1 is promoted now; reload the page." in words(client.post(url("promote-round", 1), follow=True))
    assert "Round 1 is over already." in words(client.post(url("close-round", 1), {"note": "late"}, follow=True))
    assert "Round 1 is promoted now" in words(client.post(url("train-round", 1), follow=True))


def test_closing_takes_a_reason(round, sign_in):
    client = sign_in("engineer")
    response = client.post(url("close-round", 1), {"note": " "})
    assert response.status_code == 422 and "say why in a sentence" in words(response)
    response = client.post(url("close-round", 1), {"note": "People preferred <the old one>."}, follow=True)
    shown = words(response)
    assert "People preferred &lt;the old one&gt;." in shown and "Closed without promotion" in shown
    assert not Task.objects.filter(round=round, status="open").exists()


def test_training_from_the_page(round, sign_in):
    rounds.close(round, "For the test.")
    second = rounds.start_round(Project.objects.get(pk=round.project_id), round.created_by, DRAW)
    finish(second.runs.get())
    shown = words(sign_in("engineer").post(url("train-round", 2), follow=True))
    assert "The reward model is in the queue" in shown
    assert second.runs.get(recipe_name="reward_model").status == "queued"


@pytest.mark.parametrize("name", ["train-round", "promote-round", "close-round"])
def test_acts_are_posted_by_engineers(name, round, sign_in):
    for who in ("annotator", "sme"):
        assert sign_in(who).post(url(name, 1), {"note": "no"}).status_code == 403
    assert sign_in("engineer").get(url(name, 1)).status_code == 405
    assert sign_in("engineer").post(url(name, 99), {"note": "no"}).status_code == 404
    round.refresh_from_db()
    assert round.status == "reviewing"


def test_a_round_is_closed_to_annotators_and_strangers(round, sign_in, outsider, client_for):
    assert sign_in("annotator").get(url("round", 1)).status_code == 403
    assert client_for(outsider).get(url("round", 1)).status_code == 404
    assert sign_in("sme").get(url("round", 77)).status_code == 404
