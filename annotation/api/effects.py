"""What labels do to a reward model, scores for it, and asking people about what it orders differently; for leads."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from annotation import effects, scoring
from annotation.api.auth import MANAGE, READ, find, member
from annotation.api.schemas.effects import AskPeopleIn, DisputedOut, EffectsOut, RewardModelOut, ScoringOut
from annotation.api.schemas.queues import TaskOut
from annotation.api.schemas.shared import REFUSED, Text
from annotation.models import Repeat
from studio.access import ENGINEERS
from studio.runs.models import Artifact

router = Router(tags=["effects"])
LISTED = 200


@router.get("/projects/{slug}/reward-models", auth=READ, response={200: list[RewardModelOut], **REFUSED})
def list_reward_models(request: HttpRequest, slug: Text) -> Any:
    """The newest reward models, each with whether it has scored any answer that people ranked."""
    return list(effects.scored_models(member(request, slug, ENGINEERS).project)[:LISTED])


@router.get("/reward-models/{model_id}/effects", auth=READ, response={200: EffectsOut, **REFUSED})
def read_effects(
    request: HttpRequest, model_id: int, strongest: int = Query(20, ge=0, le=500, description="How many are listed.")
) -> Any:
    """How well a reward model foretells comparisons that it was not trained on, in all and by their parts."""
    reward_model = find_reward_model(request, model_id)
    found = effects.effects_of(reward_model)
    return found.as_dict() | {
        "trained_prompts": found.trained_prompts,
        "lineage_known": found.lineage_known,
        "missing_scores": scoring.unscored(reward_model.project, reward_model).count(),
        "strongest": _disputed(reward_model, found.disputed[:strongest]),
    }


def _disputed(reward_model: Artifact, judged: list[effects.Judged]) -> list[DisputedOut]:
    again = Repeat.objects.filter(reward_model=reward_model, comparison__in=[j.pk for j in judged])
    tasks = dict(again.values_list("comparison", "task"))
    return [
        DisputedOut(
            comparison=j.pk, prompt=j.prompt, cluster=j.cluster, margin=j.margin,
            probability=effects.probability(j.margin), task=tasks.get(j.pk),
        )
        for j in judged
    ]  # fmt: skip


@router.post("/reward-models/{model_id}/scores", auth=MANAGE, response={202: ScoringOut, **REFUSED})
def request_scores(request: HttpRequest, model_id: int) -> Any:
    """Queue a run that scores every ranked answer that this reward model has not scored yet."""
    reward_model = find_reward_model(request, model_id)
    return 202, {"run": scoring.request_scores(reward_model.project, reward_model, request.user).pk}


@router.post("/reward-models/{model_id}/ask-again", auth=MANAGE, response={201: list[TaskOut], **REFUSED})
def ask_people(request: HttpRequest, model_id: int, body: AskPeopleIn) -> Any:
    """Have other people rank what the model orders differently, in the queue "Second opinion"; each once a model."""
    reward_model = find_reward_model(request, model_id)
    comparisons = body.comparisons or effects.strongest(reward_model, body.count)
    return 201, [
        TaskOut.of(task) for task in effects.ask_again(reward_model, comparisons, request.user, overlap=body.overlap)
    ]


def find_reward_model(request: HttpRequest, model_id: int) -> Artifact:
    reward_models = Artifact.objects.filter(kind=Artifact.Kind.REWARD_MODEL)
    return find(request, reward_models, model_id, roles=ENGINEERS)[0]
