"""Files from elsewhere: read row by row, shown before they count, staged unseen, and made visible in one flip.

`containers` reads records out of a file (JSONL, JSON, CSV, Parquet, Arrow). One module a format (`columns`, `hh_rlhf`,
`open_assistant`, `alpaca`, `label_studio`) says what a record means. `batches` keeps the file, `stage` brings it in
with `rows`, and `undo` takes it out.
"""
