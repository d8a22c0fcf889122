"""The site in containers of its own, without a host: docker/compose.yaml, docs/compose.md.

`up` builds the image of the game, makes certificates and passwords where there are none yet, starts everything and
plays a match through it; `down` removes the containers; `run` is docker compose itself, told which site is meant.
"""

import argparse
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import docker

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "docker/lab"), str(ROOT / "ansible")]

from authority import Authority  # noqa: E402 - of the hosts' certificates

import daemon  # noqa: E402 - of the lab
import images  # noqa: E402
import lab  # noqa: E402
import network  # noqa: E402
from output import LabError, step  # noqa: E402

FILE = ROOT / "docker/compose.yaml"
STATE = ROOT / ".compose"
SITE = "matchpoint.localhost"
EDGE = 250  # host number of nginx in the subnet: Docker gives low ones to the others
SECRETS = (
    "MATCHPOINT_SECRET_KEY", "POSTGRES_PASSWORD", "OWNER_PASSWORD", "APP_PASSWORD", "VALKEY_PASSWORD",
    "GRAFANA_PASSWORD",
)  # fmt: skip
WRITTEN = ("MATCHPOINT_IMAGE", "SUBNET", "EDGE_ADDRESS", "TLS_DIR")  # what it also has to say
# What an operator may set in the file as well
OPTIONS = ("MATCHPOINT_EMAIL_URL",)
DATA = ("postgres", "valkey", "live1", "live2")
STAND_INS = ("POSTGRES_IMAGE", "VALKEY_IMAGE", "NGINX_IMAGE", "PROMETHEUS_IMAGE", "ALERTMANAGER_IMAGE")
UP_SECONDS = 300


class Site:
    """One site of containers: a project of docker compose, with its folder of secrets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = STATE / name
        self.environment = self.state / "env"

    # What is kept beside the containers

    def known(self) -> dict[str, str]:
        """The variables of its file; none when there is no file."""
        if not self.environment.exists():
            return {}
        lines = self.environment.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def write(self, values: dict[str, str]) -> None:
        """Replaces the file, which holds passwords, at once and readable by its owner alone."""
        text = "# Variables of docker/compose.yaml. Without the passwords in here nobody reads the data any more.\n"
        text += "".join(f"{name}={value}\n" for name, value in values.items())
        self._private(self.environment, text)

    def certificates(self) -> None:
        """A certificate for the site, from a CA of its own that browsers can be told to trust."""
        kept = self.state / "authority.json"
        store = json.loads(kept.read_text()) if kept.exists() else {}
        authority = Authority(store)
        authority.renew(SITE, ["127.0.0.1"])
        self._private(kept, json.dumps(store))
        bundle = authority.bundle(SITE)
        tls = self.state / "tls"
        tls.mkdir(exist_ok=True)
        # The folder above is the owner's alone; in its container nginx is another user, who reads them
        for file, part in (("certificate.pem", "certificate"), ("key.pem", "key")):
            (tls / file).write_text(bundle[part])
            (tls / file).chmod(0o644)
        (self.state / "ca.pem").write_text(bundle["ca"])

    def _private(self, path: Path, text: str) -> None:
        draft = path.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        draft.rename(path)

    # The containers

    def compose(self, *words: str, check: bool = True) -> int:
        """Runs docker compose on this site; LabError when it fails."""
        command = [
            *tool(), "--project-name", self.name, "--file", str(FILE), "--env-file", str(self.environment), *words,
        ]  # fmt: skip
        # Variables of the shell would have the last word
        environment = {name: value for name, value in os.environ.items() if name not in self.known()}
        code = subprocess.run(command, check=False, env=environment).returncode
        if code and check:
            raise LabError(f"`{shlex.join(words)}` ended with {code}; what it said stands above.")
        return code

    def volumes(self, client: docker.DockerClient) -> list[str]:
        """Which of the volumes with data there are."""
        there = {volume.name for volume in client.volumes.list(filters={"name": f"{self.name}_"})}
        return [name for name in DATA if f"{self.name}_{name}" in there]

    def wait(self, client: docker.DockerClient) -> None:
        """Until every container is healthy, or has done what it was for. LabError names those that are not."""
        deadline = time.monotonic() + UP_SECONDS
        while True:
            label = f"com.docker.compose.project={self.name}"
            states = {
                box.labels["com.docker.compose.service"]: box.attrs["State"]
                for box in client.containers.list(all=True, filters={"label": label})
            }
            waiting = {name: how for name, state in states.items() if (how := trouble(state))}
            if not waiting:
                return
            if time.monotonic() > deadline or any(how.startswith("ended") for how in waiting.values()):
                told = ", ".join(f"{name} ({how})" for name, how in waiting.items())
                raise LabError(f'Not up: {told}. `make compose ARGS="logs {next(iter(waiting))}"` says why.')
            time.sleep(0.5)


def trouble(state: dict[str, object]) -> str:
    """What keeps a container from being as it should: "" for nothing."""
    if state["Status"] == "exited":
        return "" if state["ExitCode"] == 0 else f"ended with {state['ExitCode']}"
    if state["Status"] != "running":
        return str(state["Status"])
    health = state.get("Health")
    status = str(health["Status"]) if isinstance(health, dict) else "healthy"
    return "" if status in ("healthy", "none") else status


def tool() -> list[str]:
    """Compose as the docker client has it, or as a program of its own. LabError when there is neither."""
    asked = ["docker", "compose", "version"]
    if shutil.which("docker") and subprocess.run(asked, capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise LabError("There is no docker compose. Install docker-compose-plugin, docker-compose-v2 or docker-compose.")


def image(client: docker.DockerClient, base: str) -> str:
    """The image of this checkout's game, built unless there is one of the same release and recipe."""
    command = [sys.executable, str(ROOT / "ansible/release.py")]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    if built.returncode:
        raise LabError(built.stderr.strip())
    release = json.loads(built.stdout)
    recipe = ROOT / "docker/app"
    tag = f"matchpoint/app:{release['release']}-{images.digest(recipe)[:6]}"
    if images.exists(client, tag):
        return tag
    step(f"building the image {tag} on {base}")
    context = ROOT / ".cache/image"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(recipe, context)
    tree = context / "release"
    (libraries,) = release["libraries"].values()
    unpack(Path(release["archive"]), tree)
    (tree / "lib").unlink()  # hosts share libraries between releases by a link
    unpack(Path(libraries), tree / "lib")
    images.build(client, context, tag, base)
    shutil.rmtree(context)
    return tag


