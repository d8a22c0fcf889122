"""`manage.py migrate` with limits that fit it: pages get five seconds a statement, a migration what it needs.

The lock timeout stays: a migration must not queue up behind a long query with every page queueing behind it.
"""

from typing import Any

from django.core.management.commands.migrate import Command as DjangoMigrate
from django.db import connections


class Command(DjangoMigrate):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")
                cursor.execute("SET idle_in_transaction_session_timeout = 0")
        super().handle(*args, **options)
