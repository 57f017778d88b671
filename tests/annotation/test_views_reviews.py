"""Reviews: list, start, follow and read, close."""

from __future__ import annotations

import pytest

from annotation import queue, submit
from annotation.models import Review
from annotation.reviews import close_review, start_review
from studio.models import User

URL = "/projects/helpdesk/reviews/"


@pytest.fixture
def models(answers):
    return [completion.model for completion in answers[0]]


@pytest.fixture
def review(project, engineer, models) -> Review:
    """Tortoise and Hare on the two held-out prompts."""
    return start_review(project, engineer, "Blind one", models[:2])


def prefer(review: Review, judge: User, name: str) -> None:
    """Judge one task for the model of this name."""
    claim = queue.claim_next(review.queue, judge)
    by_name = {completion.model.name: letter for letter, completion in queue.shown_answers(claim).items()}
    winner = by_name.pop(name)
    submit.submit_ranking(claim, [[winner], list(by_name.values())])


class TestList:
    def test_shows_progress(self, client_for, sme, review, annotator):
        prefer(review, annotator, "Hare")
        seen = client_for(sme).get(URL).text
        assert "1 of 2" in seen
        assert "Tortoise, Hare" in seen

    def test_empty_page_teaches(self, client_for, engineer, sme, project):
        assert "New review" in client_for(engineer).get(URL).text
        assert "Engineers start reviews" in client_for(sme).get(URL).text

    def test_wrong_role_and_method(self, client_for, annotator, outsider, sme, review):
        assert client_for(annotator).get(URL).status_code == 403
        assert client_for(outsider).get(URL).status_code == 404
        assert client_for(sme).post(URL).status_code == 405


class TestNew:
    data = {"name": "Side by side", "overlap": 2, "per_prompt": 1}

    def test_opens_a_review(self, client_for, engineer, models):
        answer = client_for(engineer).post(f"{URL}new/", self.data | {"models": [m.pk for m in models]})
        made = Review.objects.get()
        assert answer.url == f"{URL}{made.pk}/"
        assert [(t.completions.count(), t.overlap) for t in made.tasks.all()] == [(3, 2), (3, 2)]

    def test_only_models_with_held_out_answers_are_offered(self, client_for, engineer, models, make_artifact):
        make_artifact("model", "Snail")
        seen = client_for(engineer).get(f"{URL}new/").text
        assert "Fox (#3), answers to 2 held-out prompts" in seen.replace(f"#{models[2].pk}", "#3")
        assert "Snail" not in seen

    def test_bad_input(self, client_for, engineer, models, review):
        browser = client_for(engineer)
        for change, sentence in (
            ({"models": [models[0].pk]}, "Choose two or more models"),
            ({"models": []}, "Choose two or more models"),
            ({"models": [models[0].pk, 999]}, "999 is not one of the available choices"),
            ({"name": "Blind one"}, "There is a review &#x27;Blind one&#x27; already"),
            ({"overlap": 0}, "greater than or equal to 1"),
        ):
            answer = browser.post(f"{URL}new/", {**self.data, "models": [m.pk for m in models], **change})
            assert answer.status_code == 422
            assert sentence in answer.text
        assert Review.objects.get() == review

    def test_says_what_to_do_without_samples(self, client_for, engineer, project):
        assert "Run the recipe “sample”" in client_for(engineer).get(f"{URL}new/").text

    def test_wrong_role_and_method(self, client_for, sme, engineer, models):
        data = self.data | {"models": [m.pk for m in models]}
        assert client_for(sme).post(f"{URL}new/", data).status_code == 403
        assert client_for(engineer).put(f"{URL}new/").status_code == 405
        assert not Review.objects.exists()


class TestResult:
    def test_win_rate_down_to_each_judgement(self, client_for, engineer, annotator, review):
        prefer(review, annotator, "Hare")
        prefer(review, annotator, "Hare")
        seen = client_for(engineer).get(f"{URL}{review.pk}/").text
        assert "<strong>100 %</strong>" in seen  # Hare beat Tortoise twice of twice
        assert '<td class="num" data-label="Wins">2</td>' in seen
        assert seen.count("Hare › Tortoise") == 2
        for comparison in review.comparisons.all():
            assert f"/comparisons/{comparison.pk}/" in seen

    def test_is_hidden_from_those_who_may_judge_until_it_is_closed(self, client_for, sme, annotator, review):
        prefer(review, annotator, "Hare")
        browser = client_for(sme)
        seen = browser.get(f"{URL}{review.pk}/").text
        assert "1 of 2 judgements" in seen
        assert "Hare › Tortoise" not in seen
        assert "<strong>100 %</strong>" not in seen
        close_review(review)
        assert "Hare › Tortoise" in browser.get(f"{URL}{review.pk}/").text

    def test_scripted_judges_are_marked(self, client_for, engineer, annotator, review):
        User.objects.filter(pk=annotator.pk).update(is_scripted=True)
        prefer(review, annotator, "Hare")
        assert client_for(engineer).get(f"{URL}{review.pk}/").text.count("Scripted</span>") == 2  # row, and judges

    def test_without_judgements(self, client_for, engineer, review):
        assert "Nobody has judged yet" in client_for(engineer).get(f"{URL}{review.pk}/").text

    def test_wrong_role_and_method(self, client_for, annotator, engineer, review):
        assert client_for(annotator).get(f"{URL}{review.pk}/").status_code == 403
        assert client_for(engineer).post(f"{URL}{review.pk}/").status_code == 405
        assert client_for(engineer).get(f"{URL}999/").status_code == 404

    def test_few_queries(self, client_for, engineer, annotator, review, django_assert_max_num_queries):
        prefer(review, annotator, "Hare")
        browser = client_for(engineer)
        with django_assert_max_num_queries(12):
            browser.get(f"{URL}{review.pk}/")


class TestClose:
    def test_takes_the_rest_out_of_the_queue(self, client_for, engineer, annotator, review):
        prefer(review, annotator, "Hare")
        client_for(engineer).post(f"{URL}{review.pk}/close/")
        review.refresh_from_db()
        assert review.status == Review.Status.CLOSED
        assert queue.claim_next(review.queue, annotator) is None

    def test_twice_is_harmless(self, client_for, engineer, review):
        close_review(review)
        answer = client_for(engineer).post(f"{URL}{review.pk}/close/", follow=True)
        assert "closed already" in answer.text

    def test_wrong_role_and_method(self, client_for, sme, engineer, review):
        assert client_for(sme).post(f"{URL}{review.pk}/close/").status_code == 403
        assert client_for(engineer).get(f"{URL}{review.pk}/close/").status_code == 405
        review.refresh_from_db()
        assert review.status == Review.Status.OPEN
