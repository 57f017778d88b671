"""Projects, members, guidelines and the account."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from studio import memberships
from studio.access import ENGINEERS, EXPERTS, OWNERS, may, member_required
from studio.forms import ApiTokenForm, GuidelineForm, MemberForm, ProjectForm, RoleForm
from studio.models import Guideline, Membership, Project, Role
from studio.overview import overview
from studio.web.markdown import render_markdown

PREVIEW_LIMIT = 100_000  # characters


@require_GET
@login_required
def projects(request: HttpRequest) -> HttpResponse:
    rows = (
        Membership.objects.filter(user=request.user)
        .select_related("project", "project__policy")
        .annotate(people=Count("project__memberships"))
        .order_by("project__name")
    )
    return render(request, "studio/projects.html", {"memberships": rows})


@require_http_methods(["GET", "POST"])
@login_required
def new_project(request: HttpRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = memberships.found_project(form.save(commit=False), request.user)
        messages.success(request, f"{project.name} is ready. Invite the people who will work in it.")
        return redirect("project", project.slug)
    return render(request, "studio/new_project.html", {"form": form}, status=_status(form))


@require_GET
@member_required()
def project(request: HttpRequest, project: Project) -> HttpResponse:
    return render(request, "studio/project.html", {"project": project, **overview(project, request.membership)})


@require_http_methods(["GET", "POST"])
@member_required()
def members(request: HttpRequest, project: Project) -> HttpResponse:
    """Everybody sees the list; owners add to it."""
    owner = may(request.membership, OWNERS)
    form = MemberForm(request.POST or None, project=project)
    credentials = None
    if request.method == "POST":
        if not owner:
            raise PermissionDenied("Only owners add members.")
        if form.is_valid():
            username, role = form.cleaned_data["username"], form.cleaned_data["role"]
            try:
                credentials = memberships.add_member(project, username, role, form.user)
            except ValueError as error:
                form.add_error("username", str(error))
            else:
                messages.success(request, f"{username} joined as {Role(role).label}.")
                if credentials is None:
                    return redirect("members", project.slug)
                form = MemberForm(project=project)
    context = {
        "project": project,
        "memberships": project.memberships.select_related("user"),
        "roles": Role.choices,
        "is_owner": owner,
        "form": form,
        "credentials": credentials,
    }
    return render(request, "studio/members.html", context, status=_status(form))


@require_POST
@member_required(*OWNERS)
def member(request: HttpRequest, project: Project, membership_id: int) -> HttpResponse:
    """Change a member's role, their skills (`act=skills`), or end the membership (`act=remove`)."""
    target = get_object_or_404(project.memberships.select_related("user"), pk=membership_id)
    form = RoleForm(request.POST)
    try:
        if request.POST.get("act") == "remove":
            memberships.remove_member(target)
            messages.success(request, f"{target.user.username} left the project. What they made is kept.")
        elif request.POST.get("act") == "skills":
            tags = memberships.set_skills(target, request.POST.get("skills", ""))
            messages.success(request, f"{target.user.username}'s skills: {', '.join(tags) or 'none in particular'}.")
        elif form.is_valid():
            memberships.change_role(target, form.cleaned_data["role"])
            messages.success(request, f"{target.user.username} is now {Role(form.cleaned_data['role']).label}.")
        else:
            messages.error(request, "There is no such role. Choose one from the list.")
    except ValueError as error:
        messages.error(request, str(error))
    left = target.user_id == request.user.pk and not project.memberships.filter(user=request.user).exists()
    return redirect("projects") if left else redirect("members", project.slug)


@require_GET
@member_required()
def guidelines(request: HttpRequest, project: Project) -> HttpResponse:
    """The version in force, an older one (`?version=2`), or the difference between two (`?version=3&against=1`)."""
    versions = list(project.guidelines.select_related("created_by").defer("text"))
    if not versions:
        return render(
            request, "studio/guidelines.html", {"project": project, "may_edit": may(request.membership, EXPERTS)}
        )
    shown = get_object_or_404(
        project.guidelines.select_related("created_by"), version=_number(request, "version", versions[0].version)
    )
    against = None
    if request.GET.get("against"):
        against = get_object_or_404(project.guidelines, version=_number(request, "against", 0))
    context = {
        "project": project,
        "versions": versions,
        "shown": shown,
        "against": against,
        "newest": versions[0].version,
        "may_edit": may(request.membership, EXPERTS),
        "is_lead": may(request.membership, ENGINEERS),
    }
    return render(request, "studio/guidelines.html", context)


