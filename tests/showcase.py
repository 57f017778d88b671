"""A small project in which everything has happened once, for tests of pages: labels by the real acts, runs through the
real submit and registration, with only the recipes' files written by hand."""

from __future__ import annotations

import json
import math
import random
from typing import Any

from django.utils import timezone

from annotation import effects, probe, queue, returns, scoring, submit, vendors
from annotation.datasets import freeze_demonstrations
from annotation.failures import add_class, add_example, set_status
from annotation.imports import batches, stage
from annotation.merging import merge
from annotation.models import (
    Chat,
    Comparison,
    Completion,
    Demonstration,
    ImportBatch,
    Kind,
    Prompt,
    Reply,
    Split,
    Turn,
)
from annotation.prompts import import_prompts
from annotation.tasks import add_demonstration_tasks, add_tasks, find_queue
from annotation.withdraw import withdraw
from evaluation import rounds
from evaluation.demo.accounts import prompt_rows
from evaluation.demo.content import DemoContent, load_content
from studio.models import ApiToken, Guideline, Membership, Project, Role, Round, User
from studio.runs.directory import RunDirectory
from studio.runs.launcher import register_outputs
from studio.runs.models import Artifact, Run
from studio.runs.registry import call_on_success
from studio.runs.submit import submit_run

PASSWORD = "correct horse battery"


def build_showcase() -> Project:
    content = load_content()
    project, people = _people()
    Guideline.publish(project, content.guideline.text, people["owner"], "First version")
    Guideline.publish(project, content.guideline.text + "\n\nTies are fine.\n", people["owner"], "Allow ties")
    rows = prompt_rows(content)
    kept = [r for r in rows if r["split"] == "train"][:12] + [r for r in rows if r["split"] == "test"][:6]
    import_prompts(project, kept, people["owner"], source="prompts.jsonl")
    base = finish(submit_run(project, people["engineer"], "import_model", {"source": "builtin:smollm2"}, {}, "SmolLM2"))
    demonstrations = _demonstrate(project, people["sme"], content)
    inputs = {"model": [base], "dataset": [demonstrations]}
    sft = finish(submit_run(project, people["engineer"], "sft", {}, inputs, "SFT on demonstrations"))
    Project.objects.filter(pk=project.pk).update(policy=sft)
    project.refresh_from_db()
    _round(project, people)
    _failures(project, people, base)
    _doubts(project, people)
    _exchange(project, people["engineer"])
    _evaluate(project, people["engineer"], [base, sft])
    _unfinished_runs(project, people["engineer"], base, demonstrations)
    return project


def _people() -> tuple[Project, dict[str, User]]:
    project = Project.objects.create(slug="showcase", name="Python helpdesk", description="Answers about Python.")
    people = {}
    for role in Role:
        people[role.value] = User.objects.create_user(f"{role.value}", password=PASSWORD)
        Membership.objects.create(project=project, user=people[role.value], role=role)
    people["scripted"] = User.objects.create_user("scripted-annotator-1", is_scripted=True)
    Membership.objects.create(project=project, user=people["scripted"], role=Role.ANNOTATOR)
    ApiToken.issue(people["owner"], "notebook")
    return project, people


def _demonstrate(project: Project, sme: User, content: DemoContent) -> Artifact:
    work = find_queue(project, Kind.DEMONSTRATE)
    add_demonstration_tasks(work, project.prompts.filter(split=Split.TRAIN)[:8])
    for number in range(6):
        claim = queue.claim_next(work, sme)
        assert claim is not None
        demonstration = content.demonstrations[number]
        submit.submit_demonstration(claim, demonstration.answer, reasoning=demonstration.reasoning)
    return freeze_demonstrations(project, sme, name="Demonstrations")


def _round(project: Project, people: dict[str, User]) -> Round:
    values = {"completions_per_prompt": 3, "answers_per_task": 3}
    round = rounds.start_round(project, people["engineer"], values)
    finish(round.runs.get())
    rank_all(find_queue(project, Kind.RANK), people["scripted"], leave=3)
    finish(rounds.train_round(round, people["engineer"]))
    finish(round.runs.get(recipe_name="ppo"))
    finish(round.runs.filter(recipe_name="sample").latest("id"))
    rank_all(round.reviews.get().queue, people["annotator"], leave=1)
    round.refresh_from_db()
    return round


def rank_all(work: Any, annotator: User, leave: int = 0) -> None:
    """Rank what waits (longer answers first, equal lengths tied), but `leave` tasks."""
    for _ in range(work.tasks.filter(status="open").count() - leave):
        claim = queue.claim_next(work, annotator)
        assert claim is not None
        texts = Completion.objects.in_bulk(claim.shown_order)
        by_length: dict[int, list[str]] = {}
        for letter, pk in claim.letters.items():
            by_length.setdefault(-len(texts[pk].text), []).append(letter)
        tiers = [by_length[length] for length in sorted(by_length)]
        submit.submit_ranking(claim, tiers, rationale="The first one says **why**." if len(tiers) > 1 else "")


