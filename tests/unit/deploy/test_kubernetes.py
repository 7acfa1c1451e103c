"""Owns that the manifests are valid, hold what they promise, and start what exists."""

import re
from collections.abc import Callable
from typing import Any, Literal, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field

from backbone.settings import Settings, load_settings
from backbone.telemetry import MetricName
from queryscope.composition import STANDING
from tests.unit.deploy.conftest import Document, checked, load_yaml
from tests.unit.deploy.test_compose import assert_starts

Render = Callable[[str], str]
OVERLAYS = ("small", "autoscaled")
KUBERNETES = "1.33"


def of_kind(documents: list[Document], kind: str) -> dict[str, Document]:
    return {each["metadata"]["name"]: each for each in documents if each["kind"] == kind}


def pod_of(deployment: Document) -> tuple[Document, Document]:
    """The pod's spec and its only container."""
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return pod, container


@pytest.fixture(scope="module", params=OVERLAYS)
def documents(request: pytest.FixtureRequest, render: Render) -> list[Document]:
    return load_yaml(render(request.param))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(
    overlay: str, render: Render, tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("manifests") / f"{overlay}.yaml"
    path.write_text(render(overlay))
    said = checked(tool("kubernetes-validate"), "-k", KUBERNETES, "--strict", path)
    unknown = set(re.findall(r"Couldn't find schema for kind (\w+)", said))
    assert unknown <= {"ScaledObject"}  # KEDA's own, held to the model below


def test_there_is_a_deployment_and_a_disruption_budget_for_each_service(documents: list[Document]) -> None:
    wanted = {f"queryscope-{name}" for name in ("api", *STANDING)}
    assert set(of_kind(documents, "Deployment")) == set(of_kind(documents, "PodDisruptionBudget")) == wanted
    for name, budget in of_kind(documents, "PodDisruptionBudget").items():
        labels = of_kind(documents, "Deployment")[name]["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_pods_have_no_rights_and_write_only_where_it_is_meant(documents: list[Document]) -> None:
    for deployment in of_kind(documents, "Deployment").values():
        pod, container = pod_of(deployment)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/var/lib/queryscope", "/tmp"}
        assert all("emptyDir" in volume for volume in pod["volumes"])
        assert set(container["resources"]["requests"]) == {"cpu", "memory", "ephemeral-storage"}
        assert container["image"].startswith("queryscope:")


def test_pods_start_commands_that_exist_and_are_probed_where_they_listen(documents: list[Document]) -> None:
    for deployment in of_kind(documents, "Deployment").values():
        _, container = pod_of(deployment)
        assert_starts(container["args"])
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert container["args"][-2:] == ["--metrics-port", str(ports["metrics"])]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


def test_settings_are_ones_that_exist_and_can_be_read(documents: list[Document], tmp_path: Any) -> None:
    [given] = (each["data"] for each in of_kind(documents, "ConfigMap").values())
    fields = {name.removeprefix("QUERYSCOPE_").lower(): value for name, value in given.items() if value}
    assert set(fields) <= set(Settings.model_fields)
    settings = load_settings(**fields)
    assert "http://queryscope-api:8420" in settings.origins


def test_a_runner_may_drain_for_as_long_as_it_is_told_to(documents: list[Document]) -> None:
    pod, container = pod_of(of_kind(documents, "Deployment")["queryscope-runner"])
    [drain] = [each for each in container["env"] if each["name"] == "QUERYSCOPE_DRAIN_S"]
    assert pod["terminationGracePeriodSeconds"] >= int(drain["value"]) + 30
    assert container["resources"]["requests"] == container["resources"]["limits"]


def test_nothing_reaches_our_pods_or_is_reached_but_what_a_policy_names(documents: list[Document]) -> None:
    policies = of_kind(documents, "NetworkPolicy")
    default = policies["queryscope-default"]["spec"]
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    assert "egress" not in default
    for deployment in of_kind(documents, "Deployment").values():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert default["podSelector"]["matchLabels"].items() <= labels.items()
    [names, _] = policies["queryscope-stores"]["spec"]["egress"]
    # kustomize adds labels of ours to it when selectors are included, and then it matches nobody
    assert names["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    [load] = policies["queryscope-load"]["spec"]["egress"]
    assert "169.254.0.0/16" in load["to"][0]["ipBlock"]["except"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Fallback(_Strict):
    failureThreshold: int = Field(ge=1)  # KEDA's own spelling, as below
    replicas: int = Field(ge=1)


class _Query(_Strict):
    serverAddress: str = Field(pattern=r"^https?://")
    query: str
    threshold: str = Field(pattern=r"^\d+$")


class _Trigger(_Strict):
    type: Literal["prometheus"]
    metadata: _Query


class _Target(_Strict):
    name: str


class _Scaling(_Strict):
    """What we use of KEDA's ScaledObject (keda.sh/v1alpha1)."""

    scaleTargetRef: _Target
    pollingInterval: int = Field(ge=1)
    minReplicaCount: int = Field(ge=1)  # at none, nobody would tell the lag that wakes them
    maxReplicaCount: int = Field(ge=1)
    fallback: _Fallback
    advanced: dict[str, Any]  # an autoscaler's behaviour, as Kubernetes has it
    triggers: list[_Trigger] = Field(min_length=1)


def test_consumers_scale_on_metrics_that_exist_between_one_and_the_partitions(render: Render) -> None:
    documents = load_yaml(render("autoscaled"))
    scaled = of_kind(documents, "ScaledObject")
    assert set(scaled) == {f"queryscope-{name}" for name in STANDING}
    for name, document in scaled.items():
        assert document["apiVersion"] == "keda.sh/v1alpha1"
        spec = _Scaling.model_validate(document["spec"])
        assert spec.scaleTargetRef.name == name
        assert "replicas" not in of_kind(documents, "Deployment")[name]["spec"]
        assert spec.maxReplicaCount <= load_settings(data_dir="/nowhere").partitions
        for trigger in spec.triggers:
            assert set(re.findall(r"queryscope_\w+", trigger.metadata.query)) <= set(get_args(MetricName))
