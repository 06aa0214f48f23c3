"""The code in the example values runs: with the volume and the sidecar of its pod stood in for on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.chart.rendering import ROOT, render
from tests.conftest import eventually


def unpack(scenario: str, folder: Path, inside: str, here: str) -> None:
    """Puts the code out of a scenario's config map into a folder; what is `inside` a pod is `here` on this machine."""
    name = f"{scenario}-example"
    (found,) = (each for each in render(scenario=scenario) if each["metadata"]["name"] == name)
    for file, text in found["data"].items():
        (folder / file).write_text(text.replace(inside, here))


def mapped(folder: Path, module: str, call: str, **variables: str) -> str:
    """What a script prints that submits to the example on local replicas."""
    script = folder / "submit.py"
    script.write_text(f"import {module} as m\n\nif __name__ == '__main__':\n    print(list(m.{call}))\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTORQ_")}
    environment |= {"PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_model_on_a_volume_is_loaded_by_the_replicas(tmp_path: Path) -> None:
    unpack("model-volume", tmp_path, "/models", str(tmp_path))
    subprocess.run([sys.executable, tmp_path / "put_model.py"], check=True)
    assert mapped(tmp_path, "model_volume_example", "score.map(['good day', 'bad idea', 'great'])") == "[1, -1, 2]\n"


def test_a_sidecar_answers_every_input_of_its_replica(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    unpack("sidecar", tmp_path, "8500", port)
    sidecar = subprocess.Popen([sys.executable, tmp_path / "serve_model.py"], stderr=subprocess.DEVNULL)
    try:
        with socket.socket() as client:
            assert eventually(lambda: client.connect_ex(("127.0.0.1", int(port))) == 0)
        url = f"http://127.0.0.1:{port}"
        assert mapped(tmp_path, "sidecar_example", "shout.map(['a', 'b', 'c'])", MODEL_URL=url) == "['A', 'B', 'C']\n"
    finally:
        sidecar.terminate()
        sidecar.wait()
