"""Files of deploy/: valid by strict schemas, confined, encrypted, and of one version everywhere."""

from __future__ import annotations

import copy
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dask.config
import jsonschema
import kubernetes_validate.utils as kubernetes
import pytest
import yaml
from distributed import Client
from distributed.cli.dask_scheduler import main as scheduler_command
from distributed.cli.dask_worker import main as worker_command
from distributed.security import Security

from mlc_dask.compute import backends as clusters
from mlc_dask.config import load_config

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "deploy" / "kubernetes"
APPLIED = ("base", "operator", "overlays/gpu-pool", "overlays/one-node", "overlays/podman", "run")
IN_A_CLUSTER = [folder for folder in APPLIED if folder != "overlays/podman"]
GIVEN = {"mlc-dask-tls", "mlc-dask-source"}
"""Secrets that people make, see docs/kubernetes.md."""

Document = dict[str, Any]

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders the overlays")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def documents(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]


def plain_manifests(folder: Path = MANIFESTS) -> dict[str, list[Document]]:
    """Documents of the files themselves, before any overlay; what only Kustomize or Dask reads is left out."""
    found = {str(p.relative_to(folder)): documents(p.read_text()) for p in sorted(folder.rglob("*.yaml"))}
    return {p: kept for p, all_ in found.items() if (kept := [d for d in all_ if is_resource(d)])}


def is_resource(document: Document) -> bool:
    return "kind" in document and not document["apiVersion"].startswith("kustomize")


@cache
def rendered(folder: str, root: Path = MANIFESTS) -> list[Document]:
    """What ``kubectl apply -k`` would send."""
    done = subprocess.run(["kubectl", "kustomize", root / folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def one(found: list[Document], kind: str, name: str) -> Document:
    (document,) = [d for d in found if d["kind"] == kind and d["metadata"]["name"] == name]
    return document


@cache
def operator_schemas() -> dict[str, tuple[str, Document]]:
    """Version and schema of each of the operator's kinds, closed: a key that it does not know is an error."""
    spec = importlib.util.find_spec("dask_kubernetes")
    assert spec is not None and spec.submodule_search_locations
    found = {}
    for path in Path(spec.submodule_search_locations[0]).glob("operator/deployment/helm/*/crds/*.yaml"):
        definition = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
        (version,) = definition["versions"]
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
        close(schema)
        found[definition["names"]["kind"]] = (f"{definition['group']}/{version['name']}", schema)
    return found


def close(schema: Any) -> None:
    if isinstance(schema, list):
        for part in schema:
            close(part)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    for part in schema.values():
        close(part)


def fault(document: Document) -> str | None:
    """What an API server would refuse in `document`, its unknown keys included."""
    version, schema = operator_schemas().get(document["kind"], (None, None))
    try:
        if schema is None:
            kubernetes.validate(document, kubernetes.latest_version(), strict=True)
        else:
            assert document["apiVersion"] == version
            jsonschema.Draft202012Validator(schema).validate(document)
    except jsonschema.ValidationError as error:
        return f"{document['kind']} {document['metadata']['name']}: {error.message}"
    return None


@pytest.fixture(scope="module", autouse=True)
def schemas_are_read_once() -> Iterator[None]:
    read = kubernetes.schema_contents
    kubernetes.schema_contents = cache(read)
    yield
    kubernetes.schema_contents = read


PLAIN = plain_manifests()


@pytest.mark.parametrize("file", PLAIN)
def test_manifests_are_valid(file: str) -> None:
    assert [fault(d) for d in PLAIN[file]] == [None] * len(PLAIN[file])


@needs_kubectl
@pytest.mark.parametrize("folder", APPLIED)
def test_rendered_manifests_are_valid(folder: str) -> None:
    found = rendered(folder)
    assert [fault(d) for d in found] == [None] * len(found)


def test_every_kustomization_is_looked_at() -> None:
    own = {str(p.parent.relative_to(MANIFESTS)) for p in MANIFESTS.rglob("kustomization.yaml")}
    assert own == {*APPLIED, "common", "worker", "gpu-worker", "components/image"}


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("base/scheduler.yaml", "targetPort:", "targetport:"),
        ("base/scheduler.yaml", "kind: Deployment", "kind: Deploymnet"),
        ("base/scheduler.yaml", "replicas: 1", 'replicas: "one"'),
        ("common/network-policy.yaml", "endPort:", "endport:"),
        ("common/storage.yaml", "accessModes:", "accessMode:"),
        ("operator/autoscaler.yaml", "maximum:", "maximun:"),
        ("operator/autoscaler.yaml", "minimum: 1", "minimum: some"),
        ("operator/cluster.yaml", "replicas:", "replicaz:"),
        ("operator/cluster.yaml", "readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
        ("operator/cluster.yaml", "    service:", "    serviec:"),
        ("overlays/one-node/volume.yaml", "hostPath:", "hostpath:"),
        ("run/job.yaml", "backoffLimit:", "backOffLimit:"),
        ("run/job.yaml", "        runAsNonRoot: true", "        runAsNonRoot: yes please"),
        ("worker/worker.yaml", "readOnlyRootFilesystem:", "readonlyRootFilesystem:"),
        ("worker/worker.yaml", "maxUnavailable:", "maxUnavailble:"),
        ("worker/worker.yaml", "resourceFieldRef:", "resourcesFieldRef:"),
    ],
)
def test_a_typo_is_found(file: str, right: str, wrong: str, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / file).read_text()
    assert right in text
    (tmp_path / file).write_text(text.replace(right, wrong, 1))
    try:
        found = [fault(d) for d in plain_manifests(tmp_path)[file]]
    except kubernetes.SchemaNotFoundError as error:
        found = [error.message]
    assert any(found)


FREE = {"labels", "annotations", "matchLabels", "data", "limits", "requests", "capacity", "nodeSelector"}
"""Mappings whose keys are anybody's."""


def keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all keys of a document that mean something to the API."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from keys(item, (*path, i))
    elif isinstance(value, dict):
        free_selector = path[-1:] == ("selector",) and "matchLabels" not in value
        for key, item in value.items() if not (path and path[-1] in FREE) and not free_selector else ():
            yield (*path, key)
            yield from keys(item, (*path, key))


def renamed(document: Document, path: tuple[Any, ...]) -> Document:
    changed = copy.deepcopy(document)
    place: Any = changed
    for part in path[:-1]:
        place = place[part]
    place[f"{path[-1]}x"] = place.pop(path[-1])
    return changed


@pytest.mark.parametrize("file", PLAIN)
def test_no_key_can_be_misspelt(file: str) -> None:
    for document in PLAIN[file]:
        for path in keys(document):
            if path[0] not in ("apiVersion", "kind", "metadata"):
                assert fault(renamed(document, path)), f"{document['kind']}: nobody missed {path}"


def pods(found: list[Document]) -> dict[str, Document]:
    """Pod templates of what is applied, by the name and the kind of what makes them."""
    templates = {}
    for document in found:
        name = document["metadata"]["name"]
        if document["kind"] in ("Deployment", "Job"):
            templates[name] = document["spec"]["template"]
        elif document["kind"] == "DaskCluster":
            labels = document["metadata"]["labels"]
            for role in ("scheduler", "worker"):
                own = copy.deepcopy(document["spec"][role])
                own["metadata"]["labels"] |= labels
                templates[f"{name}-{role}"] = own
    return templates


@needs_kubectl
@pytest.mark.parametrize("folder", APPLIED)
def test_pods_are_confined(folder: str) -> None:
    for name, template in pods(rendered(folder)).items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] == 1000, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec), name
        assert not any("hostPath" in volume for volume in spec["volumes"]), name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in container["resources"]["limits"], name


