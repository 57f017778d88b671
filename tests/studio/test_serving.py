"""Model servers: their pages, and their processes with a stand-in at vLLM's command line; one test starts vLLM."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connections
from django.urls import reverse
from django.utils import timezone

from studio.models import Project
from studio.runs.models import Artifact, DeviceLease, Run
from studio.serving import client, processes, servers, startup
from studio.serving.client import Sampling
from studio.serving.models import Server
from tests.workers import Workers, private_redis, wait_for

DEVICE = "test-host"
STAND_IN = [sys.executable, str(Path(__file__).with_name("stand_in_server.py"))]
State = Server.State


def make_model(project, user, name="Small", config=None, **behaviour) -> Artifact:
    """An artifact with everything that a model directory must have, but weights of no use."""
    directory = django_settings.VAR / "runs" / f"model-{time.monotonic_ns()}"
    directory.mkdir(parents=True)
    config = {"model_type": "llama", "hidden_size": 128, "num_attention_heads": 4, **(config or {})}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "model.safetensors").touch()
    (directory / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 3, "content": "<|im_end|>"}]}))
    (directory / "chat_template.jinja").write_text("{{ messages }}<|im_end|>")
    (directory / "behaviour.json").write_text(json.dumps(behaviour))
    return Artifact.register(project, Artifact.Kind.MODEL, name, directory, user)


@pytest.fixture(autouse=True)
def stand_in(settings):
    settings.SERVER_COMMAND = STAND_IN
    settings.DEVICE_NAME = DEVICE
    settings.MAX_SERVERS = 1
    yield
    for group in processes.marked_groups(settings.VAR):
        os.killpg(group, signal.SIGKILL)


@pytest.fixture
def small(project, engineer) -> Artifact:
    return make_model(project, engineer)


def watch_until(server: Server, *states: str, seconds: float = 20) -> Server:
    deadline = time.monotonic() + seconds
    while True:
        servers.watch(DEVICE)
        server.refresh_from_db()
        if server.state in states:
            return server
        assert time.monotonic() < deadline, (
            server.state,
            server.note,
            server.error,
            server.log_path.read_text()[-2000:],
        )
        time.sleep(0.05)


def started(artifact: Artifact, user) -> Server:
    return watch_until(servers.request_server(artifact, user), State.HEALTHY, State.CRASHED)


# Processes


def test_a_server_is_started_asked_and_stopped_and_leaves_no_process(small, engineer):
    server = started(small, engineer)
    assert server.state == State.HEALTHY
    assert server.stop_token_ids == [3]  # the tokenizer's id of <|im_end|>, which the chat template ends turns with
    group = processes.members(server.process_group)
    assert len(group) == 2  # the API server and its engine
    answer = client.chat(server, [{"role": "user", "content": "hello"}], Sampling(max_tokens=9, seed=4))
    assert (answer.text, answer.finish_reason, answer.tokens) == ("You said **hello**.", "stop", 7)
    assert servers.request_stop(server, "enough")
    watch_until(server, State.STOPPED)
    assert processes.members(server.process_group) == []
    assert not servers.request_stop(server, "again")


def test_progress_follows_the_log(project, engineer):
    server = servers.request_server(make_model(project, engineer, ready_after=1.5), engineer)
    assert server.note == "Waiting for a GPU host"
    seen = set()
    while server.state == State.STARTING:
        servers.watch(DEVICE)
        server.refresh_from_db()
        seen.add((server.step, server.note))
        time.sleep(0.05)
    assert (0, "Loading the libraries") in seen and (1, "Reading the model's configuration") in seen
    assert server.seconds_to_start >= 1.5


def test_phases_come_in_the_order_of_vllms_log():
    log = ""
    for number, (words, note) in enumerate(startup.PHASES):
        log += f"(EngineCore pid=1) INFO 11-24 03:23:06 [core.py:133] {words} …\n"
        assert startup.phase(log) == (number, note)


def test_a_second_request_gets_the_same_server(small, engineer, owner):
    first = servers.request_server(small, engineer)
    assert servers.request_server(small, owner) == first


def test_a_crash_at_the_start_is_told_with_its_cause_and_cleaned_up(project, engineer):
    server = started(make_model(project, engineer, crash="no memory for 9 heads"), engineer)
    assert server.state == State.CRASHED
    assert server.error == "ValueError: no memory for 9 heads"  # not the last line, which only points to it
    assert processes.members(server.process_group) == []  # the engine had outlived its API server


def test_killing_the_api_server_alone_ends_its_engine_too(small, engineer):
    server = started(small, engineer)
    os.kill(server.process_group, signal.SIGKILL)
    wait_for(lambda: len(processes.members(server.process_group)) == 1, 5)
    watch_until(server, State.CRASHED)
    assert processes.members(server.process_group) == []


def test_an_idle_server_stops_by_itself(small, engineer, settings):
    server = started(small, engineer)
    servers.watch(DEVICE)
    server.refresh_from_db()
    assert server.state == State.HEALTHY  # just used
    long_ago = timezone.now() - timedelta(seconds=settings.SERVER_IDLE_SECONDS + 1)
    Server.objects.filter(pk=server.pk).update(last_used_at=long_ago)
    watch_until(server, State.STOPPED)
    assert server.note == "Not used for 10 minutes"


def test_the_least_recently_used_server_makes_room(project, engineer, settings):
    settings.MAX_SERVERS = 2
    first, second, third = (make_model(project, engineer, name) for name in ("First", "Second", "Third"))
    one, two = started(first, engineer), started(second, engineer)
    servers.mark_used(one)  # now the second is the one that was not used for longest
    assert started(third, engineer).state == State.HEALTHY
    one.refresh_from_db()
    two.refresh_from_db()
    assert (one.state, two.state, two.note) == (State.HEALTHY, State.STOPPED, "Made room for Third")


def test_a_run_that_holds_the_device_makes_servers_wait(small, engineer, project):
    run = Run.objects.create(
        project=project, recipe_name="ppo", title="PPO", queue="gpu", status=Run.Status.RUNNING, created_by=engineer
    )
    DeviceLease.objects.create(device=DEVICE, run=run)
    server = servers.request_server(small, engineer)
    servers.watch(DEVICE)
    server.refresh_from_db()
    assert (server.state, server.device) == (State.STARTING, "")
    assert server.note == f"Waiting: run {run.pk} is using the device"
    Run.objects.filter(pk=run.pk).update(status=Run.Status.SUCCEEDED)
    watch_until(server, State.HEALTHY)


@pytest.mark.django_db(transaction=True)
def test_a_run_evicts_servers_after_the_answer_they_are_writing(project, engineer):
    from studio.runs.registry import call_before_lease

    server = started(make_model(project, engineer, answer_after=1.0), engineer)
    answers = []
    question = [{"role": "user", "content": "one more"}]
    asking = threading.Thread(target=lambda: answers.append(client.chat(server, question, Sampling())))
    asking.start()
    wait_for(lambda: client.is_busy(server), 5)
    call_before_lease(DEVICE)
    asking.join()
    server.refresh_from_db()
    assert answers[0].text == "You said **one more**."
    assert (server.state, server.note) == (State.STOPPED, "A run needed the device")
    assert processes.members(server.process_group) == []


def test_orphans_are_swept_and_live_servers_are_kept(small, engineer, settings):
    server = started(small, engineer)
    mark = {processes.MARK: f"{settings.VAR}#{server.pk + 1}"}
    orphan, _ = processes.start_group(["sleep", "60"], server.log_path, mark, settings.BASE_DIR)
    other, start = processes.start_group(
        ["sleep", "60"], server.log_path, {processes.MARK: "/another/var#1"}, settings.BASE_DIR
    )
    servers.sweep_orphans(DEVICE)
    assert processes.members(orphan) == []
    assert processes.members(other)
    assert len(processes.members(server.process_group)) == 2
    processes.end_group(other, start)


def test_a_group_whose_number_was_given_to_others_is_left_alone(settings):
    group, start = processes.start_group(["sleep", "60"], settings.VAR / "servers" / "x.log", {}, settings.BASE_DIR)
    processes.end_group(group, f"{start}0")  # recorded for a process that started at another time
    assert processes.members(group)
    processes.end_group(group, start)
    assert processes.members(group) == []


def test_an_unanswered_health_check_is_forgiven_for_a_minute(small, engineer):
    server = started(small, engineer)
    os.killpg(server.process_group, signal.SIGSTOP)
    port = server.port
    Server.objects.filter(pk=server.pk).update(port=processes.free_port("127.0.0.1"))  # refuses at once
    servers.watch(DEVICE)
    server.refresh_from_db()
    assert server.state == State.HEALTHY and server.unanswered_since
    os.killpg(server.process_group, signal.SIGCONT)
    Server.objects.filter(pk=server.pk).update(port=port)
    watch_until(server, State.HEALTHY)
    assert server.unanswered_since is None
    long_ago = timezone.now() - timedelta(seconds=61)
    Server.objects.filter(pk=server.pk).update(port=processes.free_port("127.0.0.1"), unanswered_since=long_ago)
    watch_until(server, State.CRASHED)
    assert server.error == "It has answered no health check for 60 seconds."


def test_waiting_servers_can_be_stopped_before_anybody_takes_them_up(small, engineer):
    server = servers.request_server(small, engineer)
    assert servers.request_stop(server, "changed my mind")
    server.refresh_from_db()
    assert server.state == State.STOPPED


def test_only_servable_models_are_served(project, engineer):
    odd = make_model(project, engineer, config={"hidden_size": 96})
    with pytest.raises(ValueError, match="attention heads of size 24"):
        servers.request_server(odd, engineer)
    odd.kind = Artifact.Kind.CORPUS
    with pytest.raises(ValueError, match="only models can be tried"):
        servers.request_server(odd, engineer)
    assert not Server.objects.exists()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_gpu_worker_serves_adopts_after_sigkill_and_stops_with_its_servers(small, engineer):
    with private_redis():
        workers = Workers()
        workers.environment |= {"STUDIO_SERVER_COMMAND": " ".join(STAND_IN), "STUDIO_DEVICE": DEVICE}
        workers.start()
        server = servers.request_server(small, engineer)

        def reaches(state: str) -> bool:
            server.refresh_from_db()
            return server.state == state

        wait_for(lambda: reaches(State.HEALTHY), 60, what=workers.log)
        workers.kill()
        assert client.check_health(server) == client.Health.OK
        workers.start()
        time.sleep(5)
        assert reaches(State.HEALTHY) and len(processes.members(server.process_group)) == 2
        workers.stop()
        wait_for(lambda: reaches(State.STOPPED), 20, what=workers.log)
        assert (processes.members(server.process_group), server.note) == ([], "The studio was shut down")
    connections.close_all()


@pytest.mark.slow
def test_vllm_itself_starts_answers_and_leaves_no_process(project, engineer, settings):
    settings.SERVER_COMMAND = []
    artifact = make_real_model(project, engineer)
    server = watch_until(servers.request_server(artifact, engineer), State.HEALTHY, State.CRASHED, seconds=300)
    assert server.state == State.HEALTHY, server.error
    assert len(processes.members(server.process_group)) >= 2
    question = [{"role": "user", "content": "sort a list"}]
    sampling = Sampling(temperature=1.0, max_tokens=12, seed=3)
    first, again = client.chat(server, question, sampling), client.chat(server, question, sampling)
    assert first.text == again.text and 0 < first.tokens <= 12
    with pytest.raises(ValueError, match="(?i)maximum context length|max_tokens"):
        client.chat(server, question, Sampling(max_tokens=1000))
    assert not client.is_busy(server)
    assert startup.phase(server.log_path.read_text())[0] == len(startup.PHASES) - 1
    servers.request_stop(server, "enough")
    watch_until(server, State.STOPPED)
    assert processes.members(server.process_group) == []
    assert processes.marked_groups(settings.VAR) == {}


def make_real_model(project, user) -> Artifact:
    """A Llama of two layers, made in another process: the web's own must not import torch."""
    directory = django_settings.VAR / "runs" / f"model-{time.monotonic_ns()}"
    program = """
import sys
from transformers import LlamaConfig, LlamaForCausalLM
from training.recipes.tokenizer import TokenizerConfig, train_tokenizer
tokenizer = train_tokenizer(iter(["sort a list", "a dict maps keys"] * 3), TokenizerConfig(vocab_size=300))
config = LlamaConfig(vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
                     num_key_value_heads=1, max_position_embeddings=256, bos_token_id=0, eos_token_id=0)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
tokenizer.save_pretrained(sys.argv[1])
"""
    subprocess.run([sys.executable, "-c", program, str(directory)], cwd=django_settings.BASE_DIR, check=True)
    return Artifact.register(project, Artifact.Kind.MODEL, "Tiny Llama", directory, user)


