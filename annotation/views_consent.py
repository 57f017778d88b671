"""Consent: a person's own page about it, and an owner's page about another person."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from annotation import consent
from annotation.standing import standing_of
from studio.access import ENGINEERS, OWNERS, may, member_required
from studio.models import Project, User

ACTS = {"take-back": consent.take_back, "give-again": consent.give_again}


@require_http_methods(["GET", "POST"])
@member_required()
def own_consent(request: HttpRequest, project: Project) -> HttpResponse:
    """What was made of one's own labels, and taking consent back or giving it again."""
    return _consent(request, project, request.user)


@require_http_methods(["GET", "POST"])
@member_required(*OWNERS)
def person_consent(request: HttpRequest, project: Project, user_id: int) -> HttpResponse:
    """The same for somebody who asked: members, those who left, and pseudonyms with labels here."""
    people = User.objects.filter(pk=user_id)
    known = people.filter(memberships__project=project) | people.filter(comparisons__prompt__project=project)
    known |= people.filter(demonstrations__prompt__project=project)
    return _consent(request, project, get_object_or_404(known.distinct()))


def _consent(request: HttpRequest, project: Project, person: User) -> HttpResponse:
    is_self = person.pk == request.user.pk
    error = ""
    if request.method == "POST":
        act = ACTS.get(request.POST.get("act", ""))
        try:
            if act is None:
                raise ValueError("Choose what to do: take the consent back, or give it again.")
            act(project, person, request.user, request.POST.get("reason", ""))
        except ValueError as problem:
            error = str(problem)
        else:
            gone = act is consent.take_back
            messages.success(
                request,
                "Taken back: none of these labels gets into a dataset from now on."
                if gone
                else "Given again: these labels count as before.",
            )
            if is_self:
                return redirect("annotation:consent", project.slug)
            return redirect("annotation:person-consent", project.slug, person.pk)
    standing = standing_of(project, person)
    taken_by = consent.taken_back_by(project, person) if standing.consent_withdrawn_at else None
    context = {
        "project": project, "person": person, "is_self": is_self, "standing": standing, "error": error,
        "counts": consent.label_counts(project, person), "uses": consent.uses_of(project, person),
        "taken_by": taken_by, "may_give": is_self or taken_by != person,
        "may_open": may(request.membership, ENGINEERS),
    }  # fmt: skip
    return render(request, "annotation/consent.html", context, status=422 if error else 200)
