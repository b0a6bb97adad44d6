"""The hub of deploy/jupyterhub: settings that exist, secrets that stay private, and a session as a person has one."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import kubernetes_validate.utils as kubernetes
import pytest
import yaml

from mlc_dask.compute import backends as clusters

jupyterhub = pytest.importorskip("jupyterhub", reason="needs pip install 'mlc-dask[hub]'")
gateway_server = pytest.importorskip("dask_gateway_server", reason="needs pip install 'mlc-dask[hub]'")

from dask_gateway_server.app import DaskGateway  # noqa: E402
from dask_gateway_server.auth import JupyterHubAuthenticator  # noqa: E402
from dask_gateway_server.backends.local import LocalClusterConfig, UnsafeLocalBackend  # noqa: E402
from dask_gateway_server.options import Options  # noqa: E402
from dask_gateway_server.proxy.core import Proxy  # noqa: E402
from jupyterhub.app import JupyterHub  # noqa: E402
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator  # noqa: E402
from jupyterhub.proxy import ConfigurableHTTPProxy  # noqa: E402
from jupyterhub.spawner import SimpleLocalProcessSpawner  # noqa: E402
from traitlets.config import Config  # noqa: E402
from traitlets.config.loader import PyFileConfigLoader  # noqa: E402

HUB = Path(__file__).parents[1] / "deploy" / "jupyterhub"
CHROMIUM, NODE = shutil.which("chromium"), shutil.which("node")
HUB_CLASSES = (JupyterHub, ConfigurableHTTPProxy, SharedPasswordAuthenticator, SimpleLocalProcessSpawner)
GATEWAY_CLASSES = (DaskGateway, JupyterHubAuthenticator, UnsafeLocalBackend, LocalClusterConfig, Proxy)
SERVICE = {
    "MLC_GATEWAY": "127.0.0.1:8003",
    "MLC_GATEWAY_API": "127.0.0.1:8004",
    "MLC_GATEWAY_CLUSTERS": "clusters",
}

needs_node = pytest.mark.skipif(NODE is None, reason="node runs the hub's proxy")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The hub's settings, of a server where it was never started."""
    monkeypatch.setenv("MLC_HUB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLC_HUB_PORT", raising=False)
    return PyFileConfigLoader("jupyterhub_config.py", path=str(HUB)).load_config()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Config:
    """The gateway's settings, as a service of the hub."""
    for name, value in SERVICE.items():
        monkeypatch.setenv(name, value)
    return PyFileConfigLoader("dask_gateway_config.py", path=str(HUB)).load_config()


def unknown(config: Config, classes: Sequence[type]) -> set[str]:
    """Settings that no class, nor what it inherits from, has."""
    traits = {
        c.__name__: c.class_traits(config=True)
        for known in classes
        for c in known.__mro__
        if hasattr(c, "class_traits")
    }
    return {f"{c}.{name}" for c, settings in config.items() for name in settings if name not in traits.get(c, {})}


@needs_node
def test_all_settings_of_the_hub_exist(hub: Config) -> None:
    assert not unknown(hub, HUB_CLASSES)
    hub.Spawner.environmemt = {}
    assert unknown(hub, HUB_CLASSES) == {"Spawner.environmemt"}


def test_all_settings_of_the_gateway_exist(gateway: Config) -> None:
    assert not unknown(gateway, GATEWAY_CLASSES)
    gateway.Prosy.address = ""
    assert unknown(gateway, GATEWAY_CLASSES) == {"Prosy.address"}


@needs_node
def test_only_the_loopback_interface_is_listened_on(hub: Config, gateway: Config) -> None:
    (service,) = hub.JupyterHub.services
    given = (hub.JupyterHub.bind_url, hub.JupyterHub.hub_bind_url, hub.ConfigurableHTTPProxy.api_url)
    hosts = [url.removeprefix("http://") for url in given]
    hosts += [gateway.DaskGateway.address, gateway.Proxy.address]
    hosts += [service["environment"][name] for name in ("MLC_GATEWAY", "MLC_GATEWAY_API")]
    assert {host.partition(":")[0] for host in hosts} == {"127.0.0.1"}
    assert UnsafeLocalBackend.default_host == "127.0.0.1", "of schedulers and workers"