# Pages: works, bad input, wrong role, wrong method


def address(name: str, artifact: Artifact | None = None, project: str = "helpdesk") -> str:
    return reverse(f"serving:{name}", args=[project, artifact.pk] if artifact else [project])


FORM = {"prompt": "What is a <b>list</b>?", "temperature": "0.5", "top_p": "0.9", "max_tokens": "64", "seed": ""}


@pytest.mark.parametrize("name", ["models", "model", "state"])
def test_pages_are_for_engineers_and_owners_of_the_project(name, small, client_for, engineer, owner, sme, outsider):
    url = address(name, None if name == "models" else small)
    assert client_for(engineer).get(url).status_code == 200
    assert client_for(owner).get(url).status_code == 200
    assert client_for(sme).get(url).status_code == 403
    assert client_for(outsider).get(url).status_code == 404
    assert client_for(engineer).post(url).status_code == 405


@pytest.mark.parametrize("name", ["start", "stop", "answer"])
def test_acts_are_for_engineers_by_post(name, small, client_for, engineer, annotator, outsider):
    url = address(name, small)
    assert client_for(engineer).get(url).status_code == 405
    assert client_for(annotator).post(url).status_code == 403
    assert client_for(outsider).post(url).status_code == 404
    assert not Server.objects.exists()


