"""Kubernetes manifests and compose files, as far as they can be judged without a cluster or an engine.

Run by ci/operable with the validator on its path; standard library, PyYAML and kubernetes-validate.
"""

import os
import sys

import kubernetes_validate
import yaml

BASES = os.path.join("deploy", "kubernetes")
VERSION = "1.36"
failures = 0


def check(condition, what):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED {what}", flush=True)


def documents(path):
    with open(path) as file:
        return [document for document in yaml.safe_load_all(file) if document]


def selectors(base, kustomization, document):
    """What kustomize adds: labels with their selectors, and the namespace."""
    pairs = {}
    for entry in kustomization.get("labels", []):
        pairs |= entry["pairs"]
    document.setdefault("metadata", {}).setdefault("labels", {}).update(pairs)
    if document["kind"] in ("Deployment", "DaemonSet"):
        document["spec"]["selector"] = {"matchLabels": dict(pairs)}
        document["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {}).update(pairs)
    if document["kind"] == "PodDisruptionBudget":
        document["spec"]["selector"] = {"matchLabels": dict(pairs)}
    if document["kind"] == "Service":
        document["spec"]["selector"] = dict(pairs)


def pod_of(document):
    if document["kind"] == "Pod":
        return document["spec"]
    return document["spec"]["template"]["spec"] if document["kind"] in ("Deployment", "DaemonSet") else None


def check_pod(path, pod):
    host = pod.get("hostNetwork", False)
    check(pod.get("automountServiceAccountToken") is False, f"{path}: no token is needed")
    for container in pod.get("initContainers", []) + pod["containers"]:
        context = container["securityContext"]
        name = f"{path}: {container['name']}"
        check(context["readOnlyRootFilesystem"], f"{name} writes to its image")
        check(context["allowPrivilegeEscalation"] is False, f"{name} may gain privileges")
        check(context["capabilities"]["drop"] == ["ALL"], f"{name} keeps capabilities")
        check(host or "add" not in context["capabilities"], f"{name} asks for capabilities")
        check("memory" in container["resources"]["limits"], f"{name} has no bound of memory")
    if not host:
        check(pod["securityContext"]["runAsNonRoot"], f"{path}: root")
        check(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", f"{path}: no seccomp")
    else:
        # A surge upgrade would wait for ever for free ports.
        check(all("ports" not in container for container in pod["containers"]), f"{path}: ports on the host's network")


def check_base(base):
    directory = os.path.join(BASES, base)
    kustomization = documents(os.path.join(directory, "kustomization.yaml"))[0]
    listed = set(kustomization["resources"])
    for generator in kustomization.get("configMapGenerator", []):
        listed |= set(generator["files"])
    present = {name for name in os.listdir(directory) if name != "kustomization.yaml"}
    check(listed == present, f"{directory}: listed {sorted(listed)}, there {sorted(present)}")
    count = 0
    for resource in kustomization["resources"]:
        path = os.path.join(directory, resource)
        for document in documents(path):
            selectors(base, kustomization, document)
            try:
                kubernetes_validate.validate(document, VERSION, strict=True)
            except kubernetes_validate.ValidationError as error:
                check(False, f"{path}: {error.message} at {'.'.join(map(str, error.path))}")
            pod = pod_of(document)
            if pod:
                check_pod(path, pod)
            count += 1
    print(f"good   {directory}: {count} resources, schemas of Kubernetes {VERSION}", flush=True)


def check_compose(path, services):
    compose = documents(path)[0]
    check(set(compose["services"]) == services, f"{path}: services")
    for name, service in compose["services"].items():
        if "build" not in service:
            continue
        check(service["read_only"] and service["cap_drop"] == ["ALL"], f"{path}: {name} may too much")
        protocols = sorted(port.rsplit("/", 1)[1] for port in service["ports"])
        check(protocols == ["tcp", "udp"], f"{path}: {name} does not publish UDP and TCP")
    print(f"good   {path}", flush=True)


def main():
    for base in sorted(os.listdir(BASES)):
        check_base(base)
    check_compose("compose.yaml", {"dotward"})
    check_compose(os.path.join("deploy", "compose", "fleet.yaml"), {"one", "two", "valkey", "prometheus"})
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
