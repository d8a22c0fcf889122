"""A checkout works where it was cloned to, whatever the folder is called and whatever language its owner speaks."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, ROOT
from tests.processes import run

# What the `make` around these tests sets for its own checkout
OWN = ("ANSIBLE", "MATCHPOINT", "UV_", "XDG_CACHE_HOME", "npm_config", "VIRTUAL_ENV", "DOCKER_HOST", "LAB", "TMPDIR")
TOOLS = ROOT / ".tools/bin"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this checkout in a folder with a space in its name, with nothing that was fetched but uv itself."""
    folder = tmp_path_factory.mktemp("clone") / "Ada's match point"
    files = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".tools/bin").mkdir(parents=True)
    (folder / ".tools/bin/uv").symlink_to(TOOLS / "uv")
    return folder


@pytest.mark.timeout(300)  # everything is installed anew, from what was fetched before
@pytest.mark.parametrize("locale", ["C", "tlh_QO.UTF-8"])
def test_the_first_operating_target_of_a_clone_gets_as_far_as_the_settings(clone: Path, locale: str) -> None:
    """And in a clone that has just been made, the first one: what it fetches is not there when `make` begins."""
    environment = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(OWN)}
    environment |= {"LC_ALL": locale, "LANG": locale, "PATH": os.environ["PATH"].replace(f"{TOOLS}:", "")}
    cache = os.environ.get("UV_CACHE_DIR") or str(ROOT / ".cache/uv")
    asked = ["make", "preflight", "INVENTORY=inventories/single", "ARGS=-e matchpoint_domain=Pong_1"]
    done = run([*asked, f"UV_CACHE_DIR={cache}"], cwd=clone, env=environment, timeout_s=250)
    said = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert "matchpoint_domain is Pong_1: it must be a DNS name in lower case" in said, said[-3000:]
    assert not (clone.parent / ".cache").exists()