@pytest.mark.parametrize("name", ["model", "state", "start", "stop", "answer"])
def test_models_of_other_projects_are_not_found(name, client_for, engineer):
    other = Project.objects.create(slug="other", name="Other")
    artifact = make_model(other, engineer)
    send = client_for(engineer).get if name in ("model", "state") else client_for(engineer).post
    assert send(address(name, artifact)).status_code == 404


def test_the_list_shows_states_and_what_cannot_be_served(
    small, project, engineer, client_for, django_assert_max_num_queries
):
    make_model(project, engineer, name="Odd", config={"hidden_size": 96})
    servers.request_server(small, engineer)
    browser = client_for(engineer)
    with django_assert_max_num_queries(15):
        page = browser.get(address("models")).content.decode()
    assert "Starting" in page and "Cannot be served" in page


def test_an_empty_list_says_what_belongs_there(project, engineer, client_for):
    assert "No models yet" in client_for(engineer).get(address("models")).content.decode()


def test_start_shows_progress_and_stop_ends_it(small, engineer, client_for):
    browser = client_for(engineer)
    page = browser.post(address("start", small), follow=True).content.decode()
    assert "Waiting for a GPU host" in page and 'hx-trigger="every 1s"' in page
    browser.post(address("stop", small))
    page = browser.get(address("model", small)).content.decode()
    assert "Stopped by engineer" in page and "hx-trigger" not in page
    again = browser.post(address("stop", small), follow=True).content.decode()
    assert "has stopped already" in again


