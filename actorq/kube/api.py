"""One request to the Kubernetes API server, as plain JSON.

The official client does what is hard, finding the cluster and logging in (kubeconfig, tokens, plug-ins, in-cluster
accounts); its object model is not used: manifests are dicts here, as people know them from YAML. There is no watch:
everything this package waits for is looked at about once a second, so a connection that drops costs one look.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
import warnings
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from actorq.base.names import new_id
from actorq.base.warned import warn
from actorq.errors import DeclarationError, PoolError

Manifest = dict[str, Any]

#: seconds one request may take at most; no longer than the patience of who asks, and no less than a slow answer needs
_REQUEST_SECONDS, _LEAST_REQUEST_SECONDS = 15.0, 1.0
#: seconds to keep trying when the API server is busy or out of reach, and the longest pause between two tries
_PATIENCE = 30.0
_LONGEST_PAUSE = 5.0
#: objects in one answer of a list
_PAGE = 500
#: tells an object that our own request made from one that was there: its answer may be lost, and it is sent again
_REQUEST = "actorq.dev/request"
#: too many requests, and what a server says that is starting, stopping or overloaded
_PASSING = frozenset({0, 408, 429, 500, 502, 503, 504})

#: plural name -> path of its API group
_GROUPS = {
    "pods": "api/v1",
    "secrets": "api/v1",
    "events": "api/v1",
    "deployments": "apis/apps/v1",
    "jobs": "apis/batch/v1",
}
#: what every component says when a quota is used up
OVER_QUOTA = "exceeded quota"
_FORBIDDEN = re.compile(r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]*)"')


class KubernetesError(PoolError):
    """The cluster refuses what actorq asks of it."""

    def __init__(self, message: str | None = None, *, status: int = 0) -> None:
        super().__init__(message)
        #: HTTP status, 0 where there was no answer
        self.status = status

    @property
    def over_quota(self) -> bool:
        """Whether the namespace's quota is used up: what ends makes room."""
        return self.status == 403 and OVER_QUOTA in str(self)

    @property
    def passing(self) -> bool:
        """Whether the cluster may answer otherwise in a while: it was busy, or out of reach."""
        return self.status in _PASSING