def _failures(project: Project, people: dict[str, User], base: Artifact) -> None:
    rambles = add_class(project, "Rambles without finishing", people["sme"], description="Never ends.", severity=2)
    add_class(project, "Invents a function", people["sme"], description="Names one that does not exist.", severity=3)
    failing = Completion.objects.filter(prompt__project=project).exclude(model=None).first()
    assert failing is not None
    add_example(rambles, failing, people["sme"], correction="Use `list.reverse()`.", reasoning="One call is enough.")
    set_status(rambles, base, "open", people["engineer"])
    merge(add_class(project, "Never stops", people["sme"]), rambles, people["engineer"], reason="The same.")
    work = probe.assign(
        rambles, base, people["engineer"], wanted=2, assignee=people["sme"], instructions="Ask for lists."
    )
    probe.assign(rambles, base, people["engineer"])
    chat = Chat.objects.create(project=project, user=people["sme"], probe=work, model_a=base, sampling={"top_p": 1.0})
    turn = Turn.objects.create(chat=chat, number=1, text="How do I reverse a list?", chosen="a")
    Reply.objects.create(
        turn=turn, side="a", state="done", text="Call `items.reverse()`.", finish_reason="stop", tokens=6
    )


def _doubts(project: Project, people: dict[str, User]) -> None:
    """Scores of the reward model, one dispute sent on; a label to look at again; guidelines that made labels stale."""
    reward_model = project.artifacts.get(kind="reward_model")
    finish(scoring.request_scores(project, reward_model, people["engineer"]))
    disputed = effects.effects_of(reward_model).disputed
    if disputed:
        effects.ask_again(reward_model, [disputed[0].pk], people["engineer"])
    for label in (Comparison.objects.first(), Demonstration.objects.first()):
        type(label).objects.filter(pk=label.pk).update(second_look="I am not sure that the call exists in 3.11.")
    newest = project.guideline
    Guideline.publish(project, newest.text + "\n\nSay why.\n", people["owner"], "Ask for reasons")
    withdraw(Comparison.objects.all()[1], people["engineer"], "Both answers were cut off.")


def _exchange(project: Project, user: User) -> None:
    """An import that is done, one to be confirmed, and a vendor's batch that came back."""
    row = {"prompt": "What is a named tuple?", "chosen": "A tuple with names.", "rejected": "A list.", "split": "train"}
    done = batches.keep_upload(project, user, "pairs.jsonl", [json.dumps(row).encode()])
    ImportBatch.objects.filter(pk=done.pk).update(status=ImportBatch.Status.WAITING)
    stage.stage(done.pk)
    batches.keep_upload(project, user, "more.jsonl", [json.dumps(row | {"rejected": "A set."}).encode() + b"\n{"])
    prompt = Prompt.objects.get(batch=done)
    work = find_queue(project, Kind.RANK, "For a vendor")
    add_tasks(work, [(prompt, list(prompt.completions.all()))])
    batch = vendors.hand_over(work, "Acme", "Pilot", 1, user)
    answer = {"key": batch.items.get().key, "worker": "w1", "tiers": [["a"], ["b"]], "seconds": 20}
    returns.take_return(batch, "return.jsonl", json.dumps(answer).encode(), user)


def _evaluate(project: Project, user: User, models: list[Artifact]) -> None:
    for recipe in ("evaluate", "bias"):
        finish(submit_run(project, user, recipe, {}, {"models": models}))


def _unfinished_runs(project: Project, user: User, base: Artifact, dataset: Artifact) -> None:
    inputs = {"model": [base], "dataset": [dataset]}
    running = submit_run(project, user, "sft", {}, inputs, "SFT under way")
    write_training(running, steps=20)
    now = timezone.now()
    Run.objects.filter(pk=running.pk).update(
        status=Run.Status.RUNNING, worker="host:1:1", heartbeat_at=now, started_at=now, attempt=1
    )
    failed = submit_run(project, user, "sft", {"micro_batch_size": 64}, inputs, "SFT with too large a batch")
    error = "Out of memory: lower the micro batch size or the sequence length, or use a smaller model."
    Run.objects.filter(pk=failed.pk).update(
        status=Run.Status.FAILED, error=error, started_at=now, finished_at=now, attempt=1
    )
    submit_run(project, user, "corpus", {}, {}, "Corpus, queued")


def write_training(run: Run, steps: int) -> None:
    directory = RunDirectory(run.directory, run.recipe)
    for step in range(1, steps + 1):
        loss = 1.2 + 2 * math.exp(-step / 20)
        directory.log_metrics(step, loss=loss, learning_rate=2e-4 * step / steps, tokens_per_second=260.0)
        if step % 10 == 0:
            directory.log_metrics(step, val_loss=loss + 0.1)
            directory.log_sample(step, prompt="How do I reverse a list?", text="Call `items.reverse()`.")
    directory.progress(steps, steps * 2, "steps", "training")
    (run.directory / "log.txt").write_text("loading the model\ntraining\n")


