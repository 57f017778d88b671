import pytest

from annotation.models import Prompt
from annotation.prompts import hash_fraction, import_prompts, message_key, root_key, split_of


def user(text):
    return [{"role": "user", "content": text}]


def test_content_decides_what_is_the_same_prompt():
    assert message_key(user("a")) == message_key([{"content": "a", "role": "user"}])
    assert message_key(user("a")) != message_key([{"role": "system", "content": "a"}])
    assert message_key(user("a") + user("b")) != message_key(user("ab"))


def test_twins_and_continuations_share_a_root():
    root = root_key(user("How do I sort a list?"))
    assert (
        root
        == root_key(user("  how do I sort\na LIST "))
        == root_key([{"role": "system", "content": "Be short."}, *user("How do I sort a list?")])
    )
    follow_up = [*user("How do I sort a list?"), {"role": "assistant", "content": "sorted()"}, *user("And backwards?")]
    assert root == root_key(follow_up)
    assert root != root_key(user("How do I sort a dict?"))
    assert root_key(user("???")) != root_key(user("!!!"))  # no words: the text itself


def test_the_hash_puts_the_fraction_into_the_held_out_split():
    roots = [root_key(user(f"Question {n}")) for n in range(2000)]
    held_out = sum(split_of(root, 0.2) == "test" for root in roots)
    assert abs(held_out - 400) < 4 * (2000 * 0.2 * 0.8) ** 0.5  # four standard deviations of a binomial: ±72
    assert split_of(roots[0], 0) == "train" and split_of(roots[0], 1) == "test"
    assert hash_fraction(roots[0], "split") != hash_fraction(roots[0], "dataset")


def test_import_is_idempotent_and_keeps_order(project, engineer):
    rows = [{"prompt": "B?", "cluster": "x", "reference": {"terms": ["b"]}}, {"messages": user("A?")}, {"prompt": "B?"}]
    first = import_prompts(project, rows, engineer, source="q")
    assert [p.text for p in first.prompts] == ["B?", "A?", "B?"]
    assert (first.created, first.known) == (2, 0)
    assert first.prompts[0].reference == {"terms": ["b"]} and first.prompts[0].source == "q"
    again = import_prompts(project, rows, engineer)
    assert (again.created, again.known) == (0, 2)


def test_twins_stay_in_one_split(project, engineer):
    (held_out,) = import_prompts(project, [{"prompt": "What is a list?", "split": "test"}], engineer).prompts
    (twin,) = import_prompts(project, [{"prompt": "what is a LIST"}], engineer, test_fraction=0).prompts
    assert twin.pk != held_out.pk and twin.split == "test"
    with pytest.raises(ValueError, match="row 2: asks for split 'train', but the same question is in 'test'"):
        import_prompts(project, [{"prompt": "New?"}, {"prompt": "What is a list", "split": "train"}], engineer)
    assert Prompt.objects.count() == 2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "give 'messages'"),
        ({"prompt": 3}, "give 'messages'"),
        ({"prompt": "   "}, "not empty"),
        ({"prompt": "a\0"}, "not empty"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "one of system, user, assistant"),
        ({"messages": [{"role": "system", "content": "x"}]}, "needs a user message"),
        ({"messages": [*user("x"), {"role": "assistant", "content": "y"}]}, "last message must be the user's"),
        ({"prompt": "x", "cluster": 3}, "'cluster'"),
        ({"prompt": "x", "tags": "a,b"}, "'tags'"),
        ({"prompt": "x", "reference": ["a"]}, "'reference'"),
        ({"prompt": "x", "reference": {"terms": ["a\0"]}}, "NUL"),
        ({"prompt": "x", "split": "valid"}, "'split' must be"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_imported(project, engineer, row, says):
    with pytest.raises(ValueError, match=f"q.json, row 2: .*{says}"):
        import_prompts(project, [{"prompt": "Fine?"}, row], engineer, source="q.json")
    assert not Prompt.objects.exists()


def test_nothing_to_import_is_refused(project, engineer):
    with pytest.raises(ValueError, match="no prompts"):
        import_prompts(project, [], engineer)
