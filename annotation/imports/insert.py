"""Put many rows into a table at once: COPY on PostgreSQL, bulk INSERT on SQLite. Within a transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any

from django.db import connection, models
from django.utils import timezone


def new_ids(model: type[models.Model], count: int) -> Sequence[int]:
    """`count` ids that no other row of the table has or will get."""
    if not count:
        return ()
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{table}"', model._meta.pk.column])
            sequence = cursor.fetchone()[0]  # as one text: thousands of rows take three times as long to fetch
            series = f"SELECT string_agg(nextval('{sequence}'::regclass)::text, ',') FROM generate_series(1, %s)"
            cursor.execute(series, [count])
            return list(map(int, cursor.fetchone()[0].split(",")))
        # SQLite: our transaction is IMMEDIATE, so nobody else adds rows before it ends.
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        last = cursor.fetchone()
        return range((last[0] if last else 0) + 1, (last[0] if last else 0) + 1 + count)


def add_rows(model: type[models.Model], names: Sequence[str], rows: Sequence[tuple[Any, ...]], **constant: Any) -> None:
    """Add `rows`, the values of the fields `names` (attnames: `prompt_id`), with `constant` ones and defaults."""
    if not rows:
        return
    constant = _defaults(model) | constant
    if connection.vendor == "postgresql":
        _copy(model, names, rows, constant)
        return
    kept = {name: value for name, value in constant.items() if name not in names}
    made = [model(**kept, **dict(zip(names, row, strict=True))) for row in rows]
    model._base_manager.bulk_create(made, batch_size=500)


def among(rows: models.QuerySet[Any], name: str, values: Collection[Any]) -> Iterator[models.QuerySet[Any]]:
    """The rows whose field `name` has one of many values, as few queries as the database allows.

    PostgreSQL takes them as one array, which costs a quarter of what a list of parameters does.
    """
    if connection.vendor == "postgresql":
        column = f'"{rows.model._meta.db_table}"."{rows.model._meta.get_field(name).column}"'
        yield rows.extra(where=[f"{column} = ANY(%s)"], params=[list(values)])
        return
    every = list(values)
    for start in range(0, len(every), 500):
        yield rows.filter(**{f"{name}__in": every[start : start + 500]})


@lru_cache
def _fields(model: type[models.Model]) -> tuple[models.Field[Any, Any], ...]:
    return tuple(model._meta.concrete_fields)


def _defaults(model: type[models.Model]) -> dict[str, Any]:
    now = timezone.now()
    return {
        field.attname: now if getattr(field, "auto_now_add", False) else field.get_default()
        for field in _fields(model)
        if not field.primary_key
    }


def _copy(
    model: type[models.Model], names: Sequence[str], rows: Sequence[tuple[Any, ...]], constant: dict[str, Any]
) -> None:
    by_name = {field.attname: field for field in _fields(model)}
    fixed = {name: value for name, value in constant.items() if name not in names}
    columns = ", ".join(f'"{by_name[name].column}"' for name in (*names, *fixed))
    encoders = [_encoder(by_name[name]) for name in names]
    tail = "".join(f"\t{_encoder(by_name[name])(value)}" for name, value in fixed.items())
    lines = ["\t".join([encode(value) for encode, value in zip(encoders, row)]) + tail for row in rows]
    lines.append("")
    statement = f'COPY "{model._meta.db_table}" ({columns}) FROM STDIN'
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write("\n".join(lines))


def _encoder(field: models.Field[Any, Any]) -> Callable[[Any], str]:
    """The field's value in COPY's text format: https://www.postgresql.org/docs/current/sql-copy.html."""
    if isinstance(field, models.JSONField):
        return _json
    if isinstance(field, (models.CharField, models.TextField)):
        return _text
    return _plain


def _plain(value: Any) -> str:
    return "\\N" if value is None else str(value)


def _text(value: str | None) -> str:
    if value is None:
        return "\\N"
    if "\\" in value:
        value = value.replace("\\", "\\\\")
    return value.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode


def _json(value: Any) -> str:
    if type(value) is list and value and type(value[0]) is int:
        return str(value)  # ids: the same in JSON
    if not value:
        return {list: "[]", dict: "{}"}.get(type(value)) or _text(_encode_json(value))
    return _text(_encode_json(value))
