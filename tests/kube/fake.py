"""A small Kubernetes: an API server (`apiserver.py`), and pods that are processes of this machine.

It does the controllers' work: Jobs with their deadlines and pod failure policies, Deployments, and the collection of
what a deleted object owned, a while later. A pod is its container's command, run here with the variables and the secret
files of its manifest, unless the test has said that it cannot start.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.kube.apiserver import ApiServer, Manifest

ROOT = Path(__file__).parents[2]


@dataclass
class Pod:
    manifest: Manifest
    process: subprocess.Popen[bytes] | None
    index: int
    log: Path
    #: its secret files: Secret, key, and where the process finds it
    files: list[tuple[str, str, Path]] = field(default_factory=list)


class FakeCluster(ApiServer):
    """Serves until `close`."""

    def __init__(self) -> None:
        super().__init__()
        #: what a new pod's status becomes instead of running, by name of the environment variable's owner
        self.broken: Callable[[Manifest], Manifest | None] = lambda pod: None
        #: message of a quota that refuses every pod
        self.quota: str | None = None
        #: seconds until what has no owner left is deleted
        self.collect_after = 0.3
        self.pods: dict[str, Pod] = {}
        self.started = 0
        self._failures: dict[str, set[int]] = {}
        self._done: dict[str, set[int]] = {}
        self._ownerless: dict[str, float] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._stop = threading.Event()
        self._controlling = threading.Thread(target=self._control)
        self.serve()
        self._controlling.start()

    def close(self) -> None:
        self._stop.set()
        self.stop_serving()
        self._controlling.join()
        for pod in list(self.pods.values()):
            self._end(pod)
        self._folder.cleanup()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(Path(self._folder.name).glob("*.log")))

    def _delete(self, kind: str, name: str) -> None:
        super()._delete(kind, name)
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
        status.setdefault("startTime", datetime.now(UTC).isoformat(timespec="microseconds"))
        if any(c["type"] in ("Complete", "Failed") for c in status.get("conditions", [])):
            if time.monotonic() - status["_ended"] > spec.get("ttlSecondsAfterFinished", 1e9):
                self._delete("jobs", name)
            return
        if time.time() - datetime.fromisoformat(status["startTime"]).timestamp() > spec.get(
            "activeDeadlineSeconds", 1e9
        ):
            self._end_job(job, "DeadlineExceeded", "Job was active longer than specified deadline")
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
        if any(("secrets", secret) not in self.objects for secret, _, _ in _files_of(template)):
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
        files = [(*each[:2], Path(self._folder.name, name, each[2].lstrip("/"))) for each in _files_of(template)]
        process = None if broken is not None else self._process(manifest, index, log, files)
        manifest["status"] = broken or {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self.objects["pods", name] = manifest
        self.pods[name] = Pod(manifest=manifest, process=process, index=index, log=log, files=files)
        self.started += 1

    def _process(
        self, manifest: Manifest, index: int, log: Path, files: list[tuple[str, str, Path]]
    ) -> subprocess.Popen[bytes]:
        container, name = manifest["spec"]["containers"][0], manifest["metadata"]["name"]
        variables = {"JOB_COMPLETION_INDEX": str(index)}
        for item in container["env"]:
            if "valueFrom" in item:
                assert item["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
                variables[item["name"]] = name
            elif item["name"].endswith("_FILE"):
                variables[item["name"]] = str(Path(self._folder.name, name, item["value"].lstrip("/")))
            elif item["name"] != "HOME":
                variables[item["name"]] = item["value"]
        self._write_files(files)
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

    def _write_files(self, files: list[tuple[str, str, Path]]) -> None:
        """What is in Secrets now, as a kubelet keeps it in the pods."""
        for secret, key, path in files:
            if ("secrets", secret) not in self.objects:
                continue
            text = self.secret(secret)[key]
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                new = path.with_suffix(".new")
                new.write_text(text, encoding="utf-8")
                new.replace(path)  # at once, as a kubelet does it

    def _watch_pods(self) -> None:
        for pod in self.pods.values():
            if pod.process is None or pod.manifest["status"]["phase"] != "Running":
                continue
            status = pod.process.poll()
            if status is None:
                self._write_files(pod.files)
                continue
            terminated: Manifest = {"exitCode": status if status >= 0 else 128 - status}
            if status and pod.manifest["spec"]["containers"][0].get("terminationMessagePolicy"):
                terminated["message"] = pod.log.read_text(errors="replace")[-2048:]
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
        exits = [c["state"]["terminated"]["exitCode"] for c in status.get("containerStatuses", [])]
        if status["phase"] == "Failed" and any(each in _statuses(job, "Ignore") for each in exits):
            return
        outcome = self._failures if status["phase"] == "Failed" else self._done
        outcome.setdefault(owner, set()).add(pod.index)
        if any(each in _statuses(job, "FailJob") for each in exits):
            name = pod.manifest["metadata"]["name"]
            self._end_job(job, "PodFailurePolicy", f"Container actorq of pod {name} failed")

    def _end_job(self, job: Manifest, reason: str, message: str) -> None:
        """A rule of its pod failure policy, or its deadline, ends a Job, and every pod of it that runs."""
        condition = {"type": "Failed", "status": "True", "reason": reason, "message": message}
        failed = ",".join(map(str, sorted(self._failures.get(job["metadata"]["uid"], ()))))
        job["status"] |= {"conditions": [condition], "_ended": time.monotonic(), "failedIndexes": failed}
        for pod in self.pods.values():
            if _owned_by(pod.manifest, job) and pod.manifest["status"]["phase"] == "Running":
                self._end(pod, kill=True)
                pod.manifest["status"] = {"phase": "Failed"}

    def delete_pod(self, name: str) -> None:
        """`kubectl delete pod`: the process is told to stop, and how it ends is what its Job sees."""
        with self.lock:
            pod = self.pods[name]
            assert pod.process is not None
            pod.manifest["metadata"]["deletionTimestamp"] = "now"
            pod.process.terminate()
            pod.process.wait(10)
            self._watch_pods()

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


def _statuses(job: Manifest, action: str) -> list[int]:
    """The exit statuses for which a Job's pod failure policy does this."""
    rules = job["spec"].get("podFailurePolicy", {}).get("rules", [])
    of_exits = [rule["onExitCodes"]["values"] for rule in rules if rule["action"] == action and "onExitCodes" in rule]
    return [status for values in of_exits for status in values]


def _files_of(template: Manifest) -> list[tuple[str, str, str]]:
    """The files out of Secrets that our container finds: Secret, key, path."""
    spec = template["spec"]
    mounted = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0].get("volumeMounts", [])}
    return [
        (source["secret"]["name"], item["key"], f"{mounted[volume['name']]}/{item['path']}")
        for volume in spec.get("volumes", [])
        for source in volume.get("projected", {}).get("sources", [])
        for item in source["secret"]["items"]
    ]


def _owned_by(manifest: Manifest, owner: Manifest) -> bool:
    return any(o["uid"] == owner["metadata"]["uid"] for o in manifest["metadata"]["ownerReferences"])