def unpack(archive: Path, target: Path) -> None:
    target.mkdir()
    subprocess.run(["tar", "--extract", "--zstd", "--file", archive, "--directory", target], check=True)


def command_image(args: argparse.Namespace) -> None:
    with lab.lock("engine", shared=True), lab.lock("prepare"):
        client = daemon.ensure(lab.STATE / "engine" / "data")
        print(image(client, images.base(client)))


def command_up(args: argparse.Namespace) -> None:
    tool()
    site = Site(args.project)
    with lab.lock("engine", shared=True):
        with lab.lock("prepare"):
            client = daemon.ensure(lab.STATE / "engine" / "data")
            base = images.base(client)
            found = {"MATCHPOINT_IMAGE": image(client, base)}
            if base != images.REGISTRY_IMAGE:
                found |= dict.fromkeys(STAND_INS, stand_in(client, base))
        prepare(site, client, found, args)
        step("starting the containers")
        site.compose("up", "--detach", "--remove-orphans")
        site.wait(client)
    play(site)
    stood_in = base != images.REGISTRY_IMAGE
    print(f"""
  Site         https://{SITE}/  (published on {args.address})
  Its CA       {site.state / "ca.pem"}  (import it, or accept the warning)
  Secrets      {site.environment}  (generated, readable by you alone)
  Logs         make compose ARGS="logs --follow web"  (mails, too)
  The end      make compose-down  (DATA=delete: and its data)""")
    if args.monitoring:
        grafana = "" if stood_in else ", Grafana :3000"
        print(f"  Prometheus   http://127.0.0.1:9090/  (Alertmanager :9093{grafana})")
    if stood_in:
        print("\n  No registry answers: Debian's packages stand in for the official images, and there is no Grafana.")


def stand_in(client: docker.DockerClient, base: str) -> str:
    recipe = ROOT / "docker/debian"
    tag = f"matchpoint/debian:{images.digest(recipe)}"
    if not images.exists(client, tag):
        step("building an image of Debian's packages, which stands in for the official ones")
        images.build(client, recipe, tag, base)
    return tag


