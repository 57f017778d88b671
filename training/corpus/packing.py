"""Packing: documents become one stream of tokens on disk, cut into blocks; the order of blocks is a pure function.

Blocks cross document borders (each document ends with the end-of-text token), as GPT-3 and GPT-NeoX were trained: no
token is padding and nothing is dropped but the last incomplete block.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

TOKEN_DTYPE = np.uint32
DOCUMENTS_AT_ONCE = 256


def write_token_stream(
    path: Path,
    texts: Iterator[str],
    encode: Callable[[list[str]], list[list[int]]],
    end_of_text: int,
    on_batch: Callable[[int], None] = lambda tokens: None,
) -> int:
    """Write the tokens of `texts`, each closed by `end_of_text`, as uint32; returns their number.

    The file appears complete or not at all. `on_batch` hears the number of tokens so far.
    """
    aside = path.with_name(f".{path.name}")
    count = 0
    with open(aside, "wb") as file:
        batch: list[str] = []
        for text in texts:
            batch.append(text)
            if len(batch) == DOCUMENTS_AT_ONCE:
                count += _write_batch(file, encode(batch), end_of_text)
                on_batch(count)
                batch = []
        if batch:
            count += _write_batch(file, encode(batch), end_of_text)
    os.replace(aside, path)
    return count


def _write_batch(file, encoded: list[list[int]], end_of_text: int) -> int:
    tokens = np.concatenate([np.asarray([*ids, end_of_text], dtype=TOKEN_DTYPE) for ids in encoded])
    file.write(tokens.tobytes())
    return len(tokens)


def corpus_texts(path: Path) -> Iterator[str]:
    """The texts of a corpus or text dataset file ({"text": …} a line), one after the other."""
    with open(path, encoding="utf8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


class PackedBlocks:
    """A token stream read as blocks of `sequence_length` + 1 tokens, so that each block has `sequence_length` targets.

    Block i starts at token i · sequence_length: the last target of a block is the first input of the next.
    """

    def __init__(self, path: Path, sequence_length: int):
        self.sequence_length = sequence_length
        self.tokens = np.memmap(path, dtype=TOKEN_DTYPE, mode="r")
        self.count = max(0, (len(self.tokens) - 1) // sequence_length)

    def __getitem__(self, block: int) -> np.ndarray:
        start = block * self.sequence_length
        return self.tokens[start : start + self.sequence_length + 1]

    def batch(self, blocks: np.ndarray) -> np.ndarray:
        """[len(blocks), sequence_length + 1], int64."""
        return np.stack([self[int(block)] for block in blocks]).astype(np.int64)


class BlockOrder:
    """Which blocks a step trains on: a permutation an epoch, made from the seed and the epoch's number alone.

    The place in the data is a pure function of the step, so a resumed run needs no saved loader state.
    """

    def __init__(self, count: int, seed: int):
        self.count, self.seed = count, seed
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    def blocks(self, first: int, number: int) -> np.ndarray:
        """Places `first` … `first + number` - 1 of the endless sequence of epochs."""
        return np.array([self._block(place) for place in range(first, first + number)], dtype=np.int64)

    def _block(self, place: int) -> int:
        epoch, within = divmod(place, self.count)
        if epoch != self._epoch:
            self._epoch = epoch
            self._permutation = np.random.default_rng((self.seed, epoch)).permutation(self.count)
        return int(self._permutation[within])