RESULTS: dict[str, dict[str, Any]] = {
    "sft": {"demonstrations": 6, "val_loss_before": 2.4, "val_loss_after": 1.4,
            "finished_rate_before": 0.1, "finished_rate_after": 0.9},
    "reward_model": {"comparisons_train": 18, "comparisons_test": 6, "accuracy": 0.75, "accuracy_ci": [0.5, 0.92]},
    "ppo": {"episodes": 160, "reward_before": 0.1, "reward_after": 0.6, "reward_gain_ci": [0.3, 0.7], "kl": 1.4,
            "length_before": 30.2, "length_after": 28.1},
}  # fmt: skip


def finish(run: Run) -> Artifact:
    """End a queued run well, as its recipe and worker would, with small files in the right formats."""
    run = Run.objects.select_related("round", "project", "created_by").get(pk=run.pk)
    directory = RunDirectory(run.directory, run.recipe)
    write_training(run, steps=40)
    outputs = {}
    for role, kind in run.recipe.outputs.items():
        outputs[role] = _write_output(directory, role, kind)
    metrics = RESULTS.get(run.recipe_name, {"items": 1})
    directory.finish(metrics, outputs)
    now = timezone.now()
    Run.objects.filter(pk=run.pk).update(
        status=Run.Status.SUCCEEDED, result=metrics, started_at=now, finished_at=now, attempt=1
    )
    run.refresh_from_db()
    register_outputs(run, outputs)
    call_on_success(run)
    return run.outputs.get()


def _write_output(directory: RunDirectory, role: str, kind: str) -> dict[str, Any]:
    path = directory.output(role)
    if kind in ("model", "reward_model"):
        config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 576, "num_attention_heads": 9}
        (path / "config.json").write_text(json.dumps(config))
        return {"name": f"{directory.recipe.title} model", "parameters": 134_515_008, "licence": "apache-2.0"}
    if kind == "completions":
        rows = list(_completions(directory))
        (path / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {"count": len(rows)}
    if role == "scores":
        return _write_scores(directory, path)
    if kind == "report":
        return _write_report(directory, path)
    (path / "file.txt").write_text("content\n")
    return {}


def _completions(directory: RunDirectory) -> Any:
    config = directory.config
    answers = ("Call `items.reverse()`, which changes the list itself.", "You can reverse lists.", "It depends: " * 12)
    draw = random.Random(0)
    path = directory.input("prompts") / f"{config.split}.jsonl"
    for line in path.read_text().splitlines():
        prompt = json.loads(line)
        for model in directory.input_info("models"):
            for sample in range(config.completions_per_prompt):
                yield {
                    "prompt_id": prompt["prompt_id"], "prompt": prompt["prompt"], "cluster": prompt["cluster"],
                    "model": {"id": model["id"], "name": model["name"]},
                    "completion": answers[(sample + draw.randrange(3)) % 3] + f" ({sample})",
                    "finish_reason": "stop", "tokens": 14, "temperature": 1.0, "top_p": 1.0, "max_tokens": 48,
                    "seed": 0, "sample": sample,
                }  # fmt: skip


def _write_scores(directory: RunDirectory, path: Any) -> dict[str, Any]:
    """A reward model that likes long answers, and not quite all of them alike."""
    rows = []
    for split in ("train", "test"):
        for line in (directory.input("dataset") / f"{split}.jsonl").read_text().splitlines():
            row = json.loads(line)
            pk = row["completion_id"]
            rows.append({"completion_id": pk, "score": len(row["completion"][0]["content"]) / 40 + pk % 7 / 3})
    (path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "Scores", "type": "scores", "counts": {"scores": len(rows)}}


def _write_report(directory: RunDirectory, path: Any) -> dict[str, Any]:
    models = [{"id": m["id"], "name": m["name"]} for m in directory.input_info("models")]
    kind = "bias" if directory.recipe.name == "bias" else "evaluation"
    rows = []
    for number, model in enumerate(models):
        value = 0.3 + 0.1 * number
        rows.append({
            "model": model["name"], "task": "crows_pairs" if kind == "bias" else "python_mc",
            "metric": "stereotype share" if kind == "bias" else "accuracy", "value": value, "low": value - 0.08,
            "high": value + 0.08, "stderr": 0.04, "n": 60, "higher_is_better": None if kind == "bias" else True,
            "scorer": None, "ideal": 0.5 if kind == "bias" else None,
        })  # fmt: skip
    report = {"type": kind, "title": f"{kind.title()} of {len(models)} models", "models": models, "rows": rows}
    (path / "report.json").write_text(json.dumps(report))
    (path / "samples.jsonl").write_text(json.dumps({"model": models[0]["name"], "text": "…"}) + "\n")
    return {"name": report["title"], "type": kind}
