"""What a server is started with, and the command line and environment that this means."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tritonpack.core.errors import ConfigurationError
from tritonpack.core.registry import did_you_mean

if TYPE_CHECKING:
    from tritonpack.server.runtime import Runtime

ADDRESS = "127.0.0.1"
EXIT_TIMEOUT_S = 5
CACHE_BYTES = 64 * 2**20
BACKENDS = ("python", "onnxruntime", "openvino", "pipeline")
_CACHE_ENABLED = re.compile(r"response_cache\s*:?\s*\{[^}]*\benable\s*:\s*true")
_COMMENT = re.compile(r"#[^\n]*")


@dataclass(frozen=True)
class ServerOptions:
    """What the embedded server serves, and where.

    Attributes:
        repository: the model repository.
        config_name: the target, Triton's ``--model-config-name``: ``configs/<name>.pbtxt`` of each model
            where there is one, else its ``config.pbtxt``.
        startup_timeout_s: how long the models may take to load.
        models: what is loaded at the start, an ensemble with the models behind it; None for all. A server
            that was given names loads and unloads others when a client asks it to.
        one_process: serve an ensemble in one process where all its steps are ours; the models of the steps
            aren't loaded then, unless they are named or a client asks for them.
        arguments: more of Triton's own, e.g. ``--grpc-use-ssl=1``.
    """

    repository: Path = Path("model_repository")
    grpc_port: int = 8001
    http_port: int = 8000
    metrics_port: int = 8002
    config_name: str | None = None
    startup_timeout_s: float = 180.0
    models: tuple[str, ...] | None = None
    one_process: bool = True
    arguments: tuple[str, ...] = ()

    @property
    def ports(self) -> dict[str, int]:
        """The option of each port, and the port."""
        return {
            "--grpc-port": self.grpc_port,
            "--http-port": self.http_port,
            "--metrics-port": self.metrics_port,
        }


@dataclass(frozen=True)
class Served:
    """The folder that the server reads.

    Attributes:
        models: what it loads; None for all, and then none is loaded or unloaded later.
    """

    folder: Path
    models: tuple[str, ...] | None


def check_repository(options: ServerOptions) -> list[str]:
    """Return the names of the models that are loaded at the start.

    Raises:
        ConfigurationError: there is no such folder, it holds no model or not one that is to be loaded, or no
            model has the target's configuration.
    """
    repository = options.repository
    if not repository.is_dir():
        raise ConfigurationError(
            f"there is no model repository at {repository}",
            hint="run `tritonpack build RECIPE` first, or name another folder: `tritonpack serve FOLDER`",
            repository=str(repository),
        )
    models = [folder for folder in sorted(repository.iterdir()) if config_file(folder, options.config_name)]
    if not models:
        raise ConfigurationError(
            f"the model repository {repository} holds no model: no folder in it has a config.pbtxt",
            hint="run `tritonpack build RECIPE` first",
            repository=str(repository),
        )
    name = options.config_name
    if name and not any((model / "configs" / f"{name}.pbtxt").is_file() for model in models):
        known = sorted({file.stem for model in models for file in model.glob("configs/*.pbtxt")})
        raise ConfigurationError(
            f"no model in {repository} has a configuration for the target '{name}'",
            hint=f"targets built into it: {', '.join(known) or 'none'}",
            target=name,
        )
    names = [model.name for model in models]
    if options.models is None:
        return names
    if missing := [model for model in options.models if model not in names]:
        raise ConfigurationError(
            f"the model repository {repository} has no model {', '.join(missing)}",
            hint=did_you_mean(missing[0], names) or f"it holds: {', '.join(names)}",
            repository=str(repository),
        )
    return list(options.models)


def config_file(model: Path, config_name: str | None) -> Path | None:
    """Name the configuration that Triton reads for a model folder, or None where it is no model."""
    candidates = [model / "configs" / f"{config_name}.pbtxt"] if config_name else []
    for file in (*candidates, model / "config.pbtxt"):
        if file.is_file():
            return file
    return None


def uses_response_cache(options: ServerOptions) -> bool:
    """Whether a model asks for the response cache; without a cache Triton refuses to load such a model."""
    files = (config_file(folder, options.config_name) for folder in options.repository.iterdir())
    texts = (_COMMENT.sub("", file.read_text(encoding="utf-8", errors="replace")) for file in files if file)
    return any(_CACHE_ENABLED.search(text) for text in texts)


def command_from_options(
    options: ServerOptions, served: Served, runtime: Runtime, backends: Path, shm_prefix: str
) -> list[str]:
    """Write the command line of ``tritonserver``.

    Args:
        options: what to serve, and where.
        served: the folder that the server reads, and what it loads.
        runtime: the installed server.
        backends: a folder that holds this server's backends.
        shm_prefix: names this server's regions in /dev/shm, so that several servers never meet and what a
            killed server leaves there can be removed.
    """
    command = [
        str(runtime.executable),
        f"--model-repository={served.folder}",
        f"--model-control-mode={'none' if served.models is None else 'explicit'}",
        *(f"--load-model={name}" for name in served.models or ()),
        # A model that fails to load is reported with its reason over HTTP; the launcher then ends the server.
        "--exit-on-error=false",
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={EXIT_TIMEOUT_S}",
        f"--backend-directory={backends}",
        f"--cache-directory={runtime.caches}",
        "--allow-gpu-metrics=false",
        f"--grpc-address={ADDRESS}",
        f"--grpc-port={options.grpc_port}",
        f"--http-address={ADDRESS}",
        f"--http-port={options.http_port}",
        f"--metrics-address={ADDRESS}",
        f"--metrics-port={options.metrics_port}",
        *(f"--backend-config={name},shm-region-prefix-name={shm_prefix}" for name in BACKENDS),
    ]
    if options.config_name:
        command.append(f"--model-config-name={options.config_name}")
    if uses_response_cache(options):
        command.append(f"--cache-config=local,size={CACHE_BYTES}")
    return [*command, *options.arguments]


def environment_for_server(runtime: Runtime) -> dict[str, str]:
    """Let the stubs import from the runtime's environment alone, and keep thread pools small.

    The stub embeds Python and finds its environment through ``PATH``. ONNX Runtime's own threads are set
    for each session by the model's configuration, so other pools would only compete with them.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {
        "PATH": f"{runtime.python / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "VIRTUAL_ENV": str(runtime.python),
        "PYTHONPATH": str(runtime.site_packages),
        "PYTHONNOUSERSITE": "1",
        # The model repository belongs to the build.
        "PYTHONDONTWRITEBYTECODE": "1",
        # ONNX Runtime reports to its vendor unless it is told not to.
        "ORT_DISABLE_TELEMETRY": "1",
        "LD_LIBRARY_PATH": runtime.library_path,
    }
    for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(pool, "1")
    return environment
