"""Hand-written statements give what querysets give, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from studio import statements
from studio.models import ApiToken, Membership, User
from studio.statements import Part
from tests.postgres import on_postgres, postgres_server  # noqa: F401  (fixtures)

TOKEN, USER, MEMBER = Part(ApiToken, "t"), Part(User, "u"), Part(Membership, "m")
READ = f"""
SELECT {TOKEN}, {USER}, {MEMBER}, 1 FROM studio_apitoken t JOIN studio_user u ON u.id = t.user_id
LEFT JOIN studio_membership m ON m.user_id = u.id WHERE t.expires_at > %(now)s ORDER BY t.id
"""


def assert_as_querysets(user: User) -> None:
    """Dates, JSON, truth values and NULL survive; a LEFT JOIN that finds none gives None."""
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    made = [
        ApiToken(user=user, name=name, digest=name, scopes=["read", "ännotate"], expires_at=now + timedelta(days=days))
        for name, days in (("old", -1), ("new", 1), ("newer", 2))
    ]
    for token in made:
        statements.insert(token)
    assert [token.pk for token in made] == list(ApiToken.objects.order_by("id").values_list("id", flat=True))
    for _ in range(7):  # as often as PostgreSQL needs to plan it once for all
        found = statements.rows(READ, {"now": now}, TOKEN, USER, MEMBER)
    assert [row[0] for row in found] == made[1:]
    stored = ApiToken.objects.get(digest="new")
    for field in ApiToken._meta.concrete_fields:
        assert getattr(found[0][0], field.attname) == getattr(stored, field.attname), field.name
    assert found[0][1] == user and found[0][1].is_scripted is False
    assert found[0][2:] == (None, 1)
    revoke = "UPDATE studio_apitoken SET revoked_at = %(at)s WHERE expires_at > %(at)s"
    assert statements.change(revoke, {"at": now}) == 2
    stored.refresh_from_db()
    assert stored.revoked_at == now
    with pytest.raises(IntegrityError), transaction.atomic():
        statements.insert(ApiToken(user=user, name="twin", digest="new"))
    for number in (-(2**70), -1, 0, statements.LARGEST, 2**70):
        wanted = {"id": statements.key(number)}
        assert statements.first("SELECT 1 FROM studio_user WHERE id = %(id)s", wanted) is None
    assert statements.key(user.pk) == user.pk


@pytest.mark.django_db
def test_on_sqlite():
    assert_as_querysets(User.objects.create_user("ann"))


@pytest.mark.postgres
def test_on_postgres_where_they_are_prepared(on_postgres):  # noqa: F811
    assert_as_querysets(User.objects.create_user("ann"))
    for _ in range(2):  # anew: psycopg forgets what it prepared when a transaction is rolled back
        statements.rows(READ, {"now": datetime(2026, 1, 1, tzinfo=UTC)})
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%studio_membership%%'")
        assert cursor.fetchone()[0] == 1


@pytest.mark.django_db
def test_named_fields_only_leave_the_rest_to_be_asked_for():
    user = User.objects.create_user("ann", first_name="Ann")
    part = Part(User, "u", "username", "id")
    (found,) = statements.first(f"SELECT {part} FROM studio_user u WHERE u.id = %(id)s", {"id": user.pk}, part)
    assert (found.pk, found.username, found.get_deferred_fields() >= {"first_name"}) == (user.pk, "ann", True)
    assert found.first_name == "Ann"
