"""How long the studio's pages take, on whatever data it serves: `python -m benchmarks.pages [--rounds 20]`.

Signs in over HTTP, opens every page that links lead to (once, to warm up), then all of them again, `rounds` times in
turn. The bare sign-in page, which asks no query, is the peer: a page's ratio to it says what its data cost, whatever
else the machine is doing. Prints the slowest pages and the median over all requests.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from statistics import median
from urllib.parse import urljoin, urlsplit

import httpx

VARIANTS = 3  # of one path with other query strings
SKIPPED = ("/static/", "/files/", "/sign-out/", "download", "/api/")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--address", default="http://127.0.0.1:8000")
    arguments.add_argument("--accounts", default="var/demo/accounts.json", help="as the demo writes it")
    arguments.add_argument("--user", default="engineer")
    arguments.add_argument("--rounds", type=int, default=20)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    with open(options.accounts) as file:
        password = json.load(file)["passwords"][options.user]
    with httpx.Client(base_url=options.address, follow_redirects=True, timeout=30, trust_env=False) as client:
        sign_in(client, options.user, password)
        pages = find_pages(client)
        seconds: dict[str, list[float]] = {page: [] for page in pages}
        with httpx.Client(base_url=options.address, timeout=30, trust_env=False) as stranger:
            peer = [timed(stranger, "/sign-in/") for _ in range(options.rounds)]
        for _ in range(options.rounds):
            for page in pages:
                seconds[page].append(timed(client, page))
    report(seconds, median(peer), options.json)


def sign_in(client: httpx.Client, username: str, password: str) -> None:
    page = client.get("/sign-in/").text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token, "the sign-in page has its form"
    form = {"username": username, "password": password, "csrfmiddlewaretoken": token[1]}
    answer = client.post("/sign-in/", data=form, headers={"Referer": str(client.base_url)})
    if "/sign-in/" in str(answer.url):
        raise SystemExit(f"Could not sign in as {username}.")


def find_pages(client: httpx.Client) -> list[str]:
    found: list[str] = []
    waiting, variants = ["/"], Counter[str]()
    seen = set(waiting)
    while waiting:
        path = waiting.pop(0)
        answer = client.get(path)
        if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        found.append(path)
        for link in re.findall(r'<a [^>]*href="([^"#]+)', answer.text):
            parts = urlsplit(urljoin(f"{client.base_url}{path}", link.replace("&amp;", "&")))
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            inside = parts.netloc == client.base_url.netloc.decode()
            if not inside or target in seen or any(s in target for s in SKIPPED):
                continue
            shape = re.sub(r"\d+", "0", parts.path)  # ten comparisons stand for all of them
            variants[shape] += 1
            if variants[shape] <= 10 and variants[parts.path] < VARIANTS:
                variants[parts.path] += 1
                seen.add(target)
                waiting.append(target)
    return found


def timed(client: httpx.Client, path: str) -> float:
    started = time.perf_counter()
    client.get(path).raise_for_status()
    return time.perf_counter() - started


def report(seconds: dict[str, list[float]], peer: float, as_json: bool) -> None:
    every = [value for values in seconds.values() for value in values]
    by_page = sorted(((median(values), page) for page, values in seconds.items()), reverse=True)
    result = {
        "pages": len(seconds),
        "requests": len(every),
        "median_ms": round(1000 * median(every), 1),
        "slowest_page_median_ms": round(1000 * by_page[0][0], 1),
        "peer_ms": round(1000 * peer, 1),
        "median_to_peer": round(median(every) / peer, 1),
    }
    if as_json:
        print(json.dumps(result))
        return
    for value, page in by_page[:10]:
        print(f"{1000 * value:7.1f} ms  {page}")
    print(", ".join(f"{name} {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
