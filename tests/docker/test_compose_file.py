"""What docker-compose.yml promises, read from the files alone; and that Docker's own parser takes it."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
SERVERS = ["triton", "triton-cpu"]
PINS = dict(
    line.split("=", 1)
    for line in (ROOT / ".env").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
)
CONTAINER_FILES = [ROOT / "docker-compose.yml", *sorted((ROOT / "deploy").glob("*/Dockerfile"))]


def dockerfile(service):
    return (ROOT / SERVICES[service]["build"]["dockerfile"]).read_text(encoding="utf-8")


def test_the_services_and_their_profiles():
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}

    assert profiles == {"triton-cpu": [], "triton": ["gpu"], "builder": ["gpu"], "perf": ["perf"]}


@pytest.mark.parametrize("file", CONTAINER_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_images_are_pinned_in_env_alone(file):
    text = file.read_text(encoding="utf-8")
    stages = set(re.findall(r"(?m)^FROM \S+ AS (\S+)", text))
    images = set(re.findall(r"(?m)^(?:FROM|\s+image:) (\S+)", text)) - stages
    foreign = {image for image in images if not image.startswith("tritonpack/")}

    assert all("${" in image for image in foreign)
    assert not [pin for pin in PINS.values() if pin in text]
    assert "latest" not in text


def test_no_pin_floats():
    assert set(PINS) == {"TRITON_TAG", "BASE_IMAGE"}
    assert re.fullmatch(r"\d\d\.\d\d", PINS["TRITON_TAG"])
    assert re.fullmatch(r"debian:\d+\.\d+-slim", PINS["BASE_IMAGE"])


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_reads_the_repository_and_never_writes_it(name):
    (mount,) = SERVICES[name]["volumes"]

    assert mount.endswith(":/models:ro")


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_says_when_every_model_is_ready(name):
    assert "/v2/health/ready" in " ".join(SERVICES[name]["healthcheck"]["test"])


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_published_on_this_machine_alone(name):
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in SERVICES[name]["ports"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_runs_as_root(name):
    user = str(SERVICES[name]["user"]).replace("${HOST_UID:-1000}", "1000").replace("${HOST_GID:-1000}", "1000")

    assert user == "1000:1000"


@pytest.mark.parametrize("name", ["triton", "triton-cpu", "builder"])
def test_no_image_ends_as_root(name):
    assert re.findall(r"(?m)^USER (\S+)", dockerfile(name))[-1] == "1000:1000"


@pytest.mark.parametrize("name", SERVERS)
def test_nothing_is_reported_to_anyone(name):
    assert "ORT_DISABLE_TELEMETRY=1" in dockerfile(name)


@pytest.mark.parametrize("name", SERVERS)
def test_the_requirements_are_the_embedded_servers_own_list(name):
    text = dockerfile(name)
    listed = (ROOT / "pipeline/tritonpack/server/runtime-requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"(?m)^\S+==\S+", listed)

    assert "pipeline/tritonpack/server/runtime-requirements.txt" in text
    assert pins
    assert not [pin for pin in pins if pin in text]


def test_both_servers_are_started_alike():
    cpu, gpu = (set(SERVICES[name]["command"]) for name in ("triton-cpu", "triton"))

    assert cpu - gpu == {"--allow-gpu-metrics=false", "--pinned-memory-pool-byte-size=0"}
    assert gpu - cpu == {"--model-config-name=gpu"}


def test_a_plan_is_built_in_the_image_that_serves_it():
    assert SERVICES["builder"]["build"]["dockerfile"] == SERVICES["triton"]["build"]["dockerfile"]
    assert "FROM serve AS builder" in dockerfile("builder")


def test_compose_takes_the_file(compose_command):
    done = subprocess.run(
        [
            *compose_command,
            "--file",
            str(ROOT / "docker-compose.yml"),
            "--profile",
            "gpu",
            "config",
            "--quiet",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
