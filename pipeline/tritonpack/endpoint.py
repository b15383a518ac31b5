"""A running server as the commands see it: the Python client, with its errors in this project's tree."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tritonpack.core.errors import ConfigurationError, ModelLoadError, ServerError
from tritonpack.core.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tritonpack_client import Client, ModelLimits

DEFAULT_URL = "127.0.0.1:8001"


@contextmanager
def connected(url: str = DEFAULT_URL, *, timeout_s: float = 30.0) -> Iterator[Client]:
    """Open a client; an error of the client leaves as one of tritonpack's.

    Args:
        url: ``host:port`` of the server's gRPC endpoint.
        timeout_s: the deadline of each request.

    Raises:
        ConfigurationError: the caller's input can't be sent.
        ServerError: nobody answers, or a request failed.
    """
    from tritonpack_client import Client, InvalidInputError, Retries, ServerUnavailableError, TritonClientError

    try:
        # A person who waits is told at once that nobody is there.
        with Client(url, timeout_s=timeout_s, retries=Retries(attempts=1)) as client:
            yield client
    except InvalidInputError as error:
        raise ConfigurationError(error.message, hint=error.hint, model=error.model) from error
    except ServerUnavailableError as error:
        raise ServerError(
            f"no Triton server answers at {url}: {error.message}",
            hint="start one with `tritonpack serve --detach`, or name another with --url HOST:PORT",
            url=url,
        ) from error
    except TritonClientError as error:
        where = f"model '{error.model}': " if error.model else ""
        raise ServerError(f"{where}{error.message}", hint=error.hint, url=url, model=error.model) from error


def served_limits(client: Client, model: str) -> ModelLimits:
    """Read what a model takes and gives, if the server serves it.

    Raises:
        ConfigurationError: the server has no such model; the message names those that it has.
        ModelLoadError: the server has it, but couldn't load it.
    """
    states = client.models()
    own = [state for state in states if state.name == model]
    if not own:
        names = sorted({state.name for state in states})
        raise ConfigurationError(
            f"the server at {client.url} has no model '{model}'; it has: {', '.join(names) or 'none'}",
            hint=did_you_mean(model, names),
            model=model,
            models=names,
        )
    if not any(state.state == "READY" for state in own):
        raise ModelLoadError(
            f"the server at {client.url} has the model '{model}', but it isn't ready: "
            + (own[-1].reason or own[-1].state or "it was never loaded"),
            hint="`tritonpack status` and the server's log say more",
            model=model,
        )
    return client.limits(model)