@needs_kubectl
@pytest.mark.parametrize("folder", IN_A_CLUSTER)
def test_pods_have_what_they_mount(folder: str) -> None:
    found = rendered(folder) + (rendered("base") if folder == "run" else [])
    there = {d["metadata"]["name"] for d in found if d["kind"] in ("ConfigMap", "PersistentVolumeClaim")} | GIVEN
    for name, template in pods(found).items():
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for volume in volumes.values():
            sources = [volume.get(kind, {}) for kind in ("configMap", "secret", "persistentVolumeClaim")]
            names = {source.get(key) for source in sources for key in ("name", "secretName", "claimName")}
            assert names - {None} <= there, name
        (container,) = template["spec"]["containers"]
        mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        assert mounted["/etc/dask"]["configMap"]["name"] == "mlc-dask-config", name
        assert mounted["/etc/mlc-dask/tls"]["secret"]["secretName"] == "mlc-dask-tls", name
        assert "emptyDir" in mounted["/tmp"] and "persistentVolumeClaim" in mounted["/data"], name


def test_nothing_speaks_plainly() -> None:
    for path in MANIFESTS.rglob("*.yaml"):
        assert "tcp://" not in path.read_text(), path
    comm = yaml.safe_load((MANIFESTS / "common/dask.yaml").read_text())["distributed"]["comm"]
    assert comm["require-encryption"] is True and comm["default-scheme"] == "tls"
    for role in ("scheduler", "worker", "client"):
        assert set(comm["tls"][role]) == {"cert", "key"}, role
    config = load_config(MANIFESTS / "run/mlc.toml")
    (service,) = [d for d in PLAIN["base/scheduler.yaml"] if d["kind"] == "Service"]
    assert config.execution.cluster == f"tls://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert config.output.is_relative_to("/data")
    assert config.product is not None and config.product.path.is_relative_to("/data")