def test_start_of_an_unservable_model_says_why(project, engineer, client_for):
    odd = make_model(project, engineer, name="Odd", config={"hidden_size": 96})
    page = client_for(engineer).post(address("start", odd), follow=True).content.decode()
    assert "attention heads of size 24" in page
    assert not Server.objects.exists()


def test_a_start_that_nobody_takes_up_is_explained(small, engineer, client_for):
    server = servers.request_server(small, engineer)
    Server.objects.filter(pk=server.pk).update(created_at=timezone.now() - timedelta(seconds=30))
    assert "No GPU worker has taken this up" in client_for(engineer).get(address("state", small)).content.decode()


def test_the_state_brings_the_button_only_when_it_changed(small, engineer, client_for):
    server = started(small, engineer)
    browser = client_for(engineer)
    same = browser.get(address("state", small) + "?shown=healthy").content.decode()
    assert 'id="ask"' not in same and f"Ready after {server.seconds_to_start:.1f} s" in same
    changed = browser.get(address("state", small) + "?shown=starting").content.decode()
    assert 'id="ask" type="submit" hx-swap-oob="true"' in changed


def test_the_estimate_comes_from_the_last_start(small, engineer, project, client_for):
    now = timezone.now()
    past = {"started_at": now - timedelta(seconds=90), "healthy_at": now - timedelta(seconds=50), "device": DEVICE}
    Server.objects.create(artifact=small, requested_by=engineer, state=State.STOPPED, **past)  # took 40 s
    Server.objects.create(artifact=small, requested_by=engineer, started_at=now - timedelta(seconds=10), device=DEVICE)
    page = client_for(engineer).get(address("state", small)).content.decode()
    assert "30 s left" in page  # 40 − 10


