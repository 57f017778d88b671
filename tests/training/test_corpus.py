"""Corpora: sources, exact deduplication, the held-out split; and the tokenizer trained on one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from studio.runs.directory import RunDirectory
from tests.training.launching import ROOT, make_run, recipe
from training.corpus.exact_deduplication import document_hash, is_held_out
from training.corpus.sources import python_docstrings, python_topics, text_files
from training.recipes import corpus as corpus_recipe
from training.recipes import tokenizer as tokenizer_recipe


def build(path: Path, module, name: str, config: dict, **inputs) -> RunDirectory:
    run = RunDirectory(make_run(path, name, config, **inputs), recipe(name))
    module.run(run)
    return run


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_normalisation_decides_what_is_a_duplicate():
    assert document_hash("Hello  World\n") == document_hash("hello world")
    assert document_hash("ﬁne") == document_hash("fine")  # NFKC: the ligature fi
    assert document_hash("hello, world") != document_hash("hello world")


def test_the_held_out_split_takes_about_its_share_and_keeps_it():
    hashes = [document_hash(f"document {i}") for i in range(4000)]
    held_out = [h for h in hashes if is_held_out(h, 0.1)]
    assert abs(len(held_out) - 400) < 3 * (4000 * 0.1 * 0.9) ** 0.5  # three standard deviations of the binomial: 57
    assert all(is_held_out(h, 0.2) for h in held_out)  # a larger share contains the smaller one


def test_docstrings_are_read_from_source_without_running_it(tmp_path):
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text('"""The package."""\nraise RuntimeError("imported!")\n')
    (package / "m.py").write_text(
        'class A(dict):\n    """A class."""\n    async def f(self, x: int = 1, *a):\n        """A method."""\n'
    )
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "t.py").write_text('"""Not documentation."""\n')
    (tmp_path / "broken.py").write_text("def (:\n")
    texts = [d.text for d in python_docstrings(tmp_path)]
    assert texts == [
        "module pkg\n\nThe package.\n",
        "class pkg.m.A(dict)\n\nA class.\n",
        "pkg.m.A.f(self, x: int=1, *a)\n\nA method.\n",
    ]


def test_the_reference_topics_carry_source_and_licence():
    documents = list(python_topics())
    assert len(documents) > 70
    assert {(d.source, d.licence) for d in documents} == {("python-topics", "PSF-2.0")}


def test_corpus_from_files(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    lines = [{"text": f"Document number {i} about nothing much."} for i in range(40)]
    lines += [
        {"text": "document NUMBER 3  about nothing much."},
        {"text": "tiny"},
        {"text": "x" * 40, "licence": "MIT"},
    ]
    (data / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    (data / "notes.txt").write_text(
        "First paragraph, long enough to be kept.\n\nSecond paragraph, long enough as well.\n"
    )
    (data / "README.md").write_text("A card, which is no document.")
    config = {
        "python_documentation": False,
        "licence": "CC-BY-4.0",
        "heldout_fraction": 0.25,
        "text_file_documents": "paragraph",
    }
    run = build(tmp_path / "run", corpus_recipe, "corpus", config, files=data)
    output = run.path / "output/corpus"
    train, heldout = rows(output / "train.jsonl"), rows(output / "heldout.jsonl")
    summary = json.loads((output / "corpus.json").read_text())
    # 40 + 1 with its own licence + 2 paragraphs are kept; one duplicate, one too short
    assert len(train) + len(heldout) == summary["train"] + summary["heldout"] == 43
    assert (summary["gathered"], summary["duplicates"], summary["too_short"]) == (45, 1, 1)
    assert summary["licence"] == "CC-BY-4.0 AND MIT"
    assert {s["source"] for s in summary["sources"]} == {"data"}
    assert not {r["id"] for r in train} & {r["id"] for r in heldout}
    assert all(is_held_out(document_hash(r["text"]), 0.25) for r in heldout)

    again = build(tmp_path / "again", corpus_recipe, "corpus", config, files=data)
    for name in ("train.jsonl", "heldout.jsonl", "corpus.json"):
        assert (again.path / "output/corpus" / name).read_bytes() == (output / name).read_bytes()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"text": "cut', r"part\.jsonl, line 2: .*JSON"),
        ('{"txt": "no text"}', r"part\.jsonl, line 2: .*\"text\""),
        ("[1]", r"part\.jsonl, line 2: "),
    ],
)
def test_corrupt_jsonl_names_file_and_line(tmp_path, line, sentence):
    (tmp_path / "part.jsonl").write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(ValueError, match=sentence):
        list(text_files(tmp_path, "s", "MIT"))


def test_text_that_is_not_utf8_names_file_and_line(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"one\ntwo \xe9\n")
    with pytest.raises(ValueError, match=r"latin\.txt, line 2: .*UTF-8"):
        list(text_files(tmp_path, "s", "MIT"))


def test_nothing_to_gather_is_said(tmp_path):
    with pytest.raises(ValueError, match="nothing to gather"):
        build(tmp_path / "run", corpus_recipe, "corpus", {"python_documentation": False})
    (tmp_path / "one.jsonl").write_text('{"text": "a single document cannot be split in two"}\n')
    settings = {"python_documentation": False}
    with pytest.raises(ValueError, match="No document fell into the"):
        build(tmp_path / "one", corpus_recipe, "corpus", settings, files=tmp_path / "one.jsonl")


def test_tokenizer(tmp_path):
    from transformers import AutoTokenizer

    texts = [document.text[:3000] for document in python_topics()]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    settings = {"python_documentation": False, "heldout_fraction": 0.2}
    corpus = build(tmp_path / "corpus", corpus_recipe, "corpus", settings, files=tmp_path / "texts.jsonl")
    corpus_path = corpus.path / "output/corpus"
    run = build(tmp_path / "run", tokenizer_recipe, "tokenizer", {"vocab_size": 512}, corpus=corpus_path)
    tokenizer = AutoTokenizer.from_pretrained(run.path / "output/tokenizer")
    assert len(tokenizer) == 512
    specials = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    assert tokenizer.convert_tokens_to_ids(specials) == [0, 1, 2, 3]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|endoftext|>", "<|pad|>")

    strange = "naïve  “quotes”\t\n\n🐍 日本語 \x00 \u202e café e\u0301 ﬁ"
    for text in (strange, *(row["text"] for row in rows(corpus_path / "heldout.jsonl"))):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text

    heldout = [row["text"] for row in rows(corpus_path / "heldout.jsonl")]
    size = sum(len(text.encode()) for text in heldout)
    tokens = sum(len(tokenizer(text)["input_ids"]) for text in heldout)
    result = json.loads((run.path / "result.json").read_text())["metrics"]
    assert result == {"vocab_size": 512, "bytes_per_token": pytest.approx(size / tokens, abs=1e-4)}
    assert result["bytes_per_token"] > 1.5  # bytes alone would give 1

    dialogue = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    rendered = tokenizer.apply_chat_template(dialogue, tokenize=False)
    assert rendered == "<|im_start|>user\nHi<|endoftext|>\n<|im_start|>assistant\nHello<|endoftext|>\n"
    assert tokenizer.apply_chat_template(dialogue[:1], tokenize=False, add_generation_prompt=True).endswith(
        "assistant\n"
    )

    again = build(tmp_path / "again", tokenizer_recipe, "tokenizer", {"vocab_size": 512}, corpus=corpus_path)
    name = "output/tokenizer/tokenizer.json"
    assert (again.path / name).read_bytes() == (run.path / name).read_bytes()


def test_configs_are_importable_without_heavy_libraries():
    modules = ["corpus", "tokenizer", "pretrain", "import_model"]
    code = (
        f"import sys; [__import__('training.recipes.' + m) for m in {modules}];"
        "print(sorted({'torch', 'transformers', 'tokenizers', 'deepspeed', 'django'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
