"""Which server and which replicas serve an environment, for this program.

ACTORQ_REDIS_URL   ACTORQ_KUBERNETES_NAMESPACE
not set            -        an embedded server, and local replicas that end with the program
set                not set  the replicas that serve that server, whoever started them
set                set      the same; an environment that names an image, and that no chart release serves, gets a
Deployment of its own, and inputs of regular tasks get pods
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actorq.base.settings import settings
from actorq.declare.environment import ActorEnvironment, Environment, TaskEnvironment
from actorq.declare.status import PoolStatus
from actorq.errors import ActorqError, BrokerError, DeclarationError, PoolError

if TYPE_CHECKING:
    from actorq.broker.client import Client
    from actorq.declare.map_options import MapOptions
    from actorq.kube.api import KubeApi
    from actorq.kube.pool import KubernetesPool
    from actorq.maps.pools import Pool
    from actorq.maps.transport import Transport
    from actorq.runtime.embedded import EmbeddedServer
    from actorq.runtime.local import LocalPool
    from actorq.runtime.wanted import Wishes
    from actorq.wire.lease import Bundle

#: what the first map imports is imported by one thread: of five that started maps at once on a busy machine, four were
#: told by Python 3.13.0 that a module is not there which the fifth was just importing
_IMPORTS = threading.RLock()


def _forked() -> None:
    """In a fork of the program nobody holds it."""
    global _IMPORTS
    _IMPORTS = threading.RLock()


os.register_at_fork(after_in_child=_forked)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a map runs."""

    #: its options, fitted to the place
    options: MapOptions
    #: makes the transport, from the map's id and its owner
    transport: Callable[[str, str], Transport]


