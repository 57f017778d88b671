"""Read and check the next rows while the database takes in the last ones. Pure."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")
# How long the reading thread may keep the other waiting, which has an answer of the database every few milliseconds.
SWITCH_SECONDS = 0.0005


@contextmanager
def read_ahead(source: Iterator[T], size: int) -> Iterator[Iterator[list[T]]]:
    """Groups of `size` from the source, read in a thread: at most three groups exist at a time.

    What the source raises is raised here. The thread ends with the block.
    """
    groups: Queue[list[T] | BaseException] = Queue(maxsize=1)
    left = threading.Event()

    def put(group: list[T] | BaseException) -> None:
        while not left.is_set():
            try:
                return groups.put(group, timeout=0.2)
            except Full:
                continue

    def read() -> None:
        try:
            while not left.is_set() and (group := list(islice(source, size))):
                put(group)
            put([])
        except BaseException as error:
            put(error)

    def taken() -> Iterator[list[T]]:
        while True:
            group = groups.get()
            if isinstance(group, BaseException):
                raise group
            if not group:
                return
            yield group

    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    thread = threading.Thread(target=read, name="read ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        left.set()
        with suppress(Empty):
            groups.get_nowait()
        thread.join()
        sys.setswitchinterval(interval)