class KubeApi:
    """Objects of one namespace. For one thread at a time.

    Args:
        namespace: where everything is created.
        configuration: of the official client; by default what kubectl would use, or the pod's service account.
        patience: seconds to keep trying when the API server is busy or out of reach.

    Raises `DeclarationError` when no cluster is configured, or the client is not installed.
    """

    def __init__(self, namespace: str, *, configuration: Any = None, patience: float = _PATIENCE) -> None:
        try:
            from kubernetes import client, config
        except ModuleNotFoundError as error:
            raise DeclarationError("Pods need the Kubernetes client: pip install 'actorq[kubernetes]'") from error
        if configuration is None:
            configuration = client.Configuration()
            files = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
            try:
                if any(Path(file).exists() for file in files.split(os.pathsep)):
                    config.load_kube_config(files, client_configuration=configuration)
                else:
                    config.load_incluster_config(client_configuration=configuration)
            except Exception as error:  # of many types, all meaning: no usable kubeconfig and not in a pod
                raise DeclarationError(
                    f"ACTORQ_KUBERNETES_NAMESPACE is set and no cluster is configured ({error}): "
                    "set KUBECONFIG, or check it with `kubectl get pods`."
                ) from error
        configuration.retries = False  # ours say why they wait, and end
        self.namespace = namespace
        self._host = str(configuration.host)
        if not configuration.verify_ssl:
            _say_unverified(self._host)
        self._client = client.ApiClient(configuration)
        #: seconds to keep trying; may be changed
        self.patience = patience
        #: the API server's clock, against which it holds every deadline, is ahead of our monotonic one by so much
        self._ahead = time.time() - time.monotonic()

    def get(self, kind: str, name: str) -> Manifest | None:
        """The object, or None when there is none."""
        try:
            return self._request("GET", kind, name)
        except KubernetesError as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind: str, *, labels: Mapping[str, str] | None = None, fields: str = "") -> list[Manifest]:
        """The objects with these labels."""
        query = {"limit": str(_PAGE)}
        if labels:
            query["labelSelector"] = ",".join(f"{key}={value}" for key, value in labels.items())
        if fields:
            query["fieldSelector"] = fields
        found: list[Manifest] = []
        while True:
            page = self._request("GET", kind, query=query)
            found += page.get("items") or []
            more = (page.get("metadata") or {}).get("continue")
            if not more:
                return found
            query["continue"] = more

    def create(self, kind: str, manifest: Manifest) -> Manifest:
        """Creates the object. One of this name that is there already is an error of status 409, unless our own request
        made it and only its answer was lost.
        """
        annotations = {**(manifest["metadata"].get("annotations") or {}), _REQUEST: new_id()}
        metadata = {**manifest["metadata"], "annotations": annotations}
        return self._request("POST", kind, body={**manifest, "metadata": metadata})

    def patch(self, kind: str, name: str, patch: Manifest) -> Manifest:
        """Changes an object; what the patch does not name stays, lists are replaced whole (a JSON merge patch)."""
        return self._request("PATCH", kind, name, body=patch)

    def replace(self, kind: str, name: str, path: str, value: Any) -> Manifest:
        """Replaces what stands at `path` of an object as a whole: what the new value does not have goes (a JSON patch).

        Something must stand there.
        """
        return self._request("PATCH", kind, name, body=[{"op": "replace", "path": path, "value": value}])

    def delete(self, kind: str, name: str) -> bool:
        """Deletes the object and what it owns. False when there is none."""
        try:
            self._request("DELETE", kind, name, body={"propagationPolicy": "Background"})
        except KubernetesError as error:
            if error.status == 404:
                return False
            raise
        return True

    def now(self) -> float:
        """Unix seconds by the clock of the API server, as its last answer told it."""
        return time.monotonic() + self._ahead

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _request(
        self, method: str, kind: str, name: str = "", *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> Manifest:
        path = f"/{_GROUPS[kind]}/namespaces/{quote(self.namespace)}/{kind}" + (f"/{quote(name)}" if name else "")
        started, pause, sent = time.monotonic(), 0.2, 0
        while True:
            status, data, retry_after = self._once(method, path, query or {}, body)
            sent += 1
            if 200 <= status < 300:
                return data
            if status == 409 and sent > 1 and method == "POST":
                found = self.get(kind, _name_of(body))
                if found is not None and _made_by(found) == _made_by(body):
                    return found
            waited = time.monotonic() - started
            if status not in _PASSING or waited >= self.patience:
                raise self._explained(method, kind, name or _name_of(body), status, data)
            time.sleep(min(retry_after or pause * (0.5 + random.random() / 2), _LONGEST_PAUSE))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _once(self, method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, Manifest, float | None]:
        """Status, answer, and the seconds the server asks to wait. Status 0: there was no answer."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        patches = "application/json-patch+json" if isinstance(body, list) else "application/merge-patch+json"
        content = patches if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content}
        prepared = self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = min(_REQUEST_SECONDS, max(self.patience, _LEAST_REQUEST_SECONDS))
        try:
            reply = self._client.call_api(*prepared, _request_timeout=timeout)
            text = reply.read()
        except (HTTPError, ApiException, OSError) as error:
            return 0, {"message": str(error)}, None
        if (date := reply.getheader("Date")) is not None:
            self._ahead = parsedate_to_datetime(date).timestamp() - time.monotonic()
        after = reply.getheader("Retry-After")
        try:
            data = json.loads(text or b"{}")
        except ValueError:
            data = {"message": text[:500].decode(errors="replace")}
        answer = data if isinstance(data, dict) else {"message": str(data)}
        return int(reply.status), answer, float(after) if after and after.isdigit() else None

    def _explained(self, method: str, kind: str, name: str, status: int, data: Manifest) -> KubernetesError:
        said = str(data.get("message") or data)
        what = f"{_VERBS[method]} {kind} {name}".rstrip() + f" in namespace {self.namespace!r}"
        refused = _FORBIDDEN.search(said)
        if status == 0:
            text = (
                f"The Kubernetes API at {self._host} does not answer ({said}): is the cluster up, and KUBECONFIG right?"
            )
        elif status == 401:
            text = f"The Kubernetes API at {self._host} refuses the login: renew it, then check `kubectl get pods`."
        elif status == 403 and OVER_QUOTA in said:
            text = f"The quota of namespace {self.namespace!r} is used up: cannot {what}: {said}"
        elif status == 403 and refused:
            text = (
                f"Permission missing: {refused['user']} may not {refused['verb']} {refused['resource']} in namespace "
                f"{self.namespace!r}. Ask for a Role with that verb; docs/kubernetes.md lists all that actorq needs."
            )
        elif status == 404 and method == "POST":
            text = f"Cannot {what}: is there a namespace {self.namespace!r}? The cluster says: {said}"
        elif status in (422, 400):
            text = f"The cluster takes this for invalid: cannot {what}: {said}"
        else:
            text = f"Cannot {what}: the cluster answers {status}: {said}"
        return KubernetesError(text, status=status)


#: API servers that were said to be taken on trust
_unverified: set[str] = set()


def _say_unverified(host: str) -> None:
    """Once for an API server; urllib3 would say it with every request."""
    from urllib3.exceptions import InsecureRequestWarning

    name = re.escape(str(urlsplit(host).hostname))
    warnings.filterwarnings(
        "ignore", f"Unverified HTTPS request is being made to host '{name}'", InsecureRequestWarning
    )
    if host not in _unverified:
        _unverified.add(host)
        warn(
            f"Whoever answers at {host} is taken for the Kubernetes API, since the kubeconfig has "
            "insecure-skip-tls-verify: give it certificate-authority-data instead."
        )


_VERBS = {"GET": "read", "POST": "create", "PATCH": "change", "DELETE": "delete"}


def _name_of(body: Any) -> str:
    return str(body.get("metadata", {}).get("name", "")) if isinstance(body, dict) else ""


def _made_by(found: Manifest) -> str | None:
    """The request that made an object."""
    request: str | None = (found["metadata"].get("annotations") or {}).get(_REQUEST)
    return request
