"""The demo's way through the whole loop: every stage a real run on the studio's workers, every label through the API.

Each stage looks first for what an earlier start of the demo left: a run that succeeded is used, one that is under way
is followed, one that failed is resumed. So the demo may be interrupted anywhere and started again.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.models import QuerySet, Sum
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from annotation import datasets, reviews
from annotation.models import Completion, FailureExample, Kind, Prompt, Split, Task
from annotation.prompts import message_key
from annotation.tasks import add_demonstration_tasks, completions_of, find_queue
from evaluation import rounds
from evaluation.demo.accounts import SCRIPTED_SME, SLUG, Accounts
from evaluation.demo.annotators import Client, demonstrating, ranking, work_together
from evaluation.demo.content import HERE, DemoContent, load_toxicity_labelled
from evaluation.demo.scale import Scale
from evaluation.demo.scripted_preferences import SCRIPTED_ANNOTATORS
from studio.models import Project, Round, User
from studio.runs.control import resume_run
from studio.runs.models import Artifact, Run
from studio.runs.progress import read_progress
from studio.runs.submit import submit_run
from studio.runs.uploads import Source, create_dataset

PRACTICE = "Practice: base, SFT and PPO"
PRACTICE_TASKS = 12


class Demo:
    def __init__(
        self, project: Project, accounts: Accounts, content: DemoContent, scale: Scale, address: str, console: Console
    ):
        self.project, self.accounts, self.content, self.scale = project, accounts, content, scale
        self.address, self.console = address, console
        self.engineer = User.objects.get(username="engineer")
        self.timings_path = settings.VAR / "demo" / "seconds.json"
        self.seconds: dict[str, float] = json.loads(self.timings_path.read_text()) if self.timings_path.exists() else {}

    def work_through(self) -> None:
        self.pretrain_from_scratch()
        self.instruct()
        round = self.learn_from_preferences()
        self.report()
        self.leave_work_for_people(round)

    # (a) From nothing: corpus, tokenizer, a small GPT-NeoX

    def pretrain_from_scratch(self) -> None:
        scale = self.scale
        with self.stage("corpus", "Corpus and tokenizer"):
            base = self.start("import_model", scale.import_model, {}, "SmolLM2-135M-Instruct")  # meanwhile
            corpus = self.run("corpus", scale.corpus, {}, "Python documentation").outputs.get()
            inputs = {"corpus": [corpus]}
            tokenizer = self.run("tokenizer", scale.tokenizer, inputs, "Byte-level BPE").outputs.get()
            self.base = self.follow(base).outputs.get()
        with self.stage("pretrain", "Pretraining a GPT-NeoX from scratch"):
            inputs = {"corpus": [corpus], "tokenizer": [tokenizer]}
            self.pretrained = self.run("pretrain", scale.pretrain, inputs, "GPT-NeoX from scratch").outputs.get()
        self.corpus = corpus

    # (b) From people: demonstrations, SFT

    def instruct(self) -> None:
        prompts = self.project.prompts.filter(split=Split.TRAIN).order_by("id")
        with self.stage("demonstrations", "Demonstrations by the scripted SME"):
            tasks_queue = find_queue(self.project, Kind.DEMONSTRATE)
            if not Task.objects.filter(queue=tasks_queue).exists():
                add_demonstration_tasks(tasks_queue, [p for p in prompts if p.text in self._demonstrated()])
            self.scripted_work([(SCRIPTED_SME, Kind.DEMONSTRATE, "", demonstrating(self.content))])
            dataset = self.frozen("Demonstrations", datasets.freeze_demonstrations)
        with self.stage("sft", "Supervised fine-tuning"):
            held_out = self.frozen("Prompts", datasets.freeze_prompts)
            inputs = {"model": [self.base], "dataset": [dataset], "prompts": [held_out]}
            policy = self.run("sft", self.scale.sft, inputs, "SFT on the demonstrations").outputs.get()
        Project.objects.filter(pk=self.project.pk, policy=None).update(policy=policy)
        self.sft = policy

    def _demonstrated(self) -> set[str]:
        texts = {p.key: p.text for p in self.content.prompts}
        return {texts[d.prompt_key] for d in self.content.demonstrations}

    # A round: samples → rankings → reward model → PPO → blind review

    def learn_from_preferences(self) -> Round:
        self.project.refresh_from_db()
        round = self.project.rounds.order_by("number").first()
        if round is None:
            values = {**self.scale.round, "review_also": str(self.base.pk), "overlap": self.scale.overlap}
            round = rounds.start_round(self.project, self.engineer, values)
        self.turn(round)
        return round

    def turn(self, round: Round) -> None:
        """Work through a round that has been started, to its promotion."""
        suffix = "" if round.number == 1 else f"_{round.number}"
        with self.stage(f"sample{suffix}", "Drawing answers to compare"):
            self.follow(round.runs.filter(recipe_name="sample").earliest("id"))
        with self.stage(f"rankings{suffix}", "Rankings by the scripted annotators"):
            self.scripted_work(self._rankers(Kind.RANK, ""))
            if round.number == 1:
                self.file_failures()
        with self.stage(f"reward_model{suffix}", "Reward model"):
            round.refresh_from_db()
            if round.status == Round.Status.COLLECTING:
                rounds.train_round(round, self.engineer)
            self.follow(round.runs.get(recipe_name="reward_model"))
        with self.stage(f"ppo{suffix}", "PPO"):
            self.follow(round.runs.get(recipe_name="ppo"))
        with self.stage(f"review{suffix}", "Blind review on held-out prompts"):
            self.follow(round.runs.filter(recipe_name="sample").latest("id"))
            review = round.reviews.get()
            self.scripted_work(self._rankers(Kind.REVIEW, review.queue.name))
        round.refresh_from_db()
        if round.status == Round.Status.REVIEWING:
            rounds.promote(round, User.objects.get(username="owner"))
            round.refresh_from_db()

    def _rankers(self, kind: str, name: str) -> list[tuple[str, str, str, Any]]:
        return [(a.name.replace(" ", "-"), kind, name, ranking(self.content, a)) for a in SCRIPTED_ANNOTATORS]

    def file_failures(self) -> None:
        """The scripted SME files the examples of the content under their failure classes."""
        if FailureExample.objects.filter(failure_class__project=self.project).exists():
            return
        client = Client(self.address, self.accounts.secrets[SCRIPTED_SME])
        author = User.objects.get(username=SCRIPTED_SME)
        texts = {p.key: p.text for p in self.content.prompts}
        for failure_class in self.content.failure_classes:
            for example in failure_class.examples:
                messages = [{"role": "user", "content": texts[example.prompt_key]}]
                prompt = Prompt.objects.get(project=self.project, key=message_key(messages))
                failing = Completion.objects.create(prompt=prompt, text=example.failing_completion, author=author)
                client.file_failure(SLUG, failure_class.name, failing.pk, example.correction, example.reasoning)

    # (c) Reports

    def report(self) -> None:
        scale = self.scale
        self.project.refresh_from_db()
        policy = self.project.policy
        trained = {"models": [self.base, self.sft, policy]}
        with self.stage("evaluate", "Evaluation with lm-eval"):
            inputs = {"models": [self.pretrained, *trained["models"]], "corpus": [self.corpus]}
            self.run("evaluate", scale.evaluate, inputs, "Evaluation")
        with self.stage("bias", "Bias"):
            self.run("bias", scale.bias, trained, "CrowS-Pairs form, own pairs")
        with self.stage("toxicity", "Toxicity"):
            labelled = self.frozen("Labelled for toxicity", self._upload_labelled)
            scorer = self.run("train_scorer", scale.train_scorer, {"dataset": [labelled]}, "Toxicity scorer")
            inputs = {**trained, "scorer": [scorer.outputs.get()]}
            self.run("toxicity", scale.toxicity, inputs, "Toxicity of answers")

    def _upload_labelled(self, project: Project, user: User, name: str) -> Artifact:
        load_toxicity_labelled()  # says what is wrong with the file, if anything is
        train, test = HERE / "toxicity_labelled.jsonl", HERE / "toxicity_labelled_test.jsonl"
        with open(train, "rb") as file, open(test, "rb") as held_out:
            sources = Source(train.name, file), Source(test.name, held_out)
            return create_dataset(project, user, "labelled", name, *sources, origin="evaluation/demo")

    # Something to do for whoever signs in

    def leave_work_for_people(self, round: Round) -> None:
        """A dozen prompts to demonstrate, and a dozen held-out prompts whose answers wait for a blind ranking."""
        if self.project.reviews.filter(name=PRACTICE).exists():
            return
        tasks_queue = find_queue(self.project, Kind.DEMONSTRATE)
        asked = Task.objects.filter(queue=tasks_queue).values("prompt")
        undemonstrated = self.project.prompts.filter(split=Split.TRAIN).exclude(pk__in=asked)
        if undemonstrated.exists():
            add_demonstration_tasks(tasks_queue, self._spread(undemonstrated))
        held_out = self.project.prompts.filter(split=Split.TEST)
        drawn = round.runs.filter(recipe_name="sample").latest("id").outputs.get()
        reviews.start_review(
            self.project,
            self.engineer,
            PRACTICE,
            [self.base, round.start_policy, round.final_policy],
            prompts=self.project.prompts.filter(pk__in=[p.pk for p in self._spread(held_out)]),
            completions=completions_of(drawn),
        )

    def _spread(self, prompts: QuerySet[Prompt]) -> list[Prompt]:
        """A dozen prompts from all over the set, which is ordered by cluster."""
        found = list(prompts.order_by("id"))
        return found[:: max(1, len(found) // PRACTICE_TASKS)][:PRACTICE_TASKS]

    # What the stages share

    def frozen(self, name: str, make: Any) -> Artifact:
        found = Artifact.objects.filter(project=self.project, kind=Artifact.Kind.DATASET, name=name).first()
        return found or make(self.project, self.engineer, name=name)

    def run(self, recipe: str, values: dict[str, Any], inputs: dict[str, list[Artifact]], title: str) -> Run:
        return self.follow(self.start(recipe, values, inputs, title))

    def start(self, recipe: str, values: dict[str, Any], inputs: dict[str, list[Artifact]], title: str) -> Run:
        found = self.project.runs.filter(recipe_name=recipe, title=title).order_by("id").last()
        return found or submit_run(self.project, self.engineer, recipe, values, inputs, title)

    def follow(self, run: Run) -> Run:
        """Wait for a run with a progress bar. Raises RuntimeError when it fails."""
        run.refresh_from_db()
        if run.status in (Run.Status.FAILED, Run.Status.CANCELLED):
            resume_run(run)
            run.refresh_from_db()
        with self.bar(run.title) as (progress, task):
            while run.is_live:
                time.sleep(0.3)
                run.refresh_from_db()
                seen = read_progress(run)
                if seen and run.status == Run.Status.RUNNING:
                    progress.update(task, completed=seen.fraction, note=seen.note or f"{seen.done:,.0f} {seen.unit}")
            progress.update(task, completed=1, note=run.get_status_display().lower())
        if run.status != Run.Status.SUCCEEDED:
            raise RuntimeError(f"{run} {run.status}: {run.error}\nIts log: {run.directory / 'log.txt'}")
        return run

    def scripted_work(self, jobs: list[tuple[str, str, str, Any]]) -> int:
        """Let accounts work on a queue until it is empty: (username, kind, queue name, what they answer)."""
        clients = [(Client(self.address, self.accounts.secrets[name]), kind, q, a) for name, kind, q, a in jobs]
        queues = [(client, client.queue(SLUG, kind, name), answer) for client, kind, name, answer in clients]
        waiting = Task.objects.filter(queue=queues[0][1], status=Task.Status.OPEN)
        total = waiting.aggregate(n=Sum("overlap"))["n"] or 0
        with self.bar(jobs[0][1]) as (progress, task):
            advance = lambda: progress.advance(task, 1 / max(total, 1))  # noqa: E731
            return work_together(
                [lambda c=client, q=queue_id, a=answer: c.work(q, a, advance) for client, queue_id, answer in queues]
            )

    @contextlib.contextmanager
    def bar(self, title: str) -> Iterator[tuple[Progress, TaskID]]:
        columns = (TextColumn("  {task.description:<36.36}"), BarColumn(30), TextColumn("{task.fields[note]:<28.28}"))
        with Progress(*columns, TimeElapsedColumn(), console=self.console) as progress:
            yield progress, progress.add_task(title, total=1, note="")

    @contextlib.contextmanager
    def stage(self, key: str, title: str) -> Iterator[None]:
        """Seconds of a stage, added up over interrupted starts; one that was finished before keeps its own."""
        self.console.print(f"[bold]{title}[/bold]")
        started = time.monotonic()
        yield
        passed = time.monotonic() - started
        self.seconds[key] = max(self.seconds.get(key, 0), passed)
        self.timings_path.write_text(json.dumps(self.seconds, indent=1))