@require_http_methods(["GET", "POST"])
@member_required(*EXPERTS)
def edit_guidelines(request: HttpRequest, project: Project) -> HttpResponse:
    """Publish the next version; when somebody else did meanwhile, show what they changed and keep the text."""
    newest = project.guideline
    version = newest.version if newest else 0
    form = GuidelineForm(request.POST or None, initial={"text": newest.text if newest else "", "after": version})
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        if newest and data["after"] == version and data["text"] == newest.text:
            form.add_error("text", "This is the version in force, word for word. Change something, then publish.")
        else:
            try:
                published = Guideline.publish(
                    project, data["text"], request.user, data["change_note"], data["after"], data["is_minor"]
                )
            except ValueError as error:
                return _guideline_conflict(request, project, form, str(error))
            messages.success(request, f"Version {published.version} is in force.")
            return redirect("guidelines", project.slug)
    context = {"project": project, "form": form, "newest": newest}
    return render(request, "studio/edit_guidelines.html", context, status=_status(form))


def _guideline_conflict(request: HttpRequest, project: Project, form: GuidelineForm, conflict: str) -> HttpResponse:
    """The writer's text again, beside what others published since; sending it now follows on the newest version."""
    newest = project.guideline
    base = project.guidelines.filter(version=form.cleaned_data["after"]).first()
    form.data = form.data.copy()
    form.data["after"] = newest.version if newest else 0
    context = {"project": project, "form": form, "newest": newest, "conflict": conflict, "base": base}
    return render(request, "studio/edit_guidelines.html", context, status=409)


@require_POST
@login_required
def preview_markdown(request: HttpRequest) -> HttpResponse:
    """What `text` will look like, as the content of an element of class `prose`."""
    text = request.POST.get("text", "")
    if len(text) > PREVIEW_LIMIT:
        return HttpResponse(f"<p>Previews end at {PREVIEW_LIMIT:,} characters; this has {len(text):,}.</p>", status=422)
    return HttpResponse(render_markdown(text) or "<p>Nothing yet.</p>")


@require_http_methods(["GET", "POST"])
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """API tokens and the password; `act` says which of the page's forms was sent."""
    act = request.POST.get("act", "")
    token_form = ApiTokenForm(request.POST if act == "issue" else None)
    password_form = PasswordChangeForm(request.user, request.POST if act == "password" else None)
    password_form.fields["old_password"].widget.attrs["autofocus"] = False  # the page is about more than that
    secret = None
    status = 200
    if request.method == "POST":
        if act == "issue" and token_form.is_valid():
            secret = token_form.issue(request.user)
            token_form = ApiTokenForm()
        elif act == "revoke":
            token = get_object_or_404(request.user.api_tokens, pk=_number(request, "token", 0))
            token.revoke()
            messages.success(request, f"The token “{token.name}” no longer works.")
            return redirect("account")
        elif act == "password" and password_form.is_valid():
            update_session_auth_hash(request, password_form.save())
            messages.success(request, "Your password is changed. Other browsers were signed out.")
            return redirect("account")
        else:
            status = 422
    context = {
        "tokens": request.user.api_tokens.filter(revoked_at=None),
        "revoked": request.user.api_tokens.exclude(revoked_at=None),
        "token_form": token_form,
        "password_form": password_form,
        "secret": secret,
        "memberships": request.user.memberships.select_related("project").order_by("project__name"),
    }
    return render(request, "studio/account.html", context, status=status)


def _number(request: HttpRequest, name: str, default: int) -> int:
    """A whole number from the query or the form; 404 for anything else, as for an address that leads nowhere."""
    text = request.POST.get(name) or request.GET.get(name)
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise Http404("There is no such version or token.")
    return int(text)


def _status(form: BaseForm) -> int:
    """422 for a form that came back with errors."""
    return 422 if form.is_bound and form.errors else 200
