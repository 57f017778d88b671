import json

import pytest

from annotation.completions import import_completions
from annotation.models import Completion, Prompt
from studio.runs.models import Artifact, Run
from studio.runs.registry import call_on_success


def line(prompt, drawn_from, sample=0, **changes):
    row = {
        "prompt_id": prompt.pk, "prompt": prompt.messages, "cluster": prompt.cluster,
        "model": {"id": drawn_from.pk, "name": drawn_from.name}, "completion": f"Answer {sample} to {prompt.text}",
        "finish_reason": "stop", "tokens": 7, "temperature": 0.7, "top_p": 0.9, "max_tokens": 48, "seed": 3,
        "sample": sample,
    }  # fmt: skip
    return json.dumps(row | changes)


@pytest.fixture
def sampled(make_artifact, project, engineer, prompts):
    """A finished sampling run: two completions of one model on two prompts each, the last one cut."""
    model = make_artifact("model", "Tortoise")
    run = Run.objects.create(
        project=project, recipe_name="sample", title="Sample", queue="gpu", created_by=engineer, status="succeeded"
    )
    lines = [line(p, model, s) for p in prompts[:2] for s in range(2)]
    lines[3] = line(prompts[1], model, 1, finish_reason="length")
    files = {"completions.jsonl": "\n".join(lines) + "\n"}
    artifact = make_artifact("completions", "Completions", files, produced_by=run, role="completions")
    return run, model, artifact


def test_a_run_that_ends_well_brings_its_completions_once(sampled, prompts):
    run, model, artifact = sampled
    call_on_success(run)
    call_on_success(run)  # as after a crash
    rows = list(Completion.objects.order_by("line"))
    assert [(c.line, c.prompt_id, c.model_id, c.run_id, c.artifact_id) for c in rows] == [
        (0, prompts[0].pk, model.pk, run.pk, artifact.pk),
        (1, prompts[0].pk, model.pk, run.pk, artifact.pk),
        (2, prompts[1].pk, model.pk, run.pk, artifact.pk),
        (3, prompts[1].pk, model.pk, run.pk, artifact.pk),
    ]
    assert rows[3].finish_reason == "length" and rows[0].tokens == 7
    assert rows[1].sampling == {"temperature": 0.7, "top_p": 0.9, "max_tokens": 48, "seed": 3, "sample": 1}


def test_prompts_from_elsewhere_are_added_whatever_number_they_have(make_artifact, prompts):
    model = make_artifact("model", "Tortoise")
    foreign = Prompt(pk=prompts[0].pk, messages=[{"role": "user", "content": "Who are you?"}], cluster="chat")
    files = {"completions.jsonl": line(foreign, model, model={"id": None, "name": "by hand"}) + "\n"}
    artifact = make_artifact("completions", "Elsewhere", files)
    assert import_completions(artifact) == 1
    completion = Completion.objects.get()
    assert completion.prompt.text == "Who are you?" and completion.prompt.pk not in [p.pk for p in prompts]
    assert completion.model is None and completion.sampling["model_name"] == "by hand"


def test_a_broken_file_is_named(make_artifact):
    artifact = make_artifact("completions", "Broken", {"completions.jsonl": '{"prompt": "text", "completion": "x"}\n'})
    with pytest.raises(ValueError, match=r"completions\.jsonl, line 1: a completion needs"):
        import_completions(artifact)
    assert Artifact.objects.filter(pk=artifact.pk).exists() and not Completion.objects.exists()


def test_few_queries_for_many_lines(make_artifact, prompts, django_assert_max_num_queries):
    model = make_artifact("model", "Tortoise")
    lines = [line(p, model, s) for p in prompts for s in range(150)]
    artifact = make_artifact("completions", "Many", {"completions.jsonl": "\n".join(lines) + "\n"})
    with django_assert_max_num_queries(13):
        assert import_completions(artifact) == 900
    assert Completion.objects.filter(artifact=artifact).count() == 900