@needs_node
def test_dashboards_are_behind_the_login(hub: Config) -> None:
    """The gateway's own proxy asks nobody, so the hub's must not lead to it."""
    (service,) = hub.JupyterHub.services
    assert "url" not in service
    spawner = SimpleNamespace(server=SimpleNamespace(base_url="/user/ada/"))
    public = hub.Spawner.environment["DASK_GATEWAY__PUBLIC_ADDRESS"](spawner)
    assert public == f"{hub.JupyterHub.bind_url}/user/ada/proxy/{service['environment']['MLC_GATEWAY']}"


@needs_node
def test_the_password_is_made_once_and_is_private(hub: Config, tmp_path: Path) -> None:
    file = tmp_path / "state" / "password"
    assert len(file.read_text()) >= 32
    assert hub.SharedPasswordAuthenticator.user_password == file.read_text()
    assert [stat.S_IMODE(place.stat().st_mode) for place in (file, file.parent)] == [0o600, 0o700]
    again = PyFileConfigLoader("jupyterhub_config.py", path=str(HUB)).load_config()
    assert again.SharedPasswordAuthenticator.user_password == file.read_text()
    os.environ["MLC_HUB_STATE"] = str(tmp_path / "other")
    other = PyFileConfigLoader("jupyterhub_config.py", path=str(HUB)).load_config()
    assert other.SharedPasswordAuthenticator.user_password != file.read_text()


@needs_node
def test_a_new_person_finds_the_first_notebook_once(hub: Config, tmp_path: Path) -> None:
    spawner = SimpleNamespace(user=SimpleNamespace(name="ada"))
    notebook = tmp_path / "state" / "homes" / "ada" / "first-run.ipynb"
    hub.Spawner.pre_spawn_hook(spawner)
    assert {cell["cell_type"] for cell in json.loads(notebook.read_text())["cells"]} == {"markdown", "code"}
    notebook.write_text("mine now")
    hub.Spawner.pre_spawn_hook(spawner)
    assert notebook.read_text() == "mine now"


def test_workers_are_those_of_a_local_run(gateway: Config) -> None:
    own = gateway.ClusterConfig.environment
    wanted = {name: str(v) for name, v in clusters.WORKER_ENVIRONMENT.items()}
    assert own == wanted | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "5"}
    assert clusters._SETTINGS["distributed.scheduler.allowed-failures"] == 5
    assert gateway.ClusterConfig.worker_threads == 1


def test_memory_of_a_worker_may_be_chosen_within_the_machine(gateway: Config) -> None:
    options: Options = gateway.Backend.cluster_options
    chosen = options.get_configuration(options.parse_options({"worker_memory": 0.5}), None)
    assert LocalClusterConfig(config=gateway, **chosen).worker_memory == 2**29
    with pytest.raises(ValueError, match="worker_memory must be <="):
        options.parse_options({"worker_memory": 2**20})