def test_a_prompt_is_answered_with_its_parameters(small, engineer, client_for):
    server = started(small, engineer)
    before = server.last_used_at
    browser = client_for(engineer)
    part = browser.post(address("answer", small), FORM, headers={"HX-Request": "true"}).content.decode()
    assert "What is a" in part and "<b>list</b>" not in part and "<html" not in part
    assert "7 tokens in" in part and "temperature 0.5, top-p 0.9, at most 64 tokens" in part
    server.refresh_from_db()
    assert server.last_used_at > before
    whole = browser.post(address("answer", small), FORM).content.decode()
    assert "<html" in whole and "7 tokens in" in whole


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"prompt": " "}, "Prompt: This field is required"),
        ({"temperature": "9"}, "Temperature: Ensure this value is less than or equal to 5"),
        ({"max_tokens": "many"}, "Longest answer: Enter a whole number"),
    ],
)
def test_bad_prompts_and_parameters_get_a_sentence(change, sentence, small, engineer, client_for):
    browser = client_for(engineer)
    part = browser.post(address("answer", small), FORM | change, headers={"HX-Request": "true"})
    assert sentence in part.content.decode()
    assert browser.post(address("answer", small), FORM | change).status_code == 422


def test_asking_a_model_that_does_not_run_says_so(small, engineer, client_for):
    part = client_for(engineer).post(address("answer", small), FORM, headers={"HX-Request": "true"}).content.decode()
    assert "The model is not running" in part


def test_a_refusal_of_the_server_is_shown(project, engineer, client_for):
    artifact = make_model(project, engineer, refuse="This model's maximum context length is 256 tokens.")
    started(artifact, engineer)
    part = client_for(engineer).post(address("answer", artifact), FORM, headers={"HX-Request": "true"})
    assert "maximum context length is 256 tokens" in part.content.decode()


def test_a_crash_is_shown_with_the_end_of_its_log(project, engineer, client_for):
    artifact = make_model(project, engineer, crash="weights are torn")
    started(artifact, engineer)
    page = client_for(engineer).get(address("model", artifact)).content.decode()
    assert "The server crashed" in page and "ValueError: weights are torn" in page
    assert "See root cause above" in page  # the log
    assert "Start again" in page


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_a_model_is_tried_in_the_browser(project, engineer, page_for, assert_accessible):
    artifact = make_model(project, engineer, name="Helpdesk SFT", ready_after=0.5)
    page = page_for(engineer)
    page.goto(address("models"))
    assert_accessible(page)
    page.get_by_role("link", name="Helpdesk SFT").click()
    assert page.get_by_role("button", name="Ask").is_disabled()
    page.get_by_role("button", name="Start").click()
    page.get_by_text("Waiting for a GPU host").wait_for()
    page.keyboard.press("w")
    page.keyboard.type("What is a list?")
    servers.watch(DEVICE)
    page.get_by_text("Loading the libraries").wait_for()
    assert_accessible(page)
    watch_until(servers.live_server(artifact), State.HEALTHY)
    page.locator("#ask:not([disabled])").wait_for()  # without a reload: what was typed is kept
    page.keyboard.press("Control+Enter")
    page.get_by_text("You said What is a list?.").wait_for()
    page.get_by_text("7 tokens in").wait_for()
    assert_accessible(page)
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopping: Stopped by engineer").wait_for()
    servers.watch(DEVICE)
    page.get_by_role("button", name="Start again").wait_for()
    assert page.get_by_role("button", name="Ask").is_disabled()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone(scheme, project, engineer, page_for, assert_accessible):
    crashed = make_model(project, engineer, name="Crashed", crash="weights are torn")
    odd = make_model(project, engineer, name="Odd", config={"hidden_size": 96})
    started(crashed, engineer)
    page = page_for(engineer, width=390, scheme=scheme)
    for url in (address("models"), address("model", crashed), address("model", odd)):
        page.goto(url)
        assert_accessible(page)
