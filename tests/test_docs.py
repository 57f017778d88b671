"""README.md and docs/ say what is there: links, commands, variables, keys, buttons, files, and the example recipe."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands

from evaluation.demo.scale import STOCK
from evaluation.demo.scripted_preferences import SCRIPTED_ANNOTATORS, WEIGHTS
from studio.runs.directory import make_run_directory, read_jsonl
from studio.web.navigation import ROOMS
from tests.training.interrupting import run_interrupted, run_whole

ROOT = Path(settings.BASE_DIR)
APPS = [ROOT / name for name in ("studio", "training", "annotation", "evaluation")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROLE_PAGES = ["annotators.md", "experts.md", "engineers.md", "owners.md"]

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def read(page: Path | str) -> str:
    return (ROOT / "docs" / page if isinstance(page, str) else page).read_text(encoding="utf8")


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them: small letters, punctuation gone, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_every_relative_link_and_image_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target} does not exist"
        if anchor:
            assert anchor in anchors(found), f"{page.name}: {found.name} has no heading #{anchor}"


@each_page
def test_every_command_exists(page):
    text = read(page)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:`|^ {4})make ([a-z-]+)", text, re.MULTILINE):
        assert target in targets, f"{page.name}: the Makefile has no target '{target}'"
    for command in re.findall(r"manage\.py ([a-z]\w+)", text):
        assert command in get_commands(), f"{page.name}: there is no command 'manage.py {command}'"


@each_page
def test_every_file_named_exists(page):
    rooms = "studio|training|annotation|evaluation|tests|docs"
    for name in re.findall(rf"`((?:{rooms})/[\w/.]*)`", read(page)):
        example = name == "training/recipes/short_documents.py"
        template = any(folder.joinpath(name).exists() for app in APPS for folder in app.rglob("templates"))
        assert example or template or (ROOT / name).exists(), f"{page.name}: {name} does not exist"


def test_the_readme_names_every_room_and_recipe():
    text = read(ROOT / "README.md")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    folders = {name.split("/")[0] for name in tracked.stdout.splitlines() if "/" in name and name[0] != "."}
    for folder in sorted(folders):
        assert f"`{folder}/`" in text, f"README.md does not name {folder}/"
    for module in settings.RECIPES:
        assert f"`{module.replace('.', '/')}.py`" in text, f"README.md does not name the recipe {module}"


def environment_variables() -> set[str]:
    """Names of the variables that settings.py reads: os.environ[…], os.environ.get(…), _flag(…) and env=…"""
    names = set()
    for node in ast.walk(ast.parse((ROOT / "studio" / "settings.py").read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "_flag"):
            names |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            names.add(ast.literal_eval(node.slice))
        elif isinstance(node, ast.keyword) and node.arg == "env":
            names.add(ast.literal_eval(node.value))
    return names


def test_the_table_of_variables_is_that_of_the_settings():
    table = read(ROOT / "README.md").split("| variable |")[1].split("\n\n")[0]
    listed = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert listed == environment_variables()


@each_page
def test_variables_named_elsewhere_exist(page):
    named = set(re.findall(r"`(?:export )?((?:STUDIO|RUN|MAX)_[A-Z_]+)", read(page)))
    assert named <= environment_variables()


@each_page
def test_keys_of_rooms_are_those_of_the_navigation(page):
    keys = {room.label: room.key for rooms in ROOMS.values() for room in rooms}
    for label, key in re.findall(r"\*([A-Z][\w ]+)\*\s+\(`g (\w)`\)", read(page)):
        assert keys.get(label) == key, f"{page.name}: {label} is not on g {key}"


@pytest.mark.parametrize("page", ROLE_PAGES)
def test_what_is_to_be_pressed_stands_on_a_page(page):
    """Words in italics are those of buttons, rooms, fields and recipes."""
    sources = [f for app in APPS for kind in ("*.html", "*.py") for f in app.rglob(kind)]
    words = "\n".join(f.read_text(encoding="utf8") for f in sources)
    for phrase in re.findall(r"(?<![*\w])\*(\S[^*\n]*)\*(?![*\w])", read(page)):
        assert phrase in words, f"docs/{page}: no page, form or recipe says “{phrase}”; correct the page"


def test_the_readme_explains_every_key_of_the_summary():
    """All that summary.py picks by name, and the keys of its dictionaries."""
    tree = ast.parse((ROOT / "evaluation" / "demo" / "summary.py").read_text())
    picked = {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "_pick"
        for argument in call.args[1:]
    }
    keys = {k.value for d in ast.walk(tree) if isinstance(d, ast.Dict) for k in d.keys if isinstance(k, ast.Constant)}
    table = read(ROOT / "README.md").split("| key | what it says |")[1].split("\n\n")[0]
    explained = set(re.findall(r"`(\w+)`", table))
    assert picked | keys <= explained


def test_the_demo_page_has_the_settings_of_the_demo():
    stages = {
        "corpus": ("corpus", "tokenizer", "import_model"),
        "pretrain": ("pretrain",),
        "sft": ("sft",),
        "sample": ("round",),
        "evaluate": ("evaluate",),
        "bias": ("bias",),
        "toxicity": ("train_scorer", "toxicity"),
    }
    for stage, recipes in stages.items():
        row = re.search(rf"^\| `{stage}` \|.*$", read("demo.md"), re.MULTILINE)
        assert row, stage
        used = [f"{key}={value}" for recipe in recipes for key, value in getattr(STOCK, recipe).items()]
        assert sorted(re.findall(r"`(\w+=[^`]+)`", row[0])) == sorted(used), (
            f"docs/demo.md, stage {stage}: the settings are not those of evaluation/demo/scale.py"
        )
    assert STOCK.overlap == 1  # "one annotator a task"


def test_the_demo_page_has_the_scripted_preferences():
    rows = re.findall(r"^\| (0\.\d\d) \| ([\w ]+) \|", read("demo.md"), re.MULTILINE)
    assert {part.replace(" ", "_"): float(weight) for weight, part in rows} == WEIGHTS
    assert {(a.tie_threshold, a.noise) for a in SCRIPTED_ANNOTATORS} == {(0.05, 0.04)}
    assert len(SCRIPTED_ANNOTATORS) == 2


# The example of docs/runs.md


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The recipe as the page has it, importable."""
    name = "example_short_documents"
    (tmp_path / f"{name}.py").write_text(re.search(r"```python\n(.*?)```", read("runs.md"), re.DOTALL)[1])
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__(name)
    del sys.modules[name]


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Seven documents of 1 to 7 characters; a line separator inside a text is no end of line."""
    directory = tmp_path / "corpus"
    directory.mkdir()
    texts = ["a", "b\u2028", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"]
    (directory / "train.jsonl").write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts))
    return directory


def make(example, path: Path, corpus: Path, **config) -> Path:
    return make_run_directory(path, example.RECIPE, config, {"corpus": [corpus]})


def without_time(run: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "time"} for row in read_jsonl(run / "metrics.jsonl")]


def test_the_example_recipe_works(example, corpus, tmp_path):
    run = make(example, tmp_path / "run", corpus, longest=3, checkpoint_every=2)
    run_whole(example, run)
    result = json.loads((run / "result.json").read_text())
    assert result["metrics"] == {"documents": 7, "kept": 3}
    assert [row["text"] for row in read_jsonl(run / "output" / "dataset" / "train.jsonl")] == ["a", "b\u2028", "ccc"]
    assert without_time(run) == [{"step": s, "kept": k} for s, k in ((2, 2), (4, 3), (6, 3), (7, 3))]


@pytest.mark.parametrize("interruption", [{"stop_at": 4}, {"kill_at": 4}])
def test_the_example_recipe_resumes(example, corpus, tmp_path, interruption):
    whole = make(example, tmp_path / "whole", corpus, longest=5, checkpoint_every=2)
    run_whole(example, whole)
    run = make(example, tmp_path / "run", corpus, longest=5, checkpoint_every=2)
    run_interrupted(example, run, **interruption)
    assert not (run / "result.json").exists()
    run_whole(example, run)
    assert without_time(run) == without_time(whole)
    assert json.loads((run / "result.json").read_text()) == json.loads((whole / "result.json").read_text())


def test_the_example_recipe_says_what_is_wrong(example, corpus, tmp_path):
    (corpus / "train.jsonl").write_text(json.dumps({"text": "too long"}) + "\n")
    run = make(example, tmp_path / "run", corpus, longest=3)
    with pytest.raises(ValueError, match="raise the longest document"):
        run_whole(example, run)