@needs_kubectl
@pytest.mark.parametrize("folder", APPLIED)
def test_policy_admits_the_application_and_nobody_else(folder: str) -> None:
    found = rendered("base" if folder == "run" else folder)
    policy = one(found, "NetworkPolicy", "mlc-dask")["spec"]
    label = {"app.kubernetes.io/name": "mlc-dask"}
    assert policy["podSelector"] == {"matchLabels": label} and policy["policyTypes"] == ["Ingress"]
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": label}}]
    (ports,) = rule["ports"]
    for name, template in pods(found).items():
        assert template["metadata"]["labels"].items() >= label.items(), name
        for container in template["spec"]["containers"]:
            opened = {port["containerPort"] for port in container["ports"]} if "ports" in container else set()
            assert opened <= set(range(ports["port"], ports["endPort"] + 1)), name


def version() -> str:
    project: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return project


@needs_kubectl
def test_image_is_the_same_everywhere_and_named_once(tmp_path: Path) -> None:
    def images(root: Path) -> set[str]:
        found = [pods(rendered(folder, root)) for folder in APPLIED]
        containers = [c for p in found for template in p.values() for c in template["spec"]["containers"]]
        return {c["image"].removeprefix("localhost/") for c in containers}

    assert images(MANIFESTS) == {f"mlc-dask:{version()}"}
    shutil.copytree(MANIFESTS, tmp_path / "copy")
    place = tmp_path / "copy/components/image/kustomization.yaml"
    place.write_text(place.read_text().replace(f"newTag: {version()}", "newTag: 9.9-cuda"))
    assert images(tmp_path / "copy") == {"mlc-dask:9.9-cuda"}


@needs_kubectl
@pytest.mark.parametrize("folder", IN_A_CLUSTER)
def test_commands_are_understood(folder: str) -> None:
    for name, template in pods(rendered(folder)).items():
        (container,) = template["spec"]["containers"]
        program, command, *args = container["args"]
        if program != "dask":
            continue
        parse = {"scheduler": scheduler_command, "worker": worker_command}[command]
        settings = parse.make_context(command, [a.replace("$(MEMORY_LIMIT)", "8589934592") for a in args]).params
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert settings["dashboard_address"] == f":{ports['http-dashboard']}", name
        if command == "scheduler":
            assert settings["protocol"] == "tls" and int(settings["port"]) == ports["tcp-comm"], name
        else:
            assert settings["scheduler"].startswith("tls://mlc-dask-scheduler"), name
            assert int(settings["worker_port"]) == ports["tcp-comm"], name
            assert int(settings["nanny_port"]) == ports["tcp-nanny"], name


@needs_kubectl
def test_gpu_workers_are_the_cpu_workers_with_a_gpu() -> None:
    found = pods(rendered("overlays/gpu-pool"))
    plain, gpu = (copy.deepcopy(found[f"mlc-dask-worker{suffix}"]["spec"]) for suffix in ("", "-gpu"))
    settings = worker_command.make_context("worker", gpu["containers"][0].pop("args")[2:]).params
    assert settings["nthreads"] == 4 and settings["resources"] == "GPU=4"
    assert gpu["containers"][0].pop("resources")["limits"]["nvidia.com/gpu"] == "1"
    assert gpu.pop("tolerations") and gpu.pop("nodeSelector")
    del plain["containers"][0]["args"], plain["containers"][0]["resources"]
    assert gpu == plain


@needs_kubectl
def test_operator_runs_the_pods_of_base() -> None:
    operator, base = pods(rendered("operator")), pods(rendered("base"))
    assert operator["mlc-dask-scheduler"]["spec"] == base["mlc-dask-scheduler"]["spec"]
    worker = copy.deepcopy(operator["mlc-dask-worker"]["spec"])
    (container,) = worker["containers"]
    name = container["args"].index("--name")
    del container["args"][name : name + 2]
    container["env"] = [e for e in container["env"] if e["name"] != "DASK_SCHEDULER_ADDRESS"]
    assert worker == base["mlc-dask-worker"]["spec"]


@needs_kubectl
def test_what_the_operator_makes_is_valid_too() -> None:
    make = pytest.importorskip("dask_kubernetes.operator.controller.controller")
    cluster = one(rendered("operator"), "DaskCluster", "mlc-dask")
    scheduler, worker, labels = cluster["spec"]["scheduler"], cluster["spec"]["worker"], cluster["metadata"]["labels"]
    labels = labels | {"app.kubernetes.io/component": "worker"}
    names = {"worker_group_name": "mlc-dask-default", "namespace": "maps", "cluster_name": "mlc-dask", "uuid": "0"}
    made = [
        make.build_scheduler_deployment_spec("mlc-dask", scheduler["spec"], {}, labels),
        make.build_scheduler_service_spec("mlc-dask", scheduler["service"], {}, labels),
        make.build_worker_deployment_spec(**names, pod_spec=worker["spec"], annotations={}, labels=labels),
    ]
    assert [fault(document) for document in made] == [None] * 3
    assert "tcp://" not in str(made), "workers would use plain TCP"
    assert made[1]["metadata"]["name"] == "mlc-dask-scheduler", "the certificates' and the Job's name for it"


