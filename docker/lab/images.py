"""The two images of the lab: `host`, a bare Debian that boots systemd, and `world`, the rest of the internet."""

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, ImageNotFound

from daemon import AS_ROOT
from output import LabError, step

HERE = Path(__file__).parent
RELEASE = "trixie"
REGISTRY_IMAGE = f"debian:{RELEASE}-slim"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy")


def ensure(client: docker.DockerClient) -> tuple[str, str]:
    """The tags of the host and the world image, built unless images of the same recipes exist."""
    host = f"matchpoint-lab/host:{digest(HERE / 'host')}"
    world = f"matchpoint-lab/world:{digest(HERE / 'host', HERE / 'world')}"
    if not exists(client, host):
        debian = base(client)
        step(f"building the image of the lab hosts on {debian}")
        build(client, HERE / "host", host, debian)
    if not exists(client, world):
        step("building the image of `world` (ACME CA, mail relay, pager, SFTP store, package cache)")
        build(client, HERE / "world", world, host)
    return host, world


def digest(*directories: Path) -> str:
    """Names an image after the files that it is made from, so that a changed recipe is a new image."""
    sha = hashlib.sha256()
    for directory in directories:
        for path in sorted(directory.iterdir()):
            if path.is_file():
                sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:12]


def exists(client: docker.DockerClient, tag: str) -> bool:
    """Whether the engine has an image of this tag."""
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def base(client: docker.DockerClient) -> str:
    """Debian's own image where a registry answers, else one made from Debian's archive."""
    if exists(client, REGISTRY_IMAGE):
        return REGISTRY_IMAGE
    made = f"matchpoint-lab/debian:{RELEASE}"
    if exists(client, made):
        return made
    step(f"fetching {REGISTRY_IMAGE}")
    try:
        client.images.pull(REGISTRY_IMAGE)
    except (APIError, ImageNotFound):
        step("no registry answers; making it from Debian's archive with mmdebstrap")
    else:
        return REGISTRY_IMAGE
    with tempfile.TemporaryDirectory(prefix="matchpoint-") as scratch:
        archive = Path(scratch) / "base.tar"
        command = [*AS_ROOT, "mmdebstrap", "--variant=minbase", "--quiet", RELEASE, str(archive)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise LabError("mmdebstrap is not installed: `docker/lab/bootstrap.sh lab` installs it.") from None
        except subprocess.CalledProcessError as error:
            raise LabError(f"{' '.join(command)} failed:\n{error.stderr[-1500:]}") from None
        with archive.open("rb") as source:
            client.api.import_image_from_data(source.read(), repository="matchpoint-lab/debian", tag=RELEASE)
    return made


def build(client: docker.DockerClient, directory: Path, tag: str, base: str) -> None:
    """An image of a folder with a Dockerfile, on `base`."""
    proxies = {name: os.environ[name] for name in PROXY_VARIABLES if name in os.environ}
    try:
        client.images.build(
            path=str(directory),
            tag=tag,
            buildargs={"BASE": base, **proxies},
            network_mode="host",
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        log = "".join(str(line.get("stream", line.get("error", ""))) for line in error.build_log)
        raise LabError(f"Building {tag} failed; the end of its log:\n{log[-2000:]}") from None
