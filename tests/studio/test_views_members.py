"""Who is in a project, and who decides that."""

import re

import pytest

from studio.memberships import add_member, generate_password
from studio.models import Guideline, Membership, Project, Role, User

URL = "/projects/helpdesk/members/"


def _member_url(user: User) -> str:
    return f"{URL}{Membership.objects.get(user=user).pk}/"


class TestMembers:
    def test_everybody_sees_the_list_and_only_owners_its_controls(self, client_for, owner, annotator):
        assert "Add a member" in client_for(owner).get(URL).text
        seen = client_for(annotator).get(URL)
        assert owner.username in seen.text
        assert "Add a member" not in seen.text
        assert "Remove" not in seen.text

    def test_adds_an_account_that_exists_whatever_the_case(self, client_for, owner, outsider):
        answer = client_for(owner).post(URL, {"username": "OutSider", "role": "sme"})
        assert answer.url == URL
        assert Membership.objects.get(user=outsider).role == Role.SME

    def test_new_account_has_a_working_password_shown_once(self, client_for, client, owner):
        answer = client_for(owner).post(URL, {"username": "newcomer", "role": "annotator", "create": "on"})
        password = re.search(r'<code id="password">([^<]+)</code>', answer.text)[1]
        assert password not in client_for(owner).get(URL).text
        assert client.post("/sign-in/", {"username": "newcomer", "password": password}).url == "/"
        assert client.get("/projects/helpdesk/").status_code == 200

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            ({"username": "nobody-here", "role": "sme"}, "Tick the box to create it"),
            ({"username": "outsider", "role": "sme", "create": "on"}, "Clear the box to add it"),
            ({"username": "owner", "role": "sme"}, "is a member already"),
            ({"username": "outsider", "role": "emperor"}, "not one of the available choices"),
            ({"username": "bad name!", "role": "sme", "create": "on"}, "Enter a valid username"),
            ({"username": "", "role": "sme"}, "This field is required"),
        ],
    )
    def test_bad_input_gets_a_sentence(self, client_for, owner, outsider, data, sentence):
        answer = client_for(owner).post(URL, data)
        assert answer.status_code == 422
        assert sentence in answer.text
        assert Membership.objects.count() == 1
        assert User.objects.count() == 2

    @pytest.mark.parametrize("role", ["annotator", "sme", "engineer"])
    def test_only_owners_add(self, client_for, request, outsider, role):
        user = request.getfixturevalue(role)
        assert client_for(user).post(URL, {"username": "outsider", "role": "owner"}).status_code == 403
        assert not outsider.memberships.exists()

    def test_outsider_cannot_look(self, client_for, outsider, project):
        assert client_for(outsider).get(URL).status_code == 404

    def test_wrong_method(self, client_for, owner):
        assert client_for(owner).delete(URL).status_code == 405

    def test_queries_do_not_grow_with_members(self, client_for, owner, project, django_assert_max_num_queries):
        for n in range(30):
            Membership.objects.create(project=project, user=User.objects.create(username=f"u{n}"), role=Role.SME)
        browser = client_for(owner)
        with django_assert_max_num_queries(6):
            browser.get(URL)


class TestMember:
    def test_owner_changes_a_role(self, client_for, owner, annotator):
        client_for(owner).post(_member_url(annotator), {"role": "sme"})
        assert Membership.objects.get(user=annotator).role == Role.SME

    def test_removed_member_is_out_and_their_work_stays(self, client_for, owner, sme, project):
        Guideline.publish(project, "Be brief.", sme)
        client_for(owner).post(_member_url(sme), {"act": "remove"})
        assert not sme.memberships.exists()
        assert project.guideline.created_by == sme
        assert client_for(sme).get(URL).status_code == 404

    def test_last_owner_stays(self, client_for, owner, annotator):
        for data in ({"role": "sme"}, {"act": "remove"}):
            answer = client_for(owner).post(_member_url(owner), data, follow=True)
            assert "the last owner. Make somebody else an owner first." in answer.text
        assert Membership.objects.get(user=owner).role == Role.OWNER

    def test_owner_may_leave_when_there_is_another(self, client_for, owner, engineer):
        browser = client_for(owner)
        browser.post(_member_url(engineer), {"role": "owner"})
        assert browser.post(_member_url(owner), {"act": "remove"}).url == "/"

    def test_unknown_role_changes_nothing(self, client_for, owner, annotator):
        answer = client_for(owner).post(_member_url(annotator), {"role": "emperor"}, follow=True)
        assert "There is no such role." in answer.text
        assert Membership.objects.get(user=annotator).role == Role.ANNOTATOR

    def test_member_of_another_project_is_not_found(self, client_for, owner, outsider):
        other = Project.objects.create(slug="other", name="Other")
        foreign = Membership.objects.create(project=other, user=outsider, role=Role.SME)
        assert client_for(owner).post(f"{URL}{foreign.pk}/", {"act": "remove"}).status_code == 404
        assert outsider.memberships.exists()

    @pytest.mark.parametrize("role", ["annotator", "sme", "engineer"])
    def test_wrong_role(self, client_for, request, owner, role):
        user = request.getfixturevalue(role)
        assert client_for(user).post(_member_url(user), {"role": "owner"}).status_code == 403
        assert Membership.objects.get(user=user).role == role

    def test_wrong_method(self, client_for, owner):
        assert client_for(owner).get(_member_url(owner)).status_code == 405


class TestSkills:
    def test_tags_are_evened_out(self, client_for, owner, sme):
        answer = client_for(owner).post(
            _member_url(sme), {"act": "skills", "skills": " Async  IO, typing,,TYPING"}, follow=True
        )
        assert "async io, typing" in answer.text
        assert Membership.objects.get(user=sme).skills == ["async io", "typing"]

    @pytest.mark.parametrize("skills", ["x" * 41, ",".join(map(str, range(31))), "a\0b"])
    def test_bad_input(self, client_for, owner, sme, skills):
        client_for(owner).post(_member_url(sme), {"act": "skills", "skills": skills})
        assert Membership.objects.get(user=sme).skills == []

    def test_wrong_role(self, client_for, engineer, sme):
        assert client_for(engineer).post(_member_url(sme), {"act": "skills", "skills": "typing"}).status_code == 403


def test_the_second_of_two_who_add_the_same_person_gets_a_sentence(project, owner, outsider, client_for, monkeypatch):
    add_member(project, outsider.username, "sme", outsider)
    with pytest.raises(ValueError, match="outsider is a member already: somebody was faster"):
        add_member(project, outsider.username, "annotator", outsider)
    add_member(project, "newcomer", "sme", None)
    with pytest.raises(ValueError, match="newcomer was just created"):
        add_member(project, "newcomer", "sme", None)
    monkeypatch.setattr("studio.forms.MemberForm.clean", lambda form: form.cleaned_data)  # looked a moment too early
    answer = client_for(owner).post(URL, {"username": "newcomer", "role": "sme", "create": "on"})
    assert answer.status_code == 422
    assert "somebody was faster" in answer.text
    assert Membership.objects.get(user=outsider).role == Role.SME


def test_passwords_have_the_promised_shape():
    # 4 groups of 4 characters out of 55: 16 × log2(55) = 92.5 bits
    passwords = {generate_password() for _ in range(200)}
    assert len(passwords) == 200
    assert all(re.fullmatch(r"([a-km-np-zA-HJ-NP-Z2-9]{4}-){3}[a-km-np-zA-HJ-NP-Z2-9]{4}", p) for p in passwords)
