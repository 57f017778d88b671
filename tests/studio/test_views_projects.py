"""The list of projects, founding one, and a project's overview."""

import pytest
from django.urls import reverse

from studio.models import Guideline, Membership, Project, Role, Round
from studio.overview import Tile, overview, register_tiles
from studio.runs.models import Artifact, Run


class TestProjects:
    def test_lists_own_projects_only(self, client_for, annotator, project):
        other = Project.objects.create(slug="secret", name="Secret plans")
        page = client_for(annotator).get(reverse("projects"))
        assert page.status_code == 200
        assert project.name in page.text
        assert other.name not in page.text

    def test_outsider_learns_what_a_project_is(self, client_for, outsider, project):
        page = client_for(outsider).get(reverse("projects"))
        assert "You are in no project yet" in page.text
        assert project.name not in page.text

    def test_asks_to_sign_in(self, client):
        assert client.get(reverse("projects")).url == f"{reverse('sign-in')}?next=/"

    def test_wrong_method(self, client_for, annotator):
        assert client_for(annotator).post(reverse("projects")).status_code == 405

    def test_queries_do_not_grow_with_projects(self, client_for, owner, django_assert_max_num_queries):
        for n in range(20):
            Membership.objects.create(
                project=Project.objects.create(slug=f"p{n}", name=f"P{n}"), user=owner, role=Role.SME
            )
        browser = client_for(owner)
        with django_assert_max_num_queries(3):  # session, user, memberships with their counts
            browser.get(reverse("projects"))


class TestNewProject:
    url = "/projects/new/"

    def test_founder_becomes_owner(self, client_for, outsider):
        answer = client_for(outsider).post(self.url, {"name": "Legal", "slug": "legal", "description": ""})
        assert answer.url == "/projects/legal/"
        assert Membership.objects.get(project__slug="legal").role == Role.OWNER

    @pytest.mark.parametrize("slug", ["helpdesk", "new", "no spaces", ""])
    def test_bad_address_is_explained_and_nothing_is_made(self, client_for, outsider, project, slug):
        answer = client_for(outsider).post(self.url, {"name": "Again", "slug": slug})
        assert answer.status_code == 422
        assert 'class="errorlist"' in answer.text
        assert 'value="Again"' in answer.text  # what was typed is kept
        assert Project.objects.count() == 1

    def test_asks_to_sign_in(self, client, db):
        assert client.post(self.url, {"name": "x", "slug": "x"}).url.startswith("/sign-in/")
        assert not Project.objects.exists()

    def test_wrong_method(self, client_for, outsider):
        assert client_for(outsider).put(self.url).status_code == 405


def _busy(project, engineer):
    """A project with everything that the overview can show."""
    model = Artifact.objects.create(
        project=project, kind="model", name="Base", path="m", sha256="0" * 64, size_bytes=1, created_by=engineer,
        metadata={"parameters": 134_515_008},
    )  # fmt: skip
    Artifact.objects.create(
        project=project,
        kind="report",
        name="Bias of Base",
        path="r",
        sha256="1" * 64,
        size_bytes=1,
        created_by=engineer,
    )
    for n, status in enumerate(["succeeded", "failed", "running", "queued"] * 5):
        Run.objects.create(
            project=project, recipe_name="corpus", title=f"Corpus {n}", status=status, queue="cpu", created_by=engineer
        )
    Round.objects.create(project=project, number=1, start_policy=model, created_by=engineer)
    project.policy = model
    project.save()


class TestOverview:
    url = "/projects/helpdesk/"

    def test_engineer_sees_runs_policy_round_and_report(
        self, client_for, engineer, project, guideline, django_assert_max_num_queries
    ):
        _busy(project, engineer)
        browser = client_for(engineer)
        with django_assert_max_num_queries(15):
            page = browser.get(self.url)
        for text in ("Corpus 19", "Base", "134.5M", "Round 1", "Bias of Base", "10 live, 5 failed"):
            assert text in page.text

    @pytest.mark.parametrize("role", ["annotator", "sme"])
    def test_who_judges_sees_no_workshop(self, client_for, request, project, guideline, role):
        page = client_for(request.getfixturevalue(role)).get(self.url)
        assert "Latest runs" not in page.text
        assert "Read version 1" in page.text
        assert 'href="/projects/helpdesk/runs/"' not in page.text

    def test_new_project_shows_what_is_missing(self, client_for, owner, project):
        steps = {s.title: s.done for s in client_for(owner).get(self.url).context["steps"]}
        assert steps == {
            "Invite people": False,
            "Publish guidelines": False,
            "Bring in a model": False,
            "Start the first round": False,
        }
        Guideline.publish(project, "Be kind.", owner)
        assert {s.title for s in client_for(owner).get(self.url).context["steps"] if s.done} == {"Publish guidelines"}

    def test_apps_above_add_their_numbers(self, project, annotator, monkeypatch):
        monkeypatch.setattr("studio.overview._sources", [])
        register_tiles(lambda project, membership: [Tile("Waiting for you", 12_345)])
        membership = project.memberships.get(user=annotator)
        assert overview(project, membership)["tiles"] == [Tile("Waiting for you", 12_345)]

    def test_outsider_is_not_told_that_it_exists(self, client_for, outsider, project):
        there = client_for(outsider).get(self.url)
        nowhere = client_for(outsider).get("/projects/nothing/")
        assert there.status_code == nowhere.status_code == 404
        assert project.name not in there.text

    def test_unknown_project(self, client_for, annotator):
        assert client_for(annotator).get("/projects/nothing/").status_code == 404

    def test_wrong_method(self, client_for, annotator):
        assert client_for(annotator).post(self.url).status_code == 405
