"""Toxicity scorers behind one interface; the corpus, PPO and evaluation use them.

Pure. `load_scorer(path_or_name)` gives a `Scorer`; every number made with one goes out with `scorer.describe()`, for
no scorer's number may pass under another's name.
"""

from training.scorers.interface import Scorer
from training.scorers.loading import PUBLISHED, load_scorer

__all__ = ["PUBLISHED", "Scorer", "load_scorer"]
