"""The manifests of docs/clusters.md fit the schemas of Dask's operator, and their commands run."""

import importlib.util
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.execution.recipes import BIN, environment, recipes, run, running_scheduler, started
from tests.pipelines.town import Town, contents

OPERATOR = importlib.util.find_spec("dask_kubernetes") is None
pytestmark = pytest.mark.servers


def manifests(name: str) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(recipes()[name]))
    return documents


def schema() -> dict[str, Any]:
    """Of a DaskCluster, from the operator's own definition; unknown fields are refused."""
    folder = (
        files("dask_kubernetes") / "operator" / "deployment" / "helm" / "dask-kubernetes-operator" / "crds"
    )
    definition = yaml.safe_load((folder / "daskcluster.yaml").read_text())
    (version,) = definition["spec"]["versions"]
    whole: dict[str, Any] = _closed(version["schema"]["openAPIV3Schema"])
    return whole


def _closed(node: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The same schema that takes no field it does not name, as `kubectl apply` in its strict mode."""
    if isinstance(node, list):
        return [_closed(part) for part in node]
    if not isinstance(node, dict):
        return node
    closed = {name: _closed(part) for name, part in node.items()}
    if isinstance(closed.get("properties"), dict) and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    if closed.pop("x-kubernetes-int-or-string", False):
        closed.pop("type", None)
    return closed


@pytest.mark.skipif(OPERATOR, reason="its schemas come with dask-kubernetes: the extra `servers`")
def test_the_cluster_is_one_that_the_operator_takes() -> None:
    cluster, policy = manifests("cluster.yaml")
    whole = schema()
    # The schema of a resource names what it adds; these three every resource has.
    whole["properties"] |= {"apiVersion": {"const": "kubernetes.dask.org/v1"}, "kind": {}, "metadata": {}}
    jsonschema.validate(cluster, whole)
    broken = {**cluster, "spec": {**cluster["spec"], "worker": {"replicas": "eight"}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, whole)
    assert policy["kind"] == "NetworkPolicy"


@pytest.mark.skipif(OPERATOR, reason="its schemas come with dask-kubernetes: the extra `servers`")
def test_the_job_has_a_pod_as_pods_are() -> None:
    (job,) = manifests("build.yaml")
    pod = schema()["properties"]["spec"]["properties"]["worker"]["properties"]["spec"]
    jsonschema.validate(job["spec"]["template"]["spec"], pod)
    kubernetes = pytest.importorskip("kubernetes", reason="comes with the extra `servers`")
    known = set(kubernetes.client.V1JobSpec.attribute_map.values())
    assert set(job["spec"]) <= known
    policy = manifests("cluster.yaml")[1]["spec"]
    assert set(policy) <= set(kubernetes.client.V1NetworkPolicySpec.attribute_map.values())


def test_the_commands_of_the_containers_build_a_data_set(town: Town, built: Path, tmp_path: Path) -> None:
    cluster, _ = manifests("cluster.yaml")
    (job,) = manifests("build.yaml")
    (scheduling,), (working,) = (
        cluster["spec"][part]["spec"]["containers"] for part in ("scheduler", "worker")
    )
    (building,) = job["spec"]["template"]["spec"]["containers"]
    assert scheduling["command"] == ["dask", "scheduler"]
    assert working["command"] == ["dask", "worker"]
    root, env = tmp_path / "root", environment()
    named = [part.replace("$(DASK_WORKER_NAME)", "worker-0") for part in working["args"]]
    with running_scheduler(tmp_path, env) as file:
        address = json.loads(file.read_text())["address"]
        with started([BIN / "dask", "worker", address, *named], tmp_path, env, "worker"):
            ours = {"CA,TX": "CA", "s3://bucket/gl10m": str(root), "tcp://gl10m-scheduler:8786": address}
            arguments = [ours.get(part, part) for part in building["args"]]
            place = ["--osm", str(town.osm), "--source", "stac", "--stac-url", town.address]
            ended = run(["gl10m", *arguments, *place], tmp_path, env)
    assert ended.returncode == 0, ended.stderr
    assert contents(root) == contents(built)


def test_the_dockerfile_installs_what_is_here() -> None:
    """Docker is not at hand in the tests: its lines are looked at one by one."""
    lines = recipes()["Dockerfile"].splitlines()
    assert lines[0].startswith("FROM python:3.")
    assert any("-c /src/constraints.txt /src" in line for line in lines)
    assert lines[-1] == 'ENTRYPOINT ["gl10m"]'
    assert "on-kubernetes.sh" in recipes()