def test_the_proxy_is_pinned_wherever_it_comes_from() -> None:
    lock = json.loads((HUB / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    wanted = json.loads((HUB / "package.json").read_text())["dependencies"]
    assert packages["node_modules/configurable-http-proxy"]["version"] == wanted["configurable-http-proxy"]
    assert all("integrity" in package and "resolved" not in package for package in packages.values())


def values(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((HUB / "kubernetes" / f"{name}.yaml").read_text())
    return found


def executed(snippets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Config:
    """Settings that the Python inside of values makes."""
    monkeypatch.setenv("MLC_HUB_PASSWORD", "correct horse battery staple")
    config = Config()
    for name in sorted(snippets):
        exec(compile(snippets[name], name, "exec"), {"c": config})
    return config


def test_python_in_the_charts_values_sets_what_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = executed(values("jupyterhub")["hub"]["extraConfig"], monkeypatch)
    assert hub.SharedPasswordAuthenticator.user_password == "correct horse battery staple"
    assert not unknown(hub, HUB_CLASSES)
    gateway = executed(values("dask-gateway")["gateway"]["extraConfig"], monkeypatch)
    assert not unknown(gateway, GATEWAY_CLASSES)


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}")
    else:
        yield path, node


def test_values_hold_no_secret() -> None:
    """Those are in Secrets, named here by what ends in Name, Key or key."""
    words = ("password", "token", "secret")
    for name in ("jupyterhub", "dask-gateway"):
        found = {path: v for path, v in leaves(values(name)) if any(w in path.lower() for w in words)}
        allowed = ("name", "Name", "key", "Key", ".extraConfig.password", ".authenticator_class")
        assert all(path.endswith(allowed) for path in found), found


def test_both_charts_agree() -> None:
    hub, gateway = values("jupyterhub"), values("dask-gateway")["gateway"]
    person = hub["singleuser"]
    assert gateway["backend"]["image"].items() >= person["image"].items(), "one image, so one version"
    assert person["extraEnv"]["DASK_GATEWAY__ADDRESS"].endswith(gateway["prefix"])
    (service,) = hub["hub"]["services"]
    assert gateway["auth"]["jupyterhub"]["apiTokenFromSecretKey"] == f"hub.services.{service}.apiToken"
    assert gateway["prefix"] == f"/services/{service}"
    mounts = [gateway["backend"][kind]["extraContainerConfig"]["volumeMounts"] for kind in ("scheduler", "worker")]
    for mount in person["storage"]["extraVolumeMounts"]:
        assert all(mount in own for own in mounts), "the same folders at the same paths"


@pytest.mark.parametrize("is_worker", [False, True])
def test_pods_of_the_gateway_are_valid_and_confined(is_worker: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made by the gateway's own controller from the values, as its chart hands them on."""
    controllers = pytest.importorskip(
        "dask_gateway_server.backends.kubernetes.controller", reason="needs kubernetes-asyncio"
    )
    pod = made_pod(controllers, is_worker, monkeypatch)
    pod["metadata"].setdefault("name", "worker")
    kubernetes.validate(pod, kubernetes.latest_version(), strict=True)
    (container,) = pod["spec"]["containers"]
    assert container["args"][:2] == ["dask", "worker" if is_worker else "scheduler"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert {m["mountPath"] for m in container["volumeMounts"]} >= {"/data", "/tmp", "/etc/dask-credentials/"}
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["spec"]["volumes"]}


def made_pod(controllers: ModuleType, is_worker: bool, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    from dask_gateway_server.backends.kubernetes.backend import KubeClusterConfig

    own = values("dask-gateway")["gateway"]
    backend = own["backend"]
    settings: dict[str, Any] = {"image": ":".join((backend["image"]["name"], backend["image"]["tag"]))}
    settings["environment"] = backend["environment"]
    for kind in ("scheduler", "worker"):
        given = backend[kind]
        for resource in ("cores", "memory"):
            settings[f"{kind}_{resource}"] = given[resource]["request"]
            settings[f"{kind}_{resource}_limit"] = given[resource]["limit"]
        settings[f"{kind}_extra_pod_config"] = given["extraPodConfig"]
        settings[f"{kind}_extra_container_config"] = given["extraContainerConfig"]
    config = KubeClusterConfig(config=executed(own["extraConfig"], monkeypatch), **settings)
    controller = controllers.KubeController(gateway_instance="mlc-dask-gateway", api_url="http://api/api")
    pod: dict[str, Any] = controller.make_pod("maps", "0123abc", config, is_worker=is_worker)
    return pod


def test_network_policies_are_valid() -> None:
    kubernetes.validate(values("network-policy"), kubernetes.latest_version(), strict=True)
    hub = values("jupyterhub")
    for spec in (
        {"ingress": hub["hub"]["networkPolicy"]["ingress"]},
        {"egress": hub["singleuser"]["networkPolicy"]["egress"]},
    ):
        policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "chart"}}
        kubernetes.validate(policy | {"spec": {"podSelector": {}, **spec}}, kubernetes.latest_version(), strict=True)


@pytest.mark.slow
@needs_node
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_a_session_from_login_to_maps(tmp_path: Path) -> None:
    """Browser, hub, gateway, notebook, run, dashboards; the maps are the bytes of a local run."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    if not (HUB / "node_modules" / ".bin" / "configurable-http-proxy").exists():
        pytest.skip("needs the hub's proxy: npm ci --prefix deploy/jupyterhub")
    spec = importlib.util.spec_from_file_location("session_test", HUB / "session_test.py")
    assert spec and spec.loader
    session = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(session)
    assert session.try_hub(tmp_path)
    assert sorted(picture.name for picture in tmp_path.glob("*.png")) == [
        "1-login.png", "2-notebook.png", "3-run.png", "4-patches.png", "5-maps.png", "6-cluster.png", "7-button.png",
    ]  # fmt: skip
