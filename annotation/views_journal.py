"""The journal of a project: who did what to which label, to look through and to take out."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from annotation import journal
from annotation.forms_trust import JournalForm
from annotation.models import JournalEntry
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.web.downloads import download
from studio.web.numbers import whole_number

PAGE = 50
CHUNK = 2000  # rows fetched at a time while a file is sent
FORMATS = {"csv": (journal.csv_lines, "text/csv; charset=utf-8"), "jsonl": (journal.jsonl_lines, "application/jsonl")}


@require_GET
@member_required(*ENGINEERS)
def entries(request: HttpRequest, project: Project) -> HttpResponse:
    """Newest first, 50 at a time; `before` and `after` are entry ids, so a page stays what it is while others write."""
    form = JournalForm(request.GET or None, project=project)
    chosen = form.chosen()
    found = journal.entries(project, chosen)
    rows, newer, older = _page(found, *(whole_number(request.GET.get(name)) for name in ("before", "after")))
    for entry in rows:
        entry.subject = _subject(project, entry)
        entry.facts = facts(entry)
    context = {
        "project": project, "form": form, "rows": rows, "newer": newer, "older": older, "filtered": bool(chosen),
        "query": _query(request),
    }  # fmt: skip
    return render(request, "annotation/journal.html", context, status=422 if form.errors else 200)


def _page(found: Any, before: int | None, after: int | None) -> tuple[list[JournalEntry], int | None, int | None]:
    """The page's entries, and the ids from which to go to newer and to older ones (None: there are none)."""
    if after is not None:
        rows = list(found.filter(id__gt=after).order_by("id")[: PAGE + 1])
        more = len(rows) > PAGE
        if not rows:
            return [], None, after + 1
        rows = rows[:PAGE][::-1]
        return rows, rows[0].pk if more else None, rows[-1].pk
    rows = list((found.filter(id__lt=before) if before is not None else found)[: PAGE + 1])
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    return rows, rows[0].pk if before is not None and rows else None, rows[-1].pk if more else None


@require_GET
@member_required(*ENGINEERS)
def export(request: HttpRequest, project: Project, format: str) -> HttpResponse:
    """All entries that the filter asks for, oldest last, streamed: memory does not grow with the journal."""
    if format not in FORMATS:
        raise Http404("The journal is exported as csv or jsonl.")
    form = JournalForm(request.GET or None, project=project)
    chosen = form.chosen()
    if form.errors:
        return HttpResponse("\n".join(e for errors in form.errors.values() for e in errors), status=422)
    lines, content_type = FORMATS[format]
    found = journal.entries(project, chosen).iterator(chunk_size=CHUNK)
    return download(lines(found), f"{project.slug}-journal.{format}", content_type)


def _subject(project: Project, entry: JournalEntry) -> dict[str, str] | None:
    """What the entry is about, in words, and where to look at it."""
    found = journal.subject_of(entry)
    if found is None:
        return None
    kind, pk = found
    words = f"{kind.replace('_', ' ').capitalize()} {pk}"
    pages = {
        "comparison": ("annotation:comparison", pk),
        "demonstration": ("annotation:demonstration", pk),
        "failure_class": ("annotation:failure-class", pk),
    }
    url = reverse(pages[kind][0], args=[project.slug, pages[kind][1]]) if kind in pages else ""
    return {"kind": kind, "id": str(pk), "words": words, "url": url}


def facts(entry: JournalEntry) -> list[tuple[str, str]]:
    """The entry's detail as names and short words; what holds nothing is left out."""
    return [
        (name.replace("_", " "), _words(value))
        for name, value in entry.detail.items()
        if value not in ("", None, [], {})
    ]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def _query(request: HttpRequest) -> str:
    """The filter as a query string, without the place in the list."""
    asked = request.GET.copy()
    for name in ("before", "after"):
        asked.pop(name, None)
    return asked.urlencode()