def prepare(site: Site, client: docker.DockerClient, found: dict[str, str], args: argparse.Namespace) -> None:
    """Writes what compose.yaml asks for. LabError when passwords are gone that data were made with."""
    known = site.known()
    lost = [name for name in SECRETS if name not in known]
    if lost and (data := site.volumes(client)):
        raise LabError(
            f"There are data of an earlier site ({', '.join(data)}), and {site.environment} has no {', '.join(lost)}. "
            "Bring that file back, or `make compose-down DATA=delete` and begin anew."
        )
    site.state.mkdir(parents=True, exist_ok=True)
    site.state.chmod(0o700)
    site.certificates()
    subnet = known.get("SUBNET") or str(next(network.free(f"compose-{site.name}")))
    profiles = ["monitoring", *([] if "POSTGRES_IMAGE" in found else ["grafana"])] if args.monitoring else []
    site.write(
        {name: known.get(name) or secrets.token_hex(32) for name in SECRETS}
        | {name: known[name] for name in OPTIONS if name in known}
        | {
            "SUBNET": subnet,
            "EDGE_ADDRESS": f"{subnet.rpartition('.')[0]}.{EDGE}",
            "PUBLISH_ADDRESS": args.address,
            "TLS_DIR": str(site.state / "tls"),
            "COMPOSE_PROFILES": ",".join(profiles),
            "PROMETHEUS_URL": "http://prometheus:9090" if profiles else "",
            "ALERTMANAGER_URL": "http://alertmanager:9093" if profiles else "",
        }
        | found
    )


def play(site: Site) -> None:
    """A bot plays a match through nginx, as players do."""
    step("a match")
    address = site.known()["PUBLISH_ADDRESS"]
    trust = ["--ca", str(site.state / "ca.pem"), "--connect-to", address]
    command = [sys.executable, "-m", "live.bot", "--url", f"https://{SITE}", *trust]
    if subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": str(ROOT / "app")}).returncode:
        raise LabError("The containers are up, and no match can be played. `make compose ARGS=logs` has what they say.")


def command_down(args: argparse.Namespace) -> None:
    site = Site(args.project)
    if args.data not in ("", "delete"):
        raise LabError(f"DATA is '{args.data}': it can be delete. Nothing was done.")
    data = lab.STATE / "engine" / "data"
    # An engine of the lab's own ended with the last container, and has the data still
    client = daemon.ensure(data) if args.data and data.exists() else daemon.connect()
    if client is None:
        raise LabError("No Docker engine answers, so nothing of a site runs. Nothing was done.")
    if not site.environment.exists() and not site.volumes(client):
        lab.engine_leave(client)
        raise LabError(f"There is no site '{args.project}'. Nothing was done.")
    # Whatever it was started with, and also when its file is gone, which is not to get made-up passwords
    unknown = dict.fromkeys((*SECRETS, *WRITTEN), "/unknown") | {"SUBNET": "192.0.2.0/24", "EDGE_ADDRESS": "192.0.2.2"}
    known = unknown | site.known() | {"COMPOSE_PROFILES": "monitoring,grafana"}
    site.state.mkdir(parents=True, exist_ok=True)
    site.environment = site.state / "down.env"
    site.write(known)
    site.compose("down", "--remove-orphans", *(["--volumes"] if args.data else []))
    site.environment.unlink()
    if args.data:
        shutil.rmtree(site.state)
    lab.engine_leave(client)


def command_run(args: argparse.Namespace) -> None:
    site = Site(args.project)
    if daemon.connect() is None or not site.environment.exists():
        raise LabError("There is no such site; `make compose-up` starts one.")
    raise SystemExit(site.compose(*args.words, check=False))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", default="matchpoint", help="name of the site (default: %(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start everything, and play a match through it")
    up.add_argument("--address", default="127.0.0.1", help="where to publish it (default: %(default)s)")
    up.add_argument("--monitoring", action="store_true", help="with Prometheus, Alertmanager and Grafana")
    up.set_defaults(run=command_up)
    down = commands.add_parser("down", help="remove the containers")
    down.add_argument("--data", default="", help="delete: their data and secrets as well")
    down.set_defaults(run=command_down)
    commands.add_parser("image", help="only the image of the game; prints its tag").set_defaults(run=command_image)
    run = commands.add_parser("run", help="docker compose, about this site")
    run.add_argument("words", nargs=argparse.REMAINDER)
    run.set_defaults(run=command_run)
    args = parser.parse_args()
    try:
        args.run(args)
    except LabError as error:
        sys.stderr.write(f"compose: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
