"""The list of `make mutants` is about the code that there is. Whether the tests notice takes too long to ask here."""

from pathlib import Path

from tests.every import every
from tests.mutants.__main__ import ROOT, Mutant, mutants


@every(mutants(), name=str)
def test_a_fault_can_be_put_where_the_list_says(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text()
    compile(mutant.change(source), mutant.file, "exec")
    assert mutant.tests
    assert all(Path(ROOT / test).is_file() for test in mutant.tests)


def test_there_are_enough_of_them_and_few_may_live() -> None:
    found = mutants()
    assert len({(each.file, each.text, each.to) for each in found}) == len(found) >= 60
    assert sum(bool(each.lives) for each in found) <= 0.05 * len(found)
