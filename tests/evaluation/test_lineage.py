"""What came from what: the walk, the graph behind the picture, its layout, and the shell's `trace`."""

from __future__ import annotations

from io import StringIO
from itertools import pairwise

import networkx as nx
import pytest
from django.core.management import CommandError, call_command

from annotation.lineage import ancestors, artifacts_using, descendants, labels_behind
from annotation.models import Comparison, Completion, DatasetItem
from evaluation.lineage import trace
from evaluation.lineage_graph import of_artifact, of_label
from evaluation.lineage_picture import draw, layers
from studio.models import Project
from studio.runs.models import Artifact, Run, RunInput
from tests.showcase import build_showcase


@pytest.fixture
def showcase(db) -> Project:
    return build_showcase()


@pytest.fixture
def policy(showcase) -> Artifact:
    """The result of the first round's PPO."""
    return Run.objects.get(recipe_name="ppo").outputs.get()


def test_a_whole_thread_has_no_broken_link(policy):
    found = trace([policy])
    behind = labels_behind(policy)
    # 6 demonstrations, and of the 9 rankings those that prefer one answer to another.
    assert found.labels == behind.count == 6 + behind.comparisons.count()
    # import, SFT, drawing the answers, reward model, PPO; a model or completions each, and three frozen datasets
    assert (found.runs, found.artifacts, found.unresolved) == (5, 8, [])


def broken(policy: Artifact, verify_files: bool = True) -> list[str]:
    return trace([policy], verify_files).unresolved


def test_a_lost_label_is_counted(policy):
    DatasetItem.objects.exclude(comparison=None).first().delete()
    assert [p for p in broken(policy) if "do not say which label" in p] == broken(policy) != []


def test_a_changed_file_is_seen_only_when_files_are_looked_at(policy):
    (policy.directory / "config.json").write_text("{}")
    assert broken(policy) == [f"Artifact {policy.pk} ({policy.name}): its files are not those that were registered."]
    assert broken(policy, verify_files=False) == []


def test_an_input_that_is_not_recorded_is_named(policy):
    RunInput.objects.filter(run__outputs=policy, role="reward_model").delete()
    assert any("its input 'reward_model' is not recorded" in problem for problem in broken(policy))


def test_answers_without_their_model_are_counted(policy):
    drawn = Run.objects.filter(recipe_name="sample").earliest("id").outputs.get()
    Completion.objects.filter(pk__in=Completion.objects.filter(artifact=drawn)[:2]).update(artifact=None, line=None)
    assert any("2 of 36 completions are not known" in problem for problem in broken(policy))  # 12 prompts, 3 each


@pytest.mark.parametrize("name", ["import_model", "sft", "reward_model", "ppo"])
def test_the_graph_agrees_with_the_walk_over_rows(showcase, name):
    artifact = Run.objects.filter(recipe_name=name, status="succeeded").earliest("id").outputs.get()
    found = of_artifact(showcase, artifact)
    assert found.ancestry == ancestors([artifact.pk])
    assert ids(found.before) | {artifact.pk} == ancestors([artifact.pk])
    assert ids(found.after) | {artifact.pk} == descendants([artifact.pk])
    assert nx.is_directed_acyclic_graph(found.graph)


def ids(keys) -> set[int]:
    return {key[1] for key in keys if key[0] == "artifact"}


def test_labels_stand_between_the_answers_and_the_dataset(showcase, policy):
    found = of_artifact(showcase, policy)
    dataset = Run.objects.get(recipe_name="reward_model").inputs.get(role="dataset").artifact
    answers = Run.objects.filter(recipe_name="sample").earliest("id").outputs.get()
    group = ("labels", dataset.pk, "comparison")
    assert nx.has_path(found.graph, ("artifact", answers.pk), group)
    assert list(found.graph.predecessors(("artifact", dataset.pk))) == [group]
    n = labels_behind(dataset).comparisons.count()
    assert found.nodes[group].title == f"{n} comparisons" and f"?dataset={dataset.pk}" in found.nodes[group].url


def test_a_label_leads_to_all_that_used_it(showcase):
    label = Comparison.objects.exclude(dataset_items=None).first()
    found = of_label(showcase, label)
    assert ids(found.after) == set(artifacts_using(label).values_list("pk", flat=True))
    assert [node.kind for node in found.of_kind("reward_model", "model")] == ["reward_model", "model"]  # nearest first


def test_a_large_lineage_shows_what_is_nearest(showcase, monkeypatch):
    monkeypatch.setattr("evaluation.lineage_graph.SHOWN_ARTIFACTS", 3)
    base = Run.objects.get(recipe_name="import_model").outputs.get()
    found = of_artifact(showcase, base)
    assert len(ids(found.nodes)) == 3 and found.omitted == len(descendants([base.pk])) - 3
    assert draw(found).boxes


def test_layers_follow_the_longest_path(showcase, policy):
    found = of_artifact(showcase, policy)
    layer = layers(found)
    assert layer[found.centre] == 0
    assert all(layer[source] < layer[target] for source, target in found.graph.edges)
    # demonstrations ← dataset ← SFT ← answers ← comparisons ← dataset ← reward model ← policy: seven steps down
    path = nx.dag_longest_path(found.graph.subgraph(found.before | {found.centre}))
    assert layer[path[0]] == min(layer.values()) == -(len(path) - 1) == -7


def test_boxes_do_not_overlap_and_lie_inside(showcase, policy):
    picture = draw(of_artifact(showcase, policy))
    assert all(b.x >= 0 and b.x + picture.box_width <= picture.width for b in picture.boxes)
    assert all(b.y >= 0 and b.y + b.height <= picture.height for b in picture.boxes)
    columns: dict[float, list] = {}
    for box in picture.boxes:
        columns.setdefault(box.x, []).append(box)
    assert all(a.y + a.height < b.y for column in columns.values() for a, b in pairwise(column))
    assert sum(box.is_centre for box in picture.boxes) == 1


def test_trace_in_the_shell(policy):
    out = StringIO()
    call_command("trace", policy.pk, stdout=out)
    assert "5 runs, 8 artifacts" in out.getvalue() and "every link holds, files included" in out.getvalue()
    (policy.directory / "config.json").unlink()
    with pytest.raises(CommandError, match="1 broken links"):
        call_command("trace", policy.pk, stdout=out)
    assert "broken: Artifact" in out.getvalue()
    call_command("trace", policy.pk, "--no-files", stdout=StringIO())
    with pytest.raises(CommandError, match="There is no artifact 99999"):
        call_command("trace", 99999)
