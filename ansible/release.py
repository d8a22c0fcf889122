"""Build the release on the control machine: archives that hosts only unpack.

One archive has the app and its static files, the other the libraries, which most releases have in common: `lib` of a
release is a link to them. The libraries are built for each machine (x86_64, aarch64), with one id, so that a release is
the same on all. Each archive is signed (ansible/signing.py), and hosts unpack no other. The ids are hashes of all that
goes in (code, version, lock file, this builder), so an unchanged checkout is an unchanged release and costs nothing.
Prints `{"release", "archive", "libraries": {machine: archive}, "static"}` as JSON; what is gone from here is "".
Archives end with manifest.json, which names every file with its SHA-256 and size, for hosts to compare with; that of a
release also has the version and the commit it was built from.

MATCHPOINT_APP names another tree than this checkout's `app/` to build from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from signing import SigningError, is_signed, sign, signature_of
from versions import checkout

ROOT = Path(__file__).resolve().parents[1]
APP = Path(os.environ.get("MATCHPOINT_APP") or ROOT / "app")
RUNBOOKS = ROOT / "monitoring" / "runbooks"
CACHE = ROOT / ".cache" / "releases"
LIBRARIES = CACHE / "libraries"
PYTHON = "3.13"  # Debian 13's
PLATFORMS = {"x86_64": "x86_64-manylinux_2_28", "aarch64": "aarch64-manylinux_2_28"}
KEEP = 5  # archives in the cache, for rolling back
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache", "tests")
TESTS = {"test", "tests"}  # of libraries: a quarter of their code
NO_TESTS = {"django/test"}  # but a part of what it is in


class BuildError(Exception):
    """A sentence for the operator."""


def run(*command: str | Path, **options) -> str:
    """Run a program and return what it says. Raises BuildError with the end of its errors."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise BuildError(f"`{' '.join(map(str, command[:3]))} …` failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{ROOT}/.tools/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise BuildError(f"There is no `{name}` on this machine; it is in the package {package}")
    return found


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def app_copy(target: Path) -> None:
    if not (APP / "manage.py").exists():
        raise BuildError(f"MATCHPOINT_APP is {APP}: there is no app, which would have a manage.py")
    shutil.copytree(APP, target, ignore=LEFT_OUT)
    shutil.copytree(RUNBOOKS, target / "runbooks", dirs_exist_ok=True)  # pages of the site


def requirements() -> str:
    """The runtime's locked requirements with their hashes."""
    return run(
        program("uv", "uv"), "export", "--frozen", "--no-default-groups", "--group", "runtime", "--no-header",
        "--no-annotate", "--format", "requirements-txt", cwd=ROOT,
    )  # fmt: skip


def release_id(app: Path, locked: str, version: str) -> str:
    """A hash of all that makes the release: equal inputs are the same release, whatever machines it is for.

    The commit is none of them: one that changes nothing of the game moves no worker.
    """
    state = hashlib.sha256(f"{PYTHON}\n{locked}\n{version}\n{digest(Path(__file__))}\n".encode())
    for path in files(app):
        state.update(f"{path.relative_to(app)} {digest(path)}\n".encode())
    return state.hexdigest()[:12]


def libraries_id(locked: str) -> str:
    return hashlib.sha256(f"{PYTHON}\n{locked}\n{digest(Path(__file__))}".encode()).hexdigest()[:12]


def libraries(locked: str, machine: str) -> None:
    """Build the archive of the libraries for a machine, unless the cache has it."""
    name = libraries_id(locked)
    archive = LIBRARIES / f"{name}-{machine}.tar.zst"
    if is_signed(archive):
        archive.touch()
        return
    LIBRARIES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        wanted = Path(scratch, "requirements.txt")
        wanted.write_text(locked)
        tree = Path(scratch, "lib")
        run(
            program("uv", "uv"), "pip", "install", "--quiet", "--python-version", PYTHON, "--python-platform",
            PLATFORMS[machine], "--only-binary", ":all:", "--no-deps", "--require-hashes", "--link-mode", "copy",
            "--target", tree, "--requirement", wanted,
        )  # fmt: skip
        shutil.rmtree(tree / "bin", ignore_errors=True)  # hosts start modules, not scripts of the control machine
        (tree / ".lock").unlink(missing_ok=True)
        for folder in [path for path in tree.rglob("*") if path.name in TESTS and path.is_dir()]:
            if str(folder.relative_to(tree)) not in NO_TESTS:
                shutil.rmtree(folder, ignore_errors=True)  # it may have gone with one above it
        pack(tree, archive, {"libraries": name, "python": PYTHON, "machine": machine})
    prune(LIBRARIES, KEEP * len(PLATFORMS))


