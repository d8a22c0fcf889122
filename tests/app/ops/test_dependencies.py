"""Whether the game gets at its stores, as a metric."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler, OperationalError

from ops.dependencies import DATABASE, VALKEY, Dependencies, database_ask
from tests.postgres import Server, serving


def told(dependencies: Dependencies) -> dict[str, float]:
    (family,) = dependencies.collect()
    assert family.name == "matchpoint_dependency_ok"
    return {sample.labels["dependency"]: sample.value for sample in family.samples}


def test_one_that_fails_and_one_that_hangs_are_told_and_delay_nobody_for_ever() -> None:
    release, calls = threading.Event(), []

    def hangs() -> dict[str, bool]:
        calls.append(1)
        release.wait(20)
        return {"database": True, "database_write": True}

    def answers() -> dict[str, bool]:
        return {"valkey": True}

    dependencies = Dependencies({hangs: DATABASE, answers: VALKEY}, budget_s=0.2)
    assert not calls, "nothing is asked before somebody wants to know"
    for _ in range(3):
        assert told(dependencies) == {"database": 0, "database_write": 0, "valkey": 1}
    release.set()
    dependencies = Dependencies({answers: VALKEY, lambda: 1 / 0: DATABASE})  # type: ignore[dict-item, return-value]
    assert told(dependencies) == {"database": 0, "database_write": 0, "valkey": 1}
    assert len(calls) < 3, "later ones are not queued up behind one that hangs"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def _not_its_own_database(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def as_django_has_it(postgres: Server, **more: Any) -> BaseDatabaseWrapper:
    settings = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": postgres.port}
    return ConnectionHandler({"default": settings | {"NAME": "postgres", "USER": "matchpoint"} | more})["default"]


@pytest.mark.parametrize(("read_only", "writes"), [("off", True), ("on", False)])
def test_a_database_that_only_reads_is_told_from_one_that_writes(
    postgres: Server, read_only: str, writes: bool
) -> None:
    connection = as_django_has_it(postgres, OPTIONS={"options": f"-c default_transaction_read_only={read_only}"})
    assert database_ask(connection) == {"database": True, "database_write": writes}


def test_a_database_that_refuses_fails(postgres: Server) -> None:
    with pytest.raises(OperationalError):
        database_ask(as_django_has_it(postgres, USER="stranger"))
