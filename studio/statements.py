"""SQL written by hand, for the few statements that are asked with every judgement.

To build a queryset's SQL takes longer than the database needs for most of its answers. These texts are built once, and
PostgreSQL prepares each once a connection. They are for both databases: named parameters, `%(user)s`, and what one of
them lacks is left out by `for_update`.

    TOKEN, USER = Part(ApiToken, "t"), Part(User, "u")
    found = first(f"SELECT {TOKEN}, {USER} FROM … WHERE t.digest = %(digest)s", {"digest": …}, TOKEN, USER)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Field, Model

LARGEST = 2**63 - 1  # of the whole numbers that a database holds


class Part:
    """A model's columns in a statement, under the table's alias there; all of them, or those of the named fields."""

    def __init__(self, model: type[Model], alias: str, *names: str):
        self.model = model
        self.fields: list[Field] = [f for f in model._meta.concrete_fields if not names or f.name in names]
        self.columns = ", ".join(f'{alias}."{field.column}"' for field in self.fields)
        self.attributes = [field.attname for field in self.fields]
        self._converters: dict[str, list[tuple[int, Any, Any]]] = {}

    def __str__(self) -> str:
        return self.columns

    def read(self, values: Sequence[Any]) -> Any:
        """The instance of these values; None where a LEFT JOIN found none."""
        if values[0] is None:  # the id
            return None
        connection = connections[DEFAULT_DB_ALIAS]
        converters = self._converters.get(connection.vendor)
        if converters is None:
            converters = self._converters[connection.vendor] = list(self._find_converters(connection))
        if converters:
            values = list(values)
            for number, expression, convert in converters:
                values[number] = convert(values[number], expression, connection)
        return self.model.from_db(connection.alias, self.attributes, values)

    def _find_converters(self, connection: BaseDatabaseWrapper):
        for number, field in enumerate(self.fields):
            expression = field.get_col(self.model._meta.db_table)
            for convert in connection.ops.get_db_converters(expression) + expression.get_db_converters(connection):
                yield number, expression, convert


def rows(sql: str, facts: Mapping[str, Any], *parts: Part) -> list[tuple[Any, ...]]:
    """All rows: an instance for each part, in their order, then what else was selected, as it comes."""
    connection = connections[DEFAULT_DB_ALIAS]
    with _cursor(connection) as cursor:
        cursor.execute(sql, _adapted(facts, connection))
        found = cursor.fetchall()
    if not parts:
        return found
    return [_split(row, parts) for row in found]


def first(sql: str, facts: Mapping[str, Any], *parts: Part) -> tuple[Any, ...] | None:
    found = rows(sql, facts, *parts)
    return found[0] if found else None


def change(sql: str, facts: Mapping[str, Any]) -> int:
    """How many rows the statement changed."""
    connection = connections[DEFAULT_DB_ALIAS]
    with _cursor(connection) as cursor:
        cursor.execute(sql, _adapted(facts, connection))
        return cursor.rowcount


def key(number: int) -> int:
    """The number as an id to look for; 0, which no row has, for one that no database holds and a statement fails at."""
    return number if 0 < number <= LARGEST else 0


def insert(instance: Model) -> None:
    """Save an instance that is new and has no id yet. No signals are sent."""
    model, connection = type(instance), connections[DEFAULT_DB_ALIAS]
    values = [
        field.get_db_prep_save(field.pre_save(instance, True), connection)
        for field in model._meta.local_concrete_fields
        if not field.primary_key
    ]
    with _cursor(connection) as cursor:
        cursor.execute(_insertion(model), values)
        instance.pk = cursor.fetchone()[0]
    instance._state.adding, instance._state.db = False, connection.alias


def for_update(alias: str) -> str:
    """Lock the rows of this alias and pass by those that others hold; nothing on SQLite, which locks as a whole."""
    connection = connections[DEFAULT_DB_ALIAS]
    return f" FOR UPDATE OF {alias} SKIP LOCKED" if connection.features.has_select_for_update_skip_locked else ""


@cache
def _insertion(model: type[Model]) -> str:
    columns = [field.column for field in model._meta.local_concrete_fields if not field.primary_key]
    names, places = ", ".join(f'"{column}"' for column in columns), ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({places}) RETURNING {model._meta.pk.column}"


def _split(row: Sequence[Any], parts: Sequence[Part]) -> tuple[Any, ...]:
    made, at = [], 0
    for part in parts:
        end = at + len(part.fields)
        made.append(part.read(row[at:end]))
        at = end
    return (*made, *row[at:])


def _adapted(facts: Mapping[str, Any], connection: BaseDatabaseWrapper) -> dict[str, Any]:
    return {
        name: connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value
        for name, value in facts.items()
    }


def _cursor(connection: BaseDatabaseWrapper) -> CursorWrapper:
    """Django's cursor; on PostgreSQL the one that sends parameters beside the text, so that it can be prepared."""
    if connection.vendor != "postgresql":
        return connection.cursor()
    from django.db.backends.postgresql.base import ServerBindingCursor

    connection.ensure_connection()
    if connection.connection.prepare_threshold is None:  # Django's, whose own cursors never prepare anything
        connection.connection.prepare_threshold = 1  # times a statement has come before it is worth it
    return connection._prepare_cursor(ServerBindingCursor(connection.connection))
