#!/usr/bin/env python
"""Django's command line. In a checkout it runs with the settings of `play`; hosts set MATCHPOINT_ENV=production."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "matchpoint.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
