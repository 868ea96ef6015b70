"""The Kubernetes recipe against the schemas of Kubernetes and of Dask's operator, and its commands for real.

There is no cluster in a test: the manifests are checked, and the command lines of their containers run in a
network namespace, with the ports and names that they have in the cluster.
"""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.execution.recipes import BIN, environment, recipes, run
from tests.pipelines.town import Town
from tests.storage.object_server import CREDENTIALS

ROOT = Path(__file__).parents[2]


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(recipes()[name]))


def operator_schema(plural: str) -> dict[str, Any]:
    """The schema that the operator installs into a cluster."""
    spec = find_spec("dask_kubernetes")
    if spec is None or spec.origin is None:
        pytest.skip("no dask-kubernetes: pip install dask-kubernetes")
    charts = Path(spec.origin).parent / "operator" / "deployment" / "helm" / "dask-kubernetes-operator"
    definition = yaml.safe_load((charts / "crds" / f"{plural}.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert isinstance(schema, dict)
    return schema


def closed(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """A schema under which a field that it does not know is an error, as `kubectl apply` has it."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: closed(part) for name, part in schema.items()}
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


def test_the_cluster_is_one_that_the_operator_takes() -> None:
    cluster, _ = documents("cluster.yaml")
    schema = operator_schema("daskcluster")
    schema["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
    jsonschema.validate(cluster, closed(schema))
    cluster["spec"]["worker"]["spec"]["containers"][0]["imagee"] = "misspelt"
    with pytest.raises(jsonschema.ValidationError, match="imagee"):
        jsonschema.validate(cluster, closed(schema))


@pytest.mark.parametrize(("file", "number"), [("cluster.yaml", 1), ("build.yaml", 0)])
def test_policy_and_job_are_ones_that_kubernetes_takes(file: str, number: int) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    document = documents(file)[number]
    kubernetes_validate.validate(document, "1.32", strict=True)
    document["spec"]["podSelectorr"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.32", strict=True)


def test_the_policy_lets_in_those_whom_the_operator_labels() -> None:
    cluster, policy = documents("cluster.yaml")
    (job,) = documents("build.yaml")
    chosen = {"dask.org/cluster-name": cluster["metadata"]["name"]}
    assert policy["spec"]["podSelector"]["matchLabels"] == chosen
    allowed = [
        peer.get("podSelector", {}).get("matchLabels") for peer in policy["spec"]["ingress"][0]["from"]
    ]
    assert allowed[:2] == [chosen, {"job-name": job["metadata"]["name"]}]


def test_the_image_holds_what_the_build_needs() -> None:
    """Its base is a Python that the package takes, and the files that it installs from are there."""
    steps = recipes()["Dockerfile"]
    base = re.search(r"^FROM python:(\d+)\.(\d+)-slim$", steps, re.MULTILINE)
    assert base is not None
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert (int(base[1]), int(base[2])) >= tuple(int(part) for part in lowest.removeprefix(">=").split("."))
    for name in re.findall(r"/src/(\S+)", steps):
        assert (ROOT / name).is_file()
    assert "ENTRYPOINT" in steps


def test_the_commands_are_in_order() -> None:
    """The shell accepts them, and what they name is on the page."""
    steps = recipes()["on-kubernetes.sh"]
    checked = subprocess.run(["sh", "-n"], input=steps, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    applied = re.findall(r"kubectl apply -f (\S+)", steps)
    assert applied == ["cluster.yaml", "build.yaml"]
    assert set(applied) <= set(recipes())
    (job,) = documents("build.yaml")
    assert f"job/{job['metadata']['name']}" in steps


def commands() -> tuple[list[str], list[str], list[str]]:
    """Command lines of the scheduler, a worker and the build."""
    cluster, _ = documents("cluster.yaml")
    scheduler = cluster["spec"]["scheduler"]["spec"]["containers"][0]
    worker = cluster["spec"]["worker"]["spec"]["containers"][0]
    build = documents("build.yaml")[0]["spec"]["template"]["spec"]["containers"][0]
    entry = json.loads(recipes()["Dockerfile"].rpartition("ENTRYPOINT ")[2])
    return scheduler["command"] + scheduler["args"], worker["command"] + worker["args"], entry + build["args"]


@pytest.mark.slow
@pytest.mark.skipif(
    subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False).returncode != 0
    if shutil.which("unshare")
    else True,
    reason="no `unshare --net --mount` for this user: run as root on Linux",
)
def test_the_containers_commands_build_into_a_bucket(town: Town, tmp_path: Path) -> None:
    """A namespace stands for the pods' network; only the source of the build is another than on the page."""
    scheduler, worker, build = commands()
    name = "worker-1"  # the operator gives a name to each
    worker = [name if part == "$(DASK_WORKER_NAME)" else part for part in worker]
    build[build.index("--states") + 1] = "CA"
    build += ["--osm", str(town.osm), "--source", "stac", "--stac-url", "http://127.0.0.1:8000"]
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost gl10m-scheduler.default.svc.cluster.local gl10m-scheduler\n")
    serve = (
        f"import time; from pipelines.world.server import serve; from pathlib import Path\n"
        f"with serve(Path({str(town.world)!r}), port=8000): time.sleep(600)"
    )
    script = f"""
set -e
ip link set lo up
mount --bind {shlex.quote(str(hosts))} /etc/hosts
{shlex.quote(str(BIN / "python"))} -c {shlex.quote(serve)} & others=$!
{shlex.quote(str(BIN / "moto_server"))} -H 127.0.0.1 -p 9000 >moto.log 2>&1 & others="$others $!"
{shlex.join(scheduler)} >scheduler.log 2>&1 & others="$others $!"
{shlex.join(worker)} >worker.log 2>&1 & others="$others $!"
trap 'kill $others' EXIT
until curl -s -X PUT http://127.0.0.1:9000/bucket >/dev/null; do sleep 0.5; done
until curl -sf http://127.0.0.1:8787/health >/dev/null; do sleep 0.5; done
{shlex.join(build)}
gl10m verify --deep --root s3://bucket/gl10m
"""
    env = environment(
        **CREDENTIALS,
        AWS_ENDPOINT_URL="http://127.0.0.1:9000",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        DASK_SCHEDULER_ADDRESS="tcp://gl10m-scheduler.default.svc.cluster.local:8786",  # the operator's
    )
    ended = run(["unshare", "--net", "--mount", "bash", "-c", script], tmp_path, env)
    assert ended.returncode == 0, ended.stderr
    assert "s3://bucket/gl10m is whole" in ended.stdout
    assert "worker-1" in (tmp_path / "scheduler.log").read_text()