class Pools:
    """Those of one process. Any thread may use it.

    Args:
        in_use: tells whether a map of the named environment runs.
    """

    def __init__(self, in_use: Callable[[str], bool]) -> None:
        self.lock = threading.RLock()
        self.closed = False
        self.client: Client | None = None
        self.local: dict[str, LocalPool] = {}
        self.generation = 0  # grows when the server is let go: what was made for it is of no use then
        self._in_use = in_use
        self._server: EmbeddedServer | None = None
        self._on_cluster: dict[str, KubernetesPool] = {}
        self._wishes: Wishes | None = None

    @contextmanager
    def beginning(self, environment: Environment) -> Iterator[None]:
        """Around what a thread imports for its first map. Before that, what takes longest is begun: this program's own
        server, and the replicas of `environment`, if it is served by such.
        """
        if self._server is None and isinstance(environment, ActorEnvironment):
            with suppress(ActorqError):  # which `connect` tells
                self._begin(environment)
        with _IMPORTS:
            yield

    def connect(self, environment: ActorEnvironment, inputs: int | None = None) -> tuple[Client, Pool]:
        """The server that serves `environment`, and what is known of its replicas: there are some, or soon will be.

        `inputs`: how many there are to run, None when nobody knows.
        """
        with self.lock:
            client = self._connected()
            if self._server is not None:
                pool = self._local_pool(environment, client.url)
                self._wait_ready(self._server)
                self._hear_wishes(client.url)
                return client, pool
            cluster = self._cluster_pool(environment, client)
            if cluster is None:
                return client, self._elsewhere(environment, client)
            cluster.ensure(inputs)
            return client, cluster

    def for_actors(self, environment: ActorEnvironment, options: MapOptions, inputs: int | None) -> Place:
        """Where a map of `inputs` inputs runs on warm replicas."""
        options = self.with_code(environment, options)

        def transport(map_id: str, owner: str) -> Transport:
            with _IMPORTS:
                from actorq.maps.redis_transport import RedisTransport

            client, pool = self.connect(environment, inputs)
            return RedisTransport(client, map_id, owner, options, lease_seconds=environment.lease_seconds, pool=pool)

        return Place(options=options, transport=transport)

    def for_regular(self, environment: TaskEnvironment, options: MapOptions, inputs: int | None) -> Place:
        """Where a map of `inputs` inputs of a regular task runs: in processes beside this one, or in pods."""
        if settings().kubernetes_namespace is None:
            from actorq.oneshot.processes import ProcessTransport

            return Place(options=options, transport=lambda map_id, owner: ProcessTransport(environment, options))
        from actorq.kube.regular import in_pods

        concurrency = options.concurrency
        options = self.with_code(environment, in_pods(options, inputs))

        def transport(map_id: str, owner: str) -> Transport:
            from actorq.kube.address import PodAddress
            from actorq.kube.regular import PodTransport

            with self.lock:
                client = self._connected()
            return PodTransport(
                environment,
                [] if options.bundle is not None else _modules(environment),
                client,
                map_id,
                owner,
                options,
                api=_api(),
                address=PodAddress.of(settings(), client.url),
                acl_url=settings().acl_url,
                concurrency=concurrency,
            )

        return Place(options=options, transport=transport)

    def with_code(self, environment: Environment, options: MapOptions) -> MapOptions:
        """`options` with the code that travels with the map, if it does."""
        bundle = self.bundle_of(environment)
        if bundle is None:
            return options
        return replace(options, bundle=bundle, head=options.head.with_code(bundle.code))

    def bundle_of(self, environment: Environment) -> Bundle | None:
        """The code that replicas of `environment` are sent; None where they have it."""
        with _IMPORTS:
            from actorq.code import bundle

        return bundle.pack(environment.name, environment.modules) if self._sends_code(environment) else None

    def _sends_code(self, environment: Environment) -> bool:
        with _IMPORTS:
            from actorq.code import bundle

        in_pods = settings().kubernetes_namespace is not None and environment.container_image is not None
        if self._server is not None or settings().redis_url is None or settings().replica_of is not None:
            return False  # local replicas import what this program has imported
        return environment.code == "bundle" or (
            environment.code is None and in_pods and bundle.is_project_code(environment.modules)
        )

    # -- what a person asks for ----------------------------------------------------------------------------------------

    def up(self, environment: ActorEnvironment) -> None:
        with self.lock:
            client = self._connected()
            if self._server is not None:
                self.connect(environment)
                return
            self._on_demand(environment, client).up()

    def down(self, environment: ActorEnvironment) -> None:
        with self.lock:
            client = self._connected()
            if self._server is not None:
                pool = self.local.pop(environment.name, None)
                if pool is not None:
                    pool.stop()
                    self._forget_replicas(environment.name)
                return
            self._on_demand(environment, client).down()

    def scale(self, environment: ActorEnvironment, replicas: int) -> None:
        with self.lock:
            client = self._connected()
            if self._server is not None:
                raise PoolError(
                    f"The replicas of {environment.name!r} are processes of this program: "
                    "declare another replica_count. Only replicas on a cluster can be scaled."
                )
            self._on_demand(environment, client).scale(replicas)

    def status(self, environment: ActorEnvironment) -> PoolStatus:
        from actorq.broker.records import replica_count

        with self.lock:
            client = self._connected()
            cluster = None if self._server is not None else self._cluster_pool(environment, client)
            if cluster is not None:
                return cluster.status()
            with client.lent() as link:
                ready = replica_count(link, environment.name)
            running = environment.name in self.local
            return PoolStatus(wanted=environment.replica_count if running else 0, ready=ready)

    @property
    def owns_state(self) -> bool:
        """Whether the server is this program's alone, and knows of programs before it."""
        return self._server is not None and settings().state_dir is not None

    @property
    def forgets(self) -> bool:
        """Whether all that the server knows ends with this program."""
        return self._server is not None and not self._server.has_ended and settings().state_dir is None

    def server(self) -> Client:
        """The server's client, which is started when first needed."""
        with self.lock:
            client = self._connected()
            if self._server is not None:
                self._wait_ready(self._server)
            return client

    @property
    def server_has_ended(self) -> bool:
        """Whether this program's own server is known to be gone."""
        server = self._server
        return server is not None and server.has_ended

    # -- ending --------------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Lets go of the server, and of the pools that serve it: a later map starts anew. Pools on a cluster stay."""
        for pool in self.local.values():
            pool.drain()  # all at the same time
        for pool in self.local.values():
            pool.stop()
        if self.client is not None:
            self.client.close()
        if self._server is not None:
            self._server.stop()
        self.local, self._on_cluster, self.client, self._server = {}, {}, None, None
        self.generation += 1

    def forget(self) -> None:
        """In a forked child: the parent's pools and server are not ours to keep alive."""
        for pool in self.local.values():
            pool.forget()
        if self._server is not None:
            self._server.forget()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _begin(self, environment: ActorEnvironment) -> None:
        """Waits for nothing. A server that keeps what it knows is asked first which replicas it must forget."""
        with self.lock:
            if self._server is None and settings().redis_url is None and settings().state_dir is None:
                self._refuse_if_none_may_start()
                self._local_pool(environment, self._own_server().url)

    def _refuse_if_none_may_start(self) -> None:
        _refuse_while_imported()
        if self.closed:
            raise PoolError("The program is ending: no map can start any more.")

    def _connected(self) -> Client:
        """The server's client, started when first needed."""
        self._refuse_if_none_may_start()
        if self._server is not None and self.client is not None and not self._server.answers():
            self.drop()
        if self.client is None:
            url, gone = settings().redis_url, {}
            if url is None:
                server = self._own_server()
                url, gone = server.url, {"is_gone": server.is_gone}
            with _IMPORTS:
                from actorq.broker.client import Client

            self.client = Client(url, settings().broker_timeout, **gone)
        return self.client

    def _own_server(self) -> EmbeddedServer:
        """That of this program, started when first needed."""
        if settings().kubernetes_namespace is not None:
            raise DeclarationError(
                "ACTORQ_KUBERNETES_NAMESPACE is set, and pods cannot reach an embedded server: "
                "set ACTORQ_REDIS_URL to one that they can."
            )
        if self._server is None:
            with _IMPORTS:
                from actorq.runtime.embedded import EmbeddedServer

            state = settings().state_dir
            self._server = EmbeddedServer(None if state is None else Path(state))
        return self._server

    def _wait_ready(self, server: EmbeddedServer) -> None:
        """Lets go of one that does not start: the next map starts another."""
        try:
            server.wait_ready()
        except BrokerError:
            self.drop()
            raise

    def _local_pool(self, environment: ActorEnvironment, url: str) -> LocalPool:
        with _IMPORTS:
            from actorq.runtime.embedded import why
            from actorq.runtime.local import LocalPool

        pool = self.local.get(environment.name)
        if pool is not None and pool.alive and not pool.serves(environment):
            if self._in_use(environment.name):
                raise PoolError(
                    f"A task of {environment.name!r} is declared in a module that its running replicas have not "
                    "imported, or that was reloaded since: import the module before the first map, or finish the maps "
                    "that run."
                )
            pool.stop()
        if pool is None or not pool.alive:
            if pool is not None:
                pool.stop()
            if pool is not None or settings().state_dir is not None:
                self._forget_replicas(environment.name)
            try:
                pool = self.local[environment.name] = LocalPool(environment, url)
            except OSError as error:
                raise PoolError(f"The replicas of {environment.name!r} cannot be started: {why(error)}") from error
        return pool

    def _forget_replicas(self, environment: str) -> None:
        """Those of a pool that has ended, on this program's own server: no lease may be handed to one of them.

        A pool is killed, or has died; only one with exit hooks has time to say goodbye.
        """
        from actorq.broker import records
        from actorq.broker.scripts import serving
        from actorq.broker.scripts.submitting import known_replicas

        assert self.client is not None
        if self._server is not None:
            self._server.wait_ready()
        with self.client.lent() as link:
            for name in {*known_replicas(link, environment), *records.idle_replicas(link, environment)}:
                serving.lost(link, environment, name, "its pool was ended")
                records.unregister(link, environment, name)

    def _hear_wishes(self, url: str) -> None:
        """From the first pool on: its tasks may ask for others."""
        if self._wishes is None or not self._wishes.is_alive():
            from actorq.runtime.wanted import Wishes

            self._wishes = Wishes(url, self._grant)
            self._wishes.start()

    def _grant(self, environment: ActorEnvironment) -> LocalPool:
        with self.lock:
            if self._server is None or self.client is None:
                raise PoolError("The program is ending: no pool can start any more.")
            return self._local_pool(environment, self.client.url)

    def _elsewhere(self, environment: ActorEnvironment, client: Client) -> Pool:
        """Replicas that this program does not make. In a replica there is no token to ask a cluster with."""
        if settings().owned:
            from actorq.runtime.wanted import WantedPool

            return WantedPool(environment, client)
        if settings().kubernetes_namespace is None or settings().replica_of is not None:
            from actorq.maps.remote import RemotePool

            return RemotePool(environment.name, client.url)
        from actorq.kube.release import ReleasePool

        return ReleasePool(environment.name, client.url, _api)

    def _on_demand(self, environment: ActorEnvironment, client: Client) -> KubernetesPool:
        """For what a person asks of a pool. Raises `PoolError` where there is no cluster to ask."""
        pool = self._cluster_pool(environment, client)
        if pool is None:
            raise PoolError(
                f"The replicas of {environment.name!r} are started by somebody else. To have them made on a cluster, "
                "set ACTORQ_KUBERNETES_NAMESPACE, and container_image= on the environment."
            )
        return pool

    def _cluster_pool(self, environment: ActorEnvironment, client: Client) -> KubernetesPool | None:
        """The pool on demand of `environment`, None where it has none."""
        if settings().kubernetes_namespace is None or environment.container_image is None:
            return None
        if settings().replica_of is not None:
            return None  # in a replica: no token, and whoever declared the environment made its pool
        pool = self._on_cluster.get(environment.name)
        modules = [] if self._sends_code(environment) else _modules(environment)
        if pool is None or pool.modules != modules:
            from actorq.kube.address import PodAddress
            from actorq.kube.pool import KubernetesPool

            address = PodAddress.of(settings(), client.url)
            pool = KubernetesPool(environment, modules, _api(), client, address)
            self._on_cluster[environment.name] = pool
        return pool


def _modules(environment: Environment) -> list[str]:
    """The modules that declare its tasks and hooks, as a replica imports them from its image."""
    from actorq.code.importing import module_target

    return sorted({module_target(name).name for name in environment.modules})


def _api() -> KubeApi:
    from actorq.kube.api import KubeApi

    namespace: Any = settings().kubernetes_namespace
    return KubeApi(namespace)


def _refuse_while_imported() -> None:
    """A replica imports the submitter's script, which must not start maps of its own then."""
    from actorq.code import importing

    if importing.in_progress:
        raise importing.StopImport
