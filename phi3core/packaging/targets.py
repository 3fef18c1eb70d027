"""What each platform needs beside the model: its descriptions as data, and the commands that deploy them.

The descriptions follow the platforms' own schemas; what of this was tried is told in docs/releasing.md.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import yaml

IMAGE_TARGETS = ("container", "kubernetes", "sagemaker")
"""Targets that run an image, which MLflow's own Dockerfile makes."""

_PORT = 8080  # where the image that MLflow's Dockerfile makes answers


@dataclass(frozen=True)
class Packaged:
    """The version that is packaged.

    name: of the registered model. number: of the version. digest: of its files. memory: bytes that running it takes.
    image: what the image is called; model: where the model lies in the folder. body: a request's JSON.
    """

    name: str
    number: int
    digest: str
    memory: int
    image: str
    model: str
    body: str

    @property
    def ref(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def quoted_body(self) -> str:
        """The body as a shell takes it."""
        return shlex.quote(self.body)

    @property
    def label(self) -> str:
        """Its name as platforms take names: lower-case letters, digits and hyphens."""
        return dns_label(self.name)


@dataclass(frozen=True)
class Description:
    """files: texts by name. steps: what to do, each a sentence and its shell command."""

    files: Mapping[str, str]
    steps: tuple[tuple[str, str], ...]


def dns_label(name: str, longest: int = 40) -> str:
    """A name of lower-case letters, digits and hyphens that begins with a letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:longest].strip("-")
    return plain if plain[:1].isalpha() else f"m-{plain}".strip("-")


def describe(target: str, packaged: Packaged) -> Description:
    """What the folder for a target holds beside the model. Raises KeyError for one that is none of `TARGETS`."""
    return TARGETS[target](packaged)


def _container(packaged: Packaged) -> Description:
    return Description({}, (_build(packaged), *_run(packaged)))


def _build(packaged: Packaged) -> tuple[str, str]:
    return "Build the image.", f"docker build -t {shlex.quote(packaged.image)} ."


def _run(packaged: Packaged) -> tuple[tuple[str, str], ...]:
    return (
        ("Run it.", f"docker run --rm -p {_PORT}:{_PORT} {shlex.quote(packaged.image)}"),
        ("Ask it.", _ask(f"http://127.0.0.1:{_PORT}/invocations", packaged)),
    )


def _ask(url: str, packaged: Packaged) -> str:
    return f"curl -s {url} -H 'Content-Type: application/json' -d {packaged.quoted_body}"


def _kubernetes(packaged: Packaged) -> Description:
    label, memory = packaged.label, f"{-(-packaged.memory // 2**20)}Mi"
    probe = {"httpGet": {"path": "/ping", "port": _PORT}}
    container = {
        "name": "model",
        "image": packaged.image,
        "ports": [{"containerPort": _PORT}],
        "resources": {"requests": {"cpu": "2", "memory": memory}, "limits": {"memory": memory}},
        "startupProbe": {**probe, "periodSeconds": 5, "failureThreshold": 120},
        "readinessProbe": probe,
        "livenessProbe": {**probe, "periodSeconds": 30},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    annotations = {"phi3-playground/version": packaged.ref, "phi3-playground/digest": packaged.digest}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": label, "labels": {"app": label}, "annotations": annotations},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": label}},
            "template": {
                "metadata": {"labels": {"app": label}, "annotations": annotations},
                "spec": {"automountServiceAccountToken": False, "containers": [container]},
            },
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": label, "labels": {"app": label}},
        "spec": {"selector": {"app": label}, "ports": [{"port": 80, "targetPort": _PORT}]},
    }
    steps = (
        _build(packaged),
        ("Push it to where the cluster finds it.", f"docker push {shlex.quote(packaged.image)}"),
        ("Check the description against the cluster.", "kubectl apply --dry-run=server -f kubernetes.yaml"),
        ("Deploy it.", f"kubectl apply -f kubernetes.yaml && kubectl rollout status deployment/{label}"),
        ("Reach it from here.", f"kubectl port-forward service/{label} {_PORT}:80"),
        ("Ask it.", _ask(f"http://127.0.0.1:{_PORT}/invocations", packaged)),
    )
    return Description({"kubernetes.yaml": yaml.safe_dump_all([deployment, service], sort_keys=False)}, steps)


def _sagemaker(packaged: Packaged) -> Description:
    label = packaged.label
    config = {"instance_type": "ml.m5.xlarge", "instance_count": 1, "bucket": "BUCKET", "region_name": "REGION"}
    options = " ".join(f"-C {name}={value}" for name, value in config.items())
    steps = (
        ("Build MLflow's image for SageMaker and push it to ECR.", "mlflow sagemaker build-and-push-container"),
        (
            "Deploy the model.",
            f"mlflow deployments create -t sagemaker:/REGION/ROLE_ARN --name {label} -m {packaged.model} {options}",
        ),
        (
            "Ask it.",
            f"aws sagemaker-runtime invoke-endpoint --endpoint-name {label} --content-type application/json "
            f"--cli-binary-format raw-in-base64-out --body {packaged.quoted_body} answer.json && cat answer.json",
        ),
        (
            "Try the same image here.",
            f"docker build -t {shlex.quote(packaged.image)} . && docker run -p {_PORT}:8080 {packaged.image}",
        ),
    )
    return Description({}, steps)


def _azureml(packaged: Packaged) -> Description:
    schemas, label = "https://azuremlschemas.azureedge.net/latest", packaged.label
    model = {
        "$schema": f"{schemas}/model.schema.json", "name": label, "version": str(packaged.number),
        "type": "mlflow_model", "path": packaged.model,
        "tags": {"phi3.ref": packaged.ref, "phi3.digest": packaged.digest},
    }  # fmt: skip
    endpoint = {"$schema": f"{schemas}/managedOnlineEndpoint.schema.json", "name": label, "auth_mode": "key"}
    deployment = {
        "$schema": f"{schemas}/managedOnlineDeployment.schema.json", "name": f"v{packaged.number}",
        "endpoint_name": label, "model": f"azureml:{label}:{packaged.number}", "instance_type": "Standard_DS3_v2",
        "instance_count": 1, "request_settings": {"request_timeout_ms": 180_000},
    }  # fmt: skip
    files = {
        f"{name}.yml": yaml.safe_dump(found, sort_keys=False)
        for name, found in (("model", model), ("endpoint", endpoint), ("deployment", deployment))
    }
    steps = (
        ("Register the model.", "az ml model create -f model.yml"),
        ("Make an endpoint; its name must be free in the region.", "az ml online-endpoint create -f endpoint.yml"),
        ("Deploy the model to it.", "az ml online-deployment create -f deployment.yml --all-traffic"),
        (
            "Ask it.",
            f"echo {packaged.quoted_body} > request.json && "
            f"az ml online-endpoint invoke -n {label} --request-file request.json",
        ),
    )
    return Description(files, steps)


def _databricks(packaged: Packaged) -> Description:
    label, name = packaged.label, f"CATALOG.SCHEMA.{packaged.label.replace('-', '_')}"
    entity = {
        "name": f"v{packaged.number}", "entity_name": name, "entity_version": "1", "workload_size": "Small",
        "scale_to_zero_enabled": True,
    }  # fmt: skip
    traffic = {"routes": [{"served_model_name": f"v{packaged.number}", "traffic_percentage": 100}]}
    endpoint = {"name": label, "config": {"served_entities": [entity], "traffic_config": traffic}}
    register = (
        "import mlflow; mlflow.set_tracking_uri('databricks'); mlflow.set_registry_uri('databricks-uc'); "
        f"print(mlflow.register_model('{packaged.model}', '{name}').version)"
    )
    steps = (
        ("Name your catalog and schema.", "sed -i 's/CATALOG/main/; s/SCHEMA/default/' serving-endpoint.json"),
        ("Register the model in Unity Catalog, under the same names.", f'python -c "{register}"'),
        (
            "Serve it; entity_version is what was printed.",
            "databricks serving-endpoints create --json @serving-endpoint.json",
        ),
        ("Ask it.", f"databricks serving-endpoints query {label} --json {packaged.quoted_body}"),
    )
    return Description({"serving-endpoint.json": json.dumps(endpoint, indent=2) + "\n"}, steps)


TARGETS: Mapping[str, Callable[[Packaged], Description]] = {
    "container": _container,
    "kubernetes": _kubernetes,
    "azureml": _azureml,
    "databricks": _databricks,
    "sagemaker": _sagemaker,
}
