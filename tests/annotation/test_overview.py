"""What the overview counts of annotation, for whom."""

from annotation.overview import annotation_tiles
from annotation.queue import claim_next
from annotation.submit import submit_demonstration


def _numbers(project, user) -> dict[str, int]:
    return {tile.label: tile.value for tile in annotation_tiles(project, project.memberships.get(user=user))}


def test_annotators_see_their_own_work(project, annotator, sme, write_queue, rank_queue):
    # four demonstrations to write and four rankings to give
    assert _numbers(project, annotator) == {"Waiting for you": 8, "Done by you": 0}
    submit_demonstration(claim_next(write_queue, annotator), "Use reversed(values) or values[::-1].")
    assert _numbers(project, annotator) == {"Waiting for you": 7, "Done by you": 1}
    assert _numbers(project, sme)["Done by you"] == 0


def test_engineers_see_what_was_collected(project, annotator, engineer, write_queue):
    submit_demonstration(claim_next(write_queue, annotator), "Use reversed(values) or values[::-1].")
    assert _numbers(project, engineer) == {"Prompts": 6, "Demonstrations": 1, "Comparisons": 0}


def test_withdrawn_work_is_not_counted(project, annotator, sme, engineer, write_queue):
    label = submit_demonstration(claim_next(write_queue, annotator), "Use reversed(values) or values[::-1].")
    label.withdrawn_at = label.created_at
    label.save()
    assert _numbers(project, engineer)["Demonstrations"] == 0


def test_closed_queues_ask_for_nothing(project, annotator, write_queue):
    write_queue.is_open = False
    write_queue.save()
    assert _numbers(project, annotator)["Waiting for you"] == 0


def test_number_of_queries(project, sme, write_queue, rank_queue, django_assert_max_num_queries):
    membership = project.memberships.select_related("user").get(user=sme)
    with django_assert_max_num_queries(7):
        annotation_tiles(project, membership)