@needs_kubectl
def test_operator_may_ask_over_http() -> None:
    config = one(rendered("operator"), "ConfigMap", "mlc-dask-config")["data"]
    assert set(config) == {"dask.yaml", "operator.yaml"}
    routes = yaml.safe_load(config["operator.yaml"])["distributed"]["scheduler"]["http"]["routes"]
    defaults = next(d for d in dask.config.defaults if "distributed" in d)["distributed"]["scheduler"]["http"]["routes"]
    assert routes == [*defaults, "distributed.http.scheduler.api"]


def test_dask_knows_every_setting() -> None:
    def leaves(tree: Document, path: str = "") -> Iterator[str]:
        for key, value in tree.items():
            yield from leaves(value, f"{path}{key}.") if isinstance(value, dict) else [f"{path}{key}"]

    defaults = dask.config.merge(*dask.config.defaults)
    for file in ("common/dask.yaml", "operator/operator.yaml"):
        for key in leaves(yaml.safe_load((MANIFESTS / file).read_text())):
            dask.config.get(key, config=defaults)


def test_settings_are_those_of_local_workers() -> None:
    settings = clusters._SETTINGS
    instructions = (ROOT / "deploy/Dockerfile").read_text()
    for name, value in clusters.WORKER_ENVIRONMENT.items():
        assert re.search(rf"\b{name}={value}\b", instructions), f"{name} of the image"
    own = yaml.safe_load((MANIFESTS / "common/dask.yaml").read_text())
    failures = dask.config.get("distributed.scheduler.allowed-failures", config=own)
    assert failures == settings["distributed.scheduler.allowed-failures"]


def test_image_is_pinned_and_not_run_by_root() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+-\S+$", text, re.M), "the base image needs a full version"
    assert "--constraint /src/constraints.txt" in text
    last = text.split("\nFROM ")[-1]
    assert "\nUSER 1000:1000\n" in last and "\nUSER" not in last.split("\nUSER 1000:1000\n")[1]
    assert last.rstrip().endswith('CMD ["dask", "scheduler"]') and 'ENTRYPOINT ["tini", "--"]' in last


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        subprocess.run([ROOT / "deploy/gen-tls.sh", tmp_path / name, "1"], check=True, capture_output=True)
        return tmp_path / name

    return make


def security(folder: Path) -> Security:
    role = {"cert": str(folder / "tls.crt"), "key": str(folder / "tls.key")}
    return Security(
        require_encryption=True,
        tls_ca_file=str(folder / "ca.crt"),
        tls_client_cert=role["cert"],
        tls_client_key=role["key"],
    )


@pytest.mark.slow
@needs_openssl
def test_scheduler_admits_only_certificates_of_its_authority(
    certificates: Callable[[str], Path], tmp_path: Path
) -> None:
    own, foreign = certificates("own"), certificates("foreign")
    settings = (MANIFESTS / "common/dask.yaml").read_text().replace("/etc/mlc-dask/tls", str(own))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dask.yaml").write_text(settings)
    # As in the manifests, but on the loopback and free ports.
    here = ["--protocol", "tls", "--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    place = tmp_path / "scheduler.json"
    with subprocess.Popen(
        [sys.executable, "-m", "dask", "scheduler", *here, "--scheduler-file", place],
        env=os.environ | {"DASK_CONFIG": str(tmp_path / "config")},
        stderr=subprocess.DEVNULL,
    ) as scheduler:
        try:
            with Client(scheduler_file=str(place), security=security(own), timeout=30) as client:
                address = client.scheduler.address
                assert address.startswith("tls://")
            with pytest.raises(OSError):
                Client(address, security=security(foreign), timeout=3)
            with pytest.raises(OSError):
                Client(address.replace("tls", "tcp"), timeout=3)
        finally:
            scheduler.terminate()


@needs_openssl
def test_certificates_are_not_overwritten(certificates: Callable[[str], Path], tmp_path: Path) -> None:
    key = certificates("own") / "tls.key"
    before = key.read_bytes()
    assert key.stat().st_mode & 0o077 == 0
    with pytest.raises(subprocess.CalledProcessError):
        certificates("own")
    assert key.read_bytes() == before
    assert sorted(p.name for p in key.parent.iterdir()) == ["ca.crt", "tls.crt", "tls.key"]
