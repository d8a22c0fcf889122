"""A promise that many things keep is one test, which lists those that break it."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

Test = Callable[..., None]


def every(items: Iterable[Any], name: Callable[[Any], str] = str) -> Callable[[Test], Test]:
    """Makes a test of one thing, its first parameter, a test of all `items`; further parameters are fixtures.

    It fails once, with a line or more for each thing that raised, by its `name`.
    """
    things = list(items)

    def decorate(test: Test) -> Test:
        def all_of_them(**fixtures: Any) -> None:
            assert things, "there is nothing to look at"
            offenders = []
            for thing in things:
                try:
                    test(thing, **fixtures)
                except Exception as error:
                    offenders.append(f"{name(thing)}: {str(error) or type(error).__name__}")
            assert not offenders, f"{len(offenders)} of {len(things)}:\n" + "\n".join(offenders)

        signature = inspect.signature(test)
        rest = list(signature.parameters.values())[1:]
        kinds = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in rest]
        all_of_them.__signature__ = signature.replace(parameters=kinds)  # type: ignore[attr-defined]  # pytest reads it
        all_of_them.__name__, all_of_them.__doc__ = test.__name__, test.__doc__
        all_of_them.__module__, all_of_them.__qualname__ = test.__module__, test.__qualname__
        return all_of_them

    return decorate
