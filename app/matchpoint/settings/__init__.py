"""Settings, chosen by MATCHPOINT_ENV.

production  hosts: everything from the environment, refuses to start when something is missing
play        one process in a checkout: SQLite, in-process stand-ins, no setup (the default)
test        the test suite: like play, in memory (the default under pytest)
build       `collectstatic` while a release is built: no service, no secret
"""

import os
import sys

from django.core.exceptions import ImproperlyConfigured

# pytest-django reads the settings before any conftest.py could set the variable.
MATCHPOINT_ENV = os.environ.get("MATCHPOINT_ENV") or ("test" if "pytest" in sys.modules else "play")

match MATCHPOINT_ENV:
    case "production":
        from matchpoint.settings.production import *  # noqa: F403 - Django reads settings from this module
    case "play":
        from matchpoint.settings.play import *  # noqa: F403 - as above
    case "test":
        from matchpoint.settings.test import *  # noqa: F403 - as above
    case "build":
        from matchpoint.settings.build import *  # noqa: F403 - as above
    case _:
        raise ImproperlyConfigured(f"MATCHPOINT_ENV is {MATCHPOINT_ENV!r}; it must be production, play, test or build.")
