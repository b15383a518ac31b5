"""Observers that come with the client: logs, traces and counters of every request.

    Client(url, observers=[Logs(), Traces(), Metrics()])

`Logs` needs nothing. `Traces` and `Metrics` need the extra ``tritonpack-client[telemetry]``; nothing of it is imported
before one of them is made.
"""

from tritonpack_client.telemetry.logs import Logs
from tritonpack_client.telemetry.metrics import Metrics
from tritonpack_client.telemetry.traces import Traces

__all__ = ["Logs", "Metrics", "Traces"]
