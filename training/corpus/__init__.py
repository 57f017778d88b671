"""Text corpora: where documents come from, deduplication, the held-out split. Pure Python: no Django, no app code."""
