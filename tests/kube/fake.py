"""A small Kubernetes: a real HTTP API, and pods that are processes of this machine.

It keeps objects as an API server does (names, labels, patches, pages, deletion; what a deleted one owned goes a while
later), and does a controller's work for Jobs and Deployments: a pod is its container's command, run here with the
variables of its manifest. Faults are told to it beforehand: an answer in place of the true one, a connection that is
cut, a pod that cannot start.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes import client

from actorq.kube.api import KubeApi

Manifest = dict[str, Any]
ROOT = Path(__file__).parents[2]
_PATH = re.compile(r"^/(?:api|apis)/(?:[^/]+/)?v1/namespaces/(?P<ns>[^/]+)/(?P<kind>[^/]+)(?:/(?P<name>[^/]+))?$")


#: what the API server takes for a name, and for a label's value
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@dataclass
class Fault:
    """One answer in place of the true one."""

    status: int
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = ""
    kind: str = ""
    #: the request is carried out, and its answer lost
    after: bool = False


@dataclass
class Pod:
    manifest: Manifest
    process: subprocess.Popen[bytes] | None
    index: int
    log: Path


class FakeCluster:
    """Serves until `close`. `api()` gives a client of it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.faults: deque[Fault] = deque()
        #: what a new pod's status becomes instead of running, by name of the environment variable's owner
        self.broken: Callable[[Manifest], Manifest | None] = lambda pod: None
        #: message of a quota that refuses every pod
        self.quota: str | None = None
        #: seconds until what has no owner left is deleted
        self.collect_after = 0.3
        #: objects in one answer of a list, where that is fewer than asked for
        self.page = 500
        self.pods: dict[str, Pod] = {}
        self.started = 0
        self.lock = threading.RLock()
        self._failures: dict[str, set[int]] = {}
        self._done: dict[str, set[int]] = {}
        self._ownerless: dict[str, float] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}),
            threading.Thread(target=self._control),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def api(self, patience: float = 5.0) -> KubeApi:
        return KubeApi("test", configuration=client.Configuration(host=self.url), patience=patience)

    def kubeconfig(self, folder: Path) -> Path:
        path = folder / "kubeconfig"
        context = {"cluster": "fake", "user": "me"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
            "contexts": [{"name": "fake", "context": context}],
            "current-context": "fake",
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def close(self) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()
        for pod in list(self.pods.values()):
            self._end(pod)
        self._folder.cleanup()

    def of_kind(self, kind: str) -> list[Manifest]:
        with self.lock:
            return [manifest for (k, _), manifest in self.objects.items() if k == kind]

    def secret(self, name: str) -> dict[str, str]:
        """What a Secret holds."""
        with self.lock:
            data = self.objects["secrets", name]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(Path(self._folder.name).glob("*.log")))

    # -- HTTP ----------------------------------------------------------------------------------------------------------

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        cluster = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                parts = urlsplit(self.path)
                found = _PATH.match(parts.path)
                assert found, parts.path
                kind, name = found["kind"], found["name"] or ""
                with cluster.lock:
                    cluster.requests.append((self.command, kind, name))
                    fault = cluster._fault(self.command, kind)
                    if fault is None or fault.after:
                        status, answer = cluster._answer(self.command, kind, name, parse_qs(parts.query), body)
                    if fault is not None:
                        status, answer = fault.status, {"message": fault.message}
                if status == 0:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                for header, value in (fault.headers if fault else {}).items():
                    self.send_header(header, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names http.server calls

            def log_message(self, *args: Any) -> None:
                pass

        return Handler

    def _fault(self, method: str, kind: str) -> Fault | None:
        for fault in self.faults:
            if fault.method in ("", method) and fault.kind in ("", kind):
                self.faults.remove(fault)
                return fault
        return None

    def _answer(
        self, method: str, kind: str, name: str, query: dict[str, list[str]], body: Any
    ) -> tuple[int, Manifest]:
        match method:
            case "POST":
                return self._post(kind, body)
            case "GET" if not name:
                return 200, self._page(kind, query)
            case _ if (kind, name) not in self.objects:
                return 404, {"message": f'{kind} "{name}" not found'}
            case "PATCH":
                if isinstance(body, list):
                    if not all(_apply(self.objects[kind, name], operation) for operation in body):
                        return 422, {"message": "the server rejected our request due to an error in our request"}
                else:
                    _merge(self.objects[kind, name], body)
            case "DELETE":
                manifest = self.objects[kind, name]
                self._delete(kind, name)
                return 200, manifest
        return 200, self.objects[kind, name]

    def _post(self, kind: str, body: Manifest) -> tuple[int, Manifest]:
        name, labels = body["metadata"]["name"], body["metadata"].get("labels") or {}
        if not _NAME.fullmatch(name) or not all(_LABEL.fullmatch(value) for value in labels.values()):
            return 422, {"message": f'{kind} "{name}" is invalid: metadata: {labels}'}
        if (kind, name) in self.objects:
            return 409, {"message": f'{kind} "{name}" already exists'}
        body["metadata"]["uid"] = uuid.uuid4().hex
        self.objects[kind, name] = body
        return 201, body

    def _page(self, kind: str, query: dict[str, list[str]]) -> Manifest:
        found = [m for m in self.of_kind(kind) if _selected(m, query)]
        begin = int(query.get("continue", ["0"])[0])
        end = begin + min(self.page, int(query.get("limit", ["500"])[0]))
        return {"items": found[begin:end], "metadata": {"continue": str(end)} if end < len(found) else {}}

    def _delete(self, kind: str, name: str) -> None:
        del self.objects[kind, name]
        if kind == "pods" and name in self.pods:
            self._end(self.pods.pop(name))

    # -- controllers ---------------------------------------------------------------------------------------------------

    def _control(self) -> None:
        while not self._stop.wait(0.05):
            with self.lock:
                self._watch_pods()
                self._collect()
                for job in self.of_kind("jobs"):
                    self._run_job(job)
                for deployment in self.of_kind("deployments"):
                    self._run_deployment(deployment)

    def _collect(self) -> None:
        """Garbage: objects whose owners are all gone, a while after that was seen."""
        alive = {manifest["metadata"].get("uid") for manifest in self.objects.values()}
        now = time.monotonic()
        for (kind, name), manifest in list(self.objects.items()):
            owners = manifest["metadata"].get("ownerReferences") or []
            if owners and not any(owner["uid"] in alive for owner in owners):
                since = self._ownerless.setdefault(manifest["metadata"]["uid"], now)
                if now - since >= self.collect_after:
                    self._delete(kind, name)

    def _run_job(self, job: Manifest) -> None:
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        spec, status = job["spec"], job.setdefault("status", {})
        if spec.get("suspend"):
            return
        if any(c["type"] in ("Complete", "Failed") for c in status.get("conditions", [])):
            if time.monotonic() - status["_ended"] > spec.get("ttlSecondsAfterFinished", 1e9):
                self._delete("jobs", name)
            return
        total = spec.get("completions", 1)
        done, failed = self._done.setdefault(uid, set()), self._failures.setdefault(uid, set())
        mine = [p for p in self.pods.values() if _owned_by(p.manifest, job)]
        alive = {p.index for p in mine if p.manifest["status"]["phase"] in ("Pending", "Running")}
        waiting = [i for i in range(total) if i not in done | failed | alive]
        for index in waiting[: max(0, spec.get("parallelism", 1) - len(alive))]:
            self._start_pod(job, "jobs", spec["template"], index)
        status["ready"] = sum(p.manifest["status"]["phase"] == "Running" for p in mine)
        status["failedIndexes"] = ",".join(map(str, sorted(failed)))
        status["completedIndexes"] = ",".join(map(str, sorted(done)))
        if len(done) + len(failed) == total:
            kind = "Failed" if failed else "Complete"
            status["conditions"] = [{"type": kind, "status": "True", "message": "it is over"}]
            status["_ended"] = time.monotonic()

    def _run_deployment(self, deployment: Manifest) -> None:
        mine = [p for p in self.pods.values() if _owned_by(p.manifest, deployment)]
        template = json.dumps(deployment["spec"]["template"], sort_keys=True)
        current = [p for p in mine if p.manifest["metadata"]["template"] == template]
        wanted = int(deployment["spec"]["replicas"])
        for _ in range(wanted - len(current)):
            self._start_pod(deployment, "deployments", deployment["spec"]["template"], 0)
        for pod in [*[p for p in mine if p not in current], *current[wanted:]]:
            self._delete("pods", pod.manifest["metadata"]["name"])

    def _start_pod(self, owner: Manifest, kind: str, template: Manifest, index: int) -> None:
        if self.quota is not None:
            if kind == "deployments":
                condition = {"type": "ReplicaFailure", "status": "True", "message": self.quota}
                owner.setdefault("status", {})["conditions"] = [condition]
            else:
                event = {"metadata": {"name": "e"}, "reason": "FailedCreate", "message": self.quota}
                self.objects["events", "e"] = event | {"involvedObject": {"name": owner["metadata"]["name"]}}
            return
        wanted = [i["valueFrom"]["secretKeyRef"]["name"] for i in _env_of(template) if "valueFrom" in i]
        if any(("secrets", secret) not in self.objects for secret in wanted):
            return  # a kubelet waits for it
        name = f"{owner['metadata']['name']}-{uuid.uuid4().hex[:5]}"
        manifest: Manifest = {
            "metadata": {
                "name": name,
                "uid": uuid.uuid4().hex,
                "labels": {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": owner["metadata"]["name"]},
                "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
                "ownerReferences": [{"uid": owner["metadata"]["uid"]}],
                "template": json.dumps(template, sort_keys=True),
            },
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        broken = self.broken(manifest)
        log = Path(self._folder.name) / f"{name}.log"
        process = None if broken is not None else self._process(template["spec"]["containers"][0], index, log)
        manifest["status"] = broken or {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self.objects["pods", name] = manifest
        self.pods[name] = Pod(manifest=manifest, process=process, index=index, log=log)
        self.started += 1

    def _process(self, container: Manifest, index: int, log: Path) -> subprocess.Popen[bytes]:
        variables = {"JOB_COMPLETION_INDEX": str(index)}
        for item in container["env"]:
            if "valueFrom" in item:
                reference = item["valueFrom"]["secretKeyRef"]
                variables[item["name"]] = self.secret(reference["name"])[reference["key"]]
            elif item["name"] != "HOME":
                variables[item["name"]] = item["value"]
        command = container["command"]
        assert command[0] == "actorq"
        arguments = [sys.executable, "-m", "actorq.cli", *command[1:]]
        if "--http-port" in arguments:
            arguments[arguments.index("--http-port") + 1] = "0"
            arguments += ["--http-host", "127.0.0.1"]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ACTORQ_")}
        with log.open("wb") as file:
            return subprocess.Popen(
                arguments, env={**inherited, **variables}, cwd=ROOT, stdout=file, stderr=file, start_new_session=True
            )

    def _watch_pods(self) -> None:
        for pod in self.pods.values():
            if pod.process is None or pod.manifest["status"]["phase"] != "Running":
                continue
            status = pod.process.poll()
            if status is None:
                continue
            terminated = {"exitCode": status if status >= 0 else 128 - status}
            pod.manifest["status"] = {
                "phase": "Failed" if status else "Succeeded",
                "containerStatuses": [{"name": "actorq", "state": {"terminated": terminated}}],
            }
            self._book(pod)

    def _book(self, pod: Pod) -> None:
        """What the end of a pod is for its Job."""
        owner = pod.manifest["metadata"]["ownerReferences"][0]["uid"]
        job = next((j for j in self.of_kind("jobs") if j["metadata"]["uid"] == owner), None)
        status = pod.manifest["status"]
        if job is None or any(c["type"] == "DisruptionTarget" for c in status.get("conditions", [])):
            return
        outcome = self._failures if status["phase"] == "Failed" else self._done
        outcome.setdefault(owner, set()).add(pod.index)
        for container in status.get("containerStatuses", []):
            if container["state"]["terminated"]["exitCode"] in _ending_statuses(job):
                self._end_job(job, f"Container actorq of pod {pod.manifest['metadata']['name']} failed")

    def _end_job(self, job: Manifest, message: str) -> None:
        """A rule of its pod failure policy ends a Job, and every pod of it that runs."""
        condition = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message}
        failed = ",".join(map(str, sorted(self._failures[job["metadata"]["uid"]])))
        job["status"] |= {"conditions": [condition], "_ended": time.monotonic(), "failedIndexes": failed}
        for pod in self.pods.values():
            if _owned_by(pod.manifest, job) and pod.manifest["status"]["phase"] == "Running":
                self._end(pod, kill=True)
                pod.manifest["status"] = {"phase": "Failed"}

    def evict(self, name: str) -> None:
        """Takes a pod away as a drain does: its Job replaces it, and no index fails."""
        with self.lock:
            self._delete("pods", name)

    def fail(self, name: str, status: Manifest) -> None:
        """A pod fails with `status`, its process killed. With a condition DisruptionTarget, it is replaced."""
        with self.lock:
            pod = self.pods[name]
            self._end(pod, kill=True)
            pod.manifest["status"] = {"phase": "Failed", **status}
            self._book(pod)

    @staticmethod
    def _end(pod: Pod, *, kill: bool = False) -> None:
        process, pod.process = pod.process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill() if kill else process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def fake_cluster() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    try:
        yield cluster
    finally:
        cluster.close()


def _ending_statuses(job: Manifest) -> list[int]:
    rules = job["spec"].get("podFailurePolicy", {}).get("rules", [])
    return [status for r in rules if r["action"] == "FailJob" for status in r["onExitCodes"]["values"]]


def _env_of(template: Manifest) -> list[Manifest]:
    return list(template["spec"]["containers"][0]["env"])


def _owned_by(manifest: Manifest, owner: Manifest) -> bool:
    return any(o["uid"] == owner["metadata"]["uid"] for o in manifest["metadata"]["ownerReferences"])


def _selected(manifest: Manifest, query: dict[str, list[str]]) -> bool:
    labels = manifest["metadata"].get("labels") or {}
    for part in filter(None, query.get("labelSelector", [""])[0].split(",")):
        key, _, value = part.partition("=")
        if labels.get(key) != value:
            return False
    for part in filter(None, query.get("fieldSelector", [""])[0].split(",")):
        path, _, value = part.partition("=")
        at: Any = manifest
        for step in path.split("."):
            at = at.get(step, {})
        if at != value:
            return False
    return True


def _merge(target: Manifest, patch: Manifest) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _apply(target: Manifest, operation: Manifest) -> bool:
    """One `replace` of RFC 6902; False where there is nothing to replace."""
    assert operation["op"] == "replace"
    *parents, last = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
    for step in parents:
        target = target.get(step, {})
    if last not in target:
        return False
    target[last] = operation["value"]
    return True
