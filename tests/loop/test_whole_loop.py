"""The whole loop on a tiny model, two rounds of it: every process, recipe and API call is the real one."""

import dataclasses
import json

import pytest
from django.conf import settings
from django.db import connections
from rich.console import Console

from annotation.models import Comparison, DatasetItem, Demonstration
from evaluation import rounds
from evaluation.demo import summary
from evaluation.demo.accounts import set_up
from evaluation.demo.content import DemoContent, load_content
from evaluation.demo.loop import Demo
from evaluation.demo.scale import Scale
from evaluation.lineage import trace
from studio.models import Round
from studio.runs.models import Run
from tests.training.tiny import save_model
from tests.workers import Workers, private_redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow, pytest.mark.loop, pytest.mark.timeout(1800)]

ROUND = {
    "max_tokens": 24,
    "completions_per_prompt": 4,
    "answers_per_task": 4,
    "reward_model_epochs": 1,
    "episodes": 32,
}
TINY = Scale(
    overlap=2,
    corpus={"heldout_fraction": 0.02},
    tokenizer={"vocab_size": 512},
    pretrain={
        "steps": 12, "hidden_size": 64, "layers": 2, "attention_heads": 2, "sequence_length": 64, "micro_batch_size": 4,
        "gradient_accumulation": 1, "evaluate_every": 6, "evaluation_sequences": 4, "checkpoint_every": 6,
        "sample_every": 12, "sample_tokens": 8, "precision": "fp32",
    },
    sft={"epochs": 4, "method": "full", "learning_rate": 5e-3, "max_new_tokens": 24, "measure_finished": 8},
    round=ROUND,
    evaluate={"limit": 4, "heldout_documents": 4},
    bias={"limit": 12},
    train_scorer={"epochs": 2, "hidden_size": 64, "layers": 1},
    toxicity={"limit": 3, "samples_per_prompt": 2, "max_tokens": 8},
)  # fmt: skip


def small(content: DemoContent) -> DemoContent:
    """24 prompts with their demonstrations and 8 held-out ones, without the failure examples of other prompts."""
    known = {d.prompt_key for d in content.demonstrations}
    train = [p for p in content.prompts if p.key in known][:24]
    held_out = [p for p in content.prompts if p.held_out][:8]
    keys = {p.key for p in train}
    return dataclasses.replace(
        content,
        prompts=(*train, *held_out),
        demonstrations=tuple(d for d in content.demonstrations if d.prompt_key in keys),
        failure_classes=tuple(
            dataclasses.replace(c, examples=tuple(e for e in c.examples if e.prompt_key in keys))
            for c in content.failure_classes
        ),
    )


def test_two_rounds_from_nothing_to_a_promoted_policy(live_server):
    save_model(settings.VAR / "imports" / "tiny-base")
    content = small(load_content())
    with private_redis():
        workers = Workers()
        workers.start()
        try:
            check_first_round(content, live_server.url)
            check_second_round(content, live_server.url)
        except RuntimeError as error:
            raise AssertionError(f"{error}\n{log_of_last_run()}\n{workers.log()}") from error
        finally:
            workers.stop()
            connections.close_all()


def demo_of(content: DemoContent, address: str) -> Demo:
    project, accounts = set_up(content)
    import_model = {
        "source": str(settings.VAR / "imports" / "tiny-base"),
        "source_kind": "directory",
        "licence": "none",
    }
    scale = dataclasses.replace(TINY, import_model=import_model)
    return Demo(project, accounts, content, scale, address, Console(width=100))


def check_first_round(content: DemoContent, address: str) -> None:
    demo = demo_of(content, address)
    demo.work_through()
    demo.seconds["loop"] = sum(demo.seconds.values())
    figures = summary.write_summary(demo.project, demo.seconds)
    summary.print_table(figures, demo.console)
    assert json.loads(summary.PATH.read_text()) == figures

    round = Round.objects.get(number=1)
    assert round.status == Round.Status.PROMOTED
    demo.project.refresh_from_db()
    assert demo.project.policy == round.final_policy != round.start_policy
    assert Demonstration.objects.count() == figures["sft"]["demonstrations"] + held_back(round) == 24
    ranked = Comparison.objects.filter(round=round, review=None)
    assert ranked.count() == 2 * ranked.values("task").distinct().count()  # an overlap of two annotators
    assert ranked.filter(prompt__split="test").count() == 0  # held-out prompts never train
    reviewed = Comparison.objects.filter(review__round=round)
    assert reviewed.count() == figures["review"]["comparisons"] == 8
    assert set(reviewed.values_list("prompt__split", flat=True)) == {"test"}
    assert all(len(c.shown_order) == 3 for c in reviewed)  # base, SFT, PPO
    assert figures["lineage"]["unresolved"] == 0, figures["lineage"]["problems"]
    assert figures["lineage"]["labels"] == 24 + ranked.exclude(dataset_items=None).count()
    check_broken_link_is_counted(demo)


def held_back(round: Round) -> int:
    """Demonstrations in the test split of the SFT dataset."""
    return DatasetItem.objects.filter(split="test").exclude(demonstration=None).count()


def check_broken_link_is_counted(demo: Demo) -> None:
    item = DatasetItem.objects.exclude(comparison=None).first()
    item.delete()
    problems = trace([demo.project.policy]).unresolved
    assert len(problems) == 1 and "1 of" in problems[0] and "which label" in problems[0]
    item.save()
    assert trace([demo.project.policy]).unresolved == []


def check_second_round(content: DemoContent, address: str) -> None:
    demo = demo_of(content, address)
    first = Round.objects.get(number=1)
    second = rounds.start_round(demo.project, demo.engineer, ROUND)
    assert (second.number, second.start_policy) == (2, first.final_policy)
    demo.turn(second)
    second.refresh_from_db()
    demo.project.refresh_from_db()
    assert second.status == Round.Status.PROMOTED
    assert demo.project.policy == second.final_policy
    assert Comparison.objects.filter(round=second, review=None).exists()
    assert [r.recipe_name for r in second.runs.order_by("id")] == ["sample", "reward_model", "ppo", "sample"]
    lineage = trace([second.final_policy])
    assert lineage.unresolved == []
    assert lineage.labels > trace([first.final_policy]).labels  # the first round's labels and the second's


def log_of_last_run() -> str:
    run = Run.objects.order_by("id").last()
    path = run.directory / "log.txt"
    return f"{run}\n{path.read_text()[-3000:] if path.exists() else ''}"
