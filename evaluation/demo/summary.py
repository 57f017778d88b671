"""What the demo measured, read from runs, labels and reports; nothing in it is computed by the demo itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from rich.console import Console
from rich.table import Table

from annotation.reviews import judgements, win_rate_of
from evaluation.lineage import trace
from studio.models import Project
from studio.runs.directory import write_json
from studio.runs.models import Artifact, Run

PATH = settings.VAR / "demo" / "summary.json"


def write_summary(project: Project, seconds: dict[str, float]) -> dict[str, Any]:
    """Collect the figures of the first round and write var/demo/summary.json. Intervals are [low, high] at 95 %."""
    round = project.rounds.get(number=1)
    reward_model, ppo = round.runs.get(recipe_name="reward_model"), round.runs.get(recipe_name="ppo")
    summary = {
        "pretrain": _pick(
            _newest(project, "pretrain").result,
            "parameters", "tokens", "tokens_per_second", "val_loss_start", "val_loss_end",
        ),
        "sft": _pick(
            _newest(project, "sft").result,
            "demonstrations", "val_loss_before", "val_loss_after", "finished_rate_before", "finished_rate_after",
        ),
        "reward_model": _pick(
            reward_model.result,
            "comparisons_train", "comparisons_test", "accuracy", "accuracy_ci", "accuracy_length_only",
        ),
        "ppo": _pick(
            ppo.result,
            "episodes", "reward_before", "reward_after", "reward_gain_ci", "kl", "length_before", "length_after",
        ),
        "review": _review(round),
        "bias": _report(_newest(project, "bias")),
        "toxicity": _report(_newest(project, "toxicity")),
        "lineage": _lineage(project),
        "seconds": _seconds(seconds),
    }  # fmt: skip
    write_json(PATH, summary)
    return summary


def _newest(project: Project, recipe: str) -> Run:
    return project.runs.filter(recipe_name=recipe, status=Run.Status.SUCCEEDED).order_by("-id")[0]


def _pick(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _review(round) -> dict[str, Any]:
    found = judgements(round.reviews.get())
    result = win_rate_of(found, round.final_policy, round.start_policy)
    assert result is not None
    return {
        "annotators": "scripted",
        "comparisons": len(found),
        "win_rate_ppo_vs_sft": result.rate.value,
        "ci": [result.rate.low, result.rate.high],
        "wins": result.wins,
        "ties": result.ties,
        "losses": result.losses,
    }


def _report(run: Run) -> dict[str, Any]:
    """{model: {"task metric": {"value", "ci", "n", …}}} of a report artifact."""
    report = json.loads((run.outputs.get(kind=Artifact.Kind.REPORT).directory / "report.json").read_text())
    found: dict[str, Any] = {}
    for row in report["rows"]:
        figures = {"value": row["value"], "ci": [row["low"], row["high"]], "n": row["n"]}
        figures |= {name: row[name] for name in ("scorer", "ideal") if row.get(name) is not None}
        found.setdefault(row["model"], {})[f"{row['task']} {row['metric']}"] = figures
    return found


def _lineage(project: Project) -> dict[str, Any]:
    reports = [a for a in project.artifacts.filter(kind=Artifact.Kind.REPORT) if a.produced_by]
    traced = trace([project.policy, *reports])
    return {
        "labels": traced.labels,
        "runs": traced.runs,
        "artifacts": traced.artifacts,
        "unresolved": len(traced.unresolved),
        "problems": traced.unresolved,
    }


def _seconds(seconds: dict[str, float]) -> dict[str, float]:
    install = Path(settings.BASE_DIR / ".venv" / "installed")
    installed = float(install.read_text()) if install.exists() else None
    return {"install": installed, **{name: round(value, 1) for name, value in seconds.items()}}


def print_table(summary: dict[str, Any], console: Console) -> None:
    table = Table(title="What the loop did", title_justify="left", show_header=True, header_style="bold")
    table.add_column("Stage")
    table.add_column("Figure")
    table.add_column("Value", justify="right")
    for stage, label, value in _rows(summary):
        table.add_row(stage, label, value)
    console.print(table)
    for problem in summary["lineage"]["problems"]:
        console.print(f"[red]{problem}[/red]")


def _rows(s: dict[str, Any]) -> list[tuple[str, str, str]]:
    p, sft, rm, ppo, review, lineage = (s[k] for k in ("pretrain", "sft", "reward_model", "ppo", "review", "lineage"))
    loss = f"{p['val_loss_start']:.2f} → {p['val_loss_end']:.2f}"
    pairs = f"{rm['comparisons_train']} + {rm['comparisons_test']}"
    finished = f"{sft['finished_rate_before']:.0%} → {sft['finished_rate_after']:.0%}"
    return [
        ("Pretraining", f"validation loss, {p['parameters'] / 1e6:.1f}M parameters", loss),
        ("", "tokens, tokens/s", f"{p['tokens']:,} · {p['tokens_per_second']:,.0f}"),
        ("SFT", "validation loss", f"{sft['val_loss_before']:.2f} → {sft['val_loss_after']:.2f}"),
        ("", f"finished answers, {sft['demonstrations']} demonstrations", finished),
        ("Reward model", f"held-out accuracy, {pairs} comparisons", _interval(rm["accuracy"], rm["accuracy_ci"], "%")),
        ("PPO", "reward, held-out prompts", f"{ppo['reward_before']:.2f} → {ppo['reward_after']:.2f}"),
        ("", "reward gain, 95 % interval", _interval(None, ppo["reward_gain_ci"])),
        ("", "KL to SFT, nats an answer", f"{ppo['kl']:.2f}"),
        ("", "answer length, tokens", f"{ppo['length_before']:.1f} → {ppo['length_after']:.1f}"),
        ("Review", f"win rate PPO over SFT, {review['comparisons']} blind judgements (scripted)",
         _interval(review["win_rate_ppo_vs_sft"], review["ci"], "%")),
        ("Lineage", f"{lineage['labels']} labels, {lineage['runs']} runs, {lineage['artifacts']} artifacts",
         f"{lineage['unresolved']} unresolved"),
        ("Time", "loop", f"{s['seconds']['loop'] / 60:.1f} min"),
    ]  # fmt: skip


def _interval(value: float | None, ci: list[float], unit: str = "") -> str:
    form = (lambda v: f"{v:.0%}") if unit == "%" else (lambda v: f"{v:+.2f}")
    inside = f"[{form(ci[0])}, {form(ci[1])}]"
    return inside if value is None else f"{form(value)} {inside}"
