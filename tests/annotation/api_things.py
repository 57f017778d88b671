"""What the ids in the API's paths and bodies stand for, made when asked for: for the permission matrix and the fuzz.

Each method makes one thing, of `user` where it is somebody's, and gives what stands for it in a request.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from annotation import consent, failures, gold_items, merging, probe, returns, staleness, vendors
from annotation.datasets import freeze_prompts
from annotation.label_studio import links
from annotation.models import (
    Claim,
    Comparison,
    Completion,
    Demonstration,
    Gold,
    GoldResult,
    ImportBatch,
    Kind,
    Queue,
    Task,
    VendorBatch,
)
from annotation.queue import claim_task
from annotation.submit import submit_demonstration, submit_ranking
from annotation.tasks import add_demonstration_tasks, add_tasks, find_queue
from studio.models import Guideline, Project, User
from studio.runs.models import Artifact

TIERS = [["a"], ["b"], ["c"]]


class Things:
    def __init__(self, project: Project, completions: list[Completion], lead: User, others: list[User], make_artifact):
        self.project, self.completions, self.lead, self.others = project, completions, lead, others
        self.prompt, self.make_artifact = completions[0].prompt, make_artifact
        self.rank, self.write = find_queue(project, Kind.RANK), find_queue(project, Kind.DEMONSTRATE)
        self.failure_class = failures.add_class(project, "Wrong syntax", lead)

    def make(self, name: str, user: User) -> Any:
        return getattr(self, name)(user)

    # Projects, files and datasets

    def slug(self, user: User) -> str:
        return self.project.slug

    def name(self, user: User) -> str:
        return str(uuid.uuid4())

    def batch_id(self, user: User) -> int:
        ImportBatch.objects.update(status="undone")  # one at a time may be on its way
        shared = {"format": "columns", "name": "a.jsonl", "status": "visible"}
        return ImportBatch.objects.create(project=self.project, created_by=self.lead, **shared).pk

    def dataset_id(self, user: User) -> int:
        return freeze_prompts(self.project, self.lead).pk

    def prompt_file(self, user: User) -> str:
        return json.dumps({"prompt": f"How? {uuid.uuid4()}"})

    # Work and labels

    def queue_id(self, user: User) -> int:
        return self._task().queue_id

    def fresh_queue_id(self, user: User) -> int:
        return self._queue().pk

    def work(self, user: User) -> list[dict[str, Any]]:
        return [{"prompt": self.prompt.pk, "completions": [c.pk for c in self.completions]}]

    def task_id(self, user: User) -> int:
        """The task of the rank queue that an SME holds."""
        task = self._task()
        claim_task(task, self.others[0])
        return task.pk

    def claim_id(self, user: User) -> int:
        return self._claim(user).pk

    def done_id(self, user: User) -> int:
        return self._ranking(user, overlap=2).claim_id  # another place keeps its task open

    def comparison_id(self, user: User) -> int:
        return self._ranking(user).pk

    def comparison_ids(self, user: User) -> list[int]:
        return [self._ranking(user).pk]

    def doubted_comparison_id(self, user: User) -> int:
        return self._doubt(self._ranking(user))

    def demonstration_id(self, user: User) -> int:
        return self._demonstration(user).pk

    def doubted_demonstration_id(self, user: User) -> int:
        return self._doubt(self._demonstration(user))

    def disputed_tasks(self, user: User) -> list[int]:
        task = self._task(overlap=2)
        for person in self.others:
            submit_ranking(claim_task(task, person), TIERS)
        return [task.pk]

    def stale_groups(self, user: User) -> list[str]:
        self._ranking(user)
        guideline = Guideline.publish(self.project, f"Version {uuid.uuid4()}", self.lead, "Clearer")
        return [group.key for group in staleness.stale_groups(self.project, guideline)]

    # Failures and probes

    def class_id(self, user: User) -> int:
        return self.failure_class.pk

    def fresh_class_id(self, user: User) -> int:
        """A class that nothing is merged into; the one of `class_id` may be merged."""
        return failures.add_class(self.project, str(uuid.uuid4()), self.lead).pk

    def completion_id(self, user: User) -> int:
        return self.completions[0].pk

    def example_id(self, user: User) -> int:
        completion = Completion.objects.create(prompt=self.prompt, text="Wrong.")
        return failures.add_example(self.failure_class, completion, user, correction="Right.").pk

    def merge_id(self, user: User) -> int:
        source, target = (failures.add_class(self.project, str(uuid.uuid4()), self.lead) for _ in "ab")
        return merging.merge(source, target, self.lead).pk

    def wrong_model_id(self, user: User) -> int:
        return self.completions[0].model_id

    def probe_id(self, user: User) -> int:
        return probe.assign(self.failure_class, self.completions[0].model, self.lead).pk

    def own_probe_id(self, user: User) -> int:
        made = probe.assign(self.failure_class, self.completions[0].model, self.lead)
        probe.take(made, user)
        return made.pk

    # Vendors and Label Studio

    def vendor_batch_id(self, user: User) -> int:
        return self._vendor_batch().pk

    def return_file(self, user: User) -> str:
        """The return of the newest batch."""
        return self._return(VendorBatch.objects.first())

    def returned_batch_id(self, user: User) -> int:
        batch = self._vendor_batch()
        returns.take_return(batch, "return.jsonl", self._return(batch).encode(), self.lead)
        return batch.pk

    def link_id(self, user: User) -> int:
        return links.link_queue(self._queue(), self.lead).pk

    # Quality

    def right_order(self, user: User) -> list[list[int]]:
        return [[c.pk] for c in self.completions]

    def gold_id(self, user: User) -> int:
        return self._gold(self._queue()).pk

    def username(self, user: User) -> str:
        return user.username

    def tried_username(self, user: User) -> str:
        """Has begun the trial round of the queue that `queue_id` gives."""
        gold = Gold.objects.filter(task__queue=self.rank).first() or self._gold(self.rank)
        GoldResult.objects.create(gold=gold, claim=self._claim(user), annotator=user, accuracy=1, is_calibration=True)
        return user.username

    def withdrawn_username(self, user: User) -> str:
        if not user.standings.filter(consent_withdrawn_at__isnull=False).exists():
            consent.take_back(self.project, user, user)
        return user.username

    def reward_model_id(self, user: User) -> int:
        self._ranking(user)
        return self.make_artifact(Artifact.Kind.REWARD_MODEL, "Judge").pk

    def _queue(self) -> Queue:
        """A queue of its own with one task."""
        queue = Queue.objects.create(project=self.project, kind=Kind.RANK, name=str(uuid.uuid4()))
        add_tasks(queue, [(self.prompt, self.completions)])
        return queue

    def _task(self, **shared: Any) -> Task:
        return add_tasks(self.rank, [(self.prompt, self.completions)], **shared)[0]

    def _claim(self, user: User, **shared: Any) -> Claim:
        return claim_task(self._task(**shared), user)

    def _ranking(self, user: User, **shared: Any) -> Comparison:
        return submit_ranking(self._claim(user, **shared), TIERS)

    def _demonstration(self, user: User) -> Demonstration:
        (task,) = add_demonstration_tasks(self.write, [self.prompt])
        return submit_demonstration(claim_task(task, user), "So.")

    def _doubt(self, label: Comparison | Demonstration) -> int:
        type(label).objects.filter(pk=label.pk).update(second_look="I am not sure.")
        return label.pk

    def _gold(self, queue: Queue) -> Gold:
        return gold_items.make_gold(self._task(), [[c.pk] for c in self.completions], self.lead, queue=queue)

    def _vendor_batch(self) -> VendorBatch:
        return vendors.hand_over(self._queue(), "Acme", str(uuid.uuid4()), 1, self.lead)

    def _return(self, batch: VendorBatch) -> str:
        rows = [{"key": key, "worker": "w17", "tiers": TIERS} for key in batch.items.values_list("key", flat=True)]
        return "\n".join(map(json.dumps, rows))


@pytest.fixture
def things(project, guideline, answers, engineer, sme, annotator, make_artifact, settings) -> Things:
    settings.LABEL_STUDIO_URL = "http://127.0.0.1:9"  # nobody answers there
    settings.LABEL_STUDIO_API_KEY = "key"
    return Things(project, answers[0], engineer, [sme, annotator], make_artifact)