def static_collect(app: Path, static: Path) -> None:
    """Static files under hashed names, each with its .gz and .br where that is smaller."""
    environment = os.environ | {
        "MATCHPOINT_ENV": "build",
        "MATCHPOINT_STATIC_ROOT": str(static),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    run(sys.executable, app / "manage.py", "collectstatic", "--noinput", "--verbosity", "0", env=environment)
    run(sys.executable, "-m", "whitenoise.compress", "--quiet", static)


def pack(tree: Path, archive: Path, about: dict[str, str] | None = None) -> None:
    """A signed archive, sorted, without times and owners, the manifest last; one with what it is about is made."""
    if about is not None:
        listed = {str(path.relative_to(tree)): path for path in files(tree)}
        sums = {name: digest(path) for name, path in listed.items()}
        sizes = {name: path.stat().st_size for name, path in listed.items()}
        text = json.dumps(about | {"files": sums, "sizes": sizes}, indent=0, sort_keys=True)
        (tree / "manifest.json").write_text(f"{text}\n")
    names = [path.name for path in sorted(tree.iterdir()) if path.name != "manifest.json"] + ["manifest.json"]
    draft = archive.with_suffix(f".{os.getpid()}.draft")  # two deploys may build at a time
    run(
        program("tar", "tar"), "--create", "--file", draft, "--use-compress-program",
        f"{program('zstd', 'zstd')} -T0 -6", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner",
        "--mode=u=rwX,go=rX",
        "--directory", tree, *names,
    )  # fmt: skip
    sign(draft, archive)
    draft.rename(archive)


def origin() -> dict[str, Any]:
    """Version, commit and whether there were changes beside it, of what is built."""
    about = checkout()
    return about | {"changes": about["changes"] or APP.resolve() != (ROOT / "app").resolve()}


def build(machines: list[str]) -> str:
    """Build the release of this checkout for these machines, unless the cache has it, and return its id."""
    CACHE.mkdir(parents=True, exist_ok=True)
    locked = requirements()
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        tree = Path(scratch)
        app_copy(tree / "app")
        about = origin()
        name = release_id(tree / "app", locked, about["version"])
        archive = CACHE / f"{name}.tar.zst"
        shared = libraries_id(locked)
        for machine in machines:
            libraries(locked, machine)
        if is_signed(archive):
            archive.touch()
            return name
        static_collect(tree / "app", tree / "static")
        (tree / "lib").symlink_to(Path("..", "..", "libraries", shared))
        built = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        pack(tree, archive, about | {"release": name, "libraries": shared, "built": built, "python": PYTHON})
    prune(CACHE, KEEP)
    return name


def libraries_archive(archive: Path, machine: str) -> str:
    """The archive with the libraries of a release for a machine, "" when one of the two is gone from here."""
    if not archive.exists():
        return ""
    manifest = json.loads(run(program("tar", "tar"), "--extract", "--to-stdout", "--file", archive, "manifest.json"))
    name = manifest.get("libraries")  # releases of old have their own, later ones were for one machine
    found = LIBRARIES / (f"{name}.tar.zst" if manifest.get("machine") == machine else f"{name}-{machine}.tar.zst")
    return str(found) if found.exists() else ""


def static_archive(archive: Path) -> str:
    """An archive of the release's static files alone, for hosts that serve them and run nothing else.

    "" when the release is gone from here.
    """
    target = CACHE / "static" / archive.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if archive.exists() and not is_signed(target):
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            run(
                program("tar", "tar"), "--extract", "--file", archive, "--directory", scratch, "static", "manifest.json"
            )
            pack(Path(scratch), target)
    for path in target.parent.glob("*.tar.zst"):
        if not (CACHE / path.name).exists():
            remove(path)
    return str(target) if target.exists() else ""


def prune(folder: Path, keep: int) -> None:
    """Keep the archives that were used last."""
    archives = sorted(folder.glob("*.tar.zst"), key=lambda path: path.stat().st_mtime, reverse=True)
    for archive in archives[keep:]:
        remove(archive)


def remove(archive: Path) -> None:
    archive.unlink(missing_ok=True)
    signature_of(archive).unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", choices=PLATFORMS, nargs="+", default=[os.uname().machine], help="the hosts'")
    parser.add_argument("--release", default="", help="id of an earlier release, instead of building")
    args = parser.parse_args()
    os.environ.setdefault("UV_CACHE_DIR", str(ROOT / ".cache/uv"))
    try:
        name = args.release or build(args.machine)
        archive = CACHE / f"{name}.tar.zst"  # an earlier release may be gone from here, and still be on the hosts
        if archive.exists() and not is_signed(archive):  # nor is what would be made of it signed
            raise BuildError(
                f"{archive} is not signed by the key of this checkout, or was changed since. Delete it: hosts that "
                "have the release do not need it, and a deploy without matchpoint_release builds its own anew"
            )
        shared = {machine: libraries_archive(archive, machine) for machine in args.machine}
        made = {"release": name, "archive": str(archive), "libraries": shared, "static": static_archive(archive)}
        print(json.dumps(made))
    except (BuildError, SigningError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
