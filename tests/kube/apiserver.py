"""The API server of the small Kubernetes: objects behind a real HTTP API, without anybody who acts on them.

It keeps them as an API server does: names, labels, patches, pages, deletion. Faults are told to it beforehand: an
answer in place of the true one, or a connection that is cut.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes import client

from actorq.kube.api import KubeApi

Manifest = dict[str, Any]
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


class ApiServer:
    """Serves from `serve` to `stop_serving`. `api()` gives a client of it."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.faults: deque[Fault] = deque()
        #: objects in one answer of a list, where that is fewer than asked for
        self.page = 500
        #: how much the clock of this server is ahead of the machine's, seconds
        self.ahead = 0.0
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._serving = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def serve(self) -> None:
        self._serving.start()

    def stop_serving(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._serving.join()

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

    def of_kind(self, kind: str) -> list[Manifest]:
        with self.lock:
            return [manifest for (k, _), manifest in self.objects.items() if k == kind]

    def secret(self, name: str) -> dict[str, str]:
        """What a Secret holds."""
        with self.lock:
            data = self.objects["secrets", name]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

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

            def date_time_string(self, timestamp: float | None = None) -> str:
                return formatdate(time.time() + cluster.ahead, usegmt=True)

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
