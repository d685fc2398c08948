"""Requests to a server over HTTP: repeated after a pause when the server is busy, restarting, or lost on the way.

The key comes from WORKBENCH_API_KEY and is sent as a bearer token; it is neither stored nor logged.
"""

import math
import os
import random
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import httpx

from workbench.errors import BadInput, NotReachable

KEY = "WORKBENCH_API_KEY"
_PASSING = {408, 425, 429, 500, 502, 503, 504, 529}  # states of a server that may pass
_LONGEST_REASON = 300  # characters of a server's message
_SECONDS_TO_CONNECT = 10.0


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for: `tries` of a request, `first` seconds between two, doubled up to `longest`.

    `reply` is the longest wait for a reply, in seconds. A server that names its own pause (Retry-After) gets it, up to `longest`.
    """

    tries: int = 7
    first: float = 0.5
    longest: float = 30.0
    reply: float = 900.0

    def pause(self, number: int, asked: float) -> float:
        """Return the seconds to wait after a try, counted from 0; half of the doubled time is drawn, so that clients do not meet."""
        usual = self.first * 2**number * random.uniform(0.5, 1.0)
        return min(max(usual, asked), self.longest)


class Connection:
    """A server; safe to use from several threads.

    Attributes:
        address: its base address, up to and with `/v1`.
    """

    def __init__(self, address: str, patience: Patience) -> None:
        self.address, self.patience = address, patience
        key = os.environ.get(KEY, "").strip()
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(patience.reply, connect=_SECONDS_TO_CONNECT, pool=None),
            trust_env=not _is_here(address),  # proxies are for servers elsewhere
        )

    def get(self, path: str) -> dict[str, Any]:
        """Return the object at a path. Raises: as `post`."""
        return self._ask("GET", path, None)

    def post(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request.

        Raises:
            NotReachable: the server cannot be reached, or fails at every try.
            BadInput: it refuses the request, or the key.
        """
        return self._ask("POST", path, asked)

    def version(self) -> str:
        """Return the version that vLLM gives beside its `/v1`; empty if there is none."""
        try:
            reply = self._client.get(
                self.address.removesuffix("/v1") + "/version", timeout=_SECONDS_TO_CONNECT
            )
            found = reply.json().get("version", "") if reply.is_success else ""
        except (httpx.HTTPError, ValueError, AttributeError):
            return ""
        return str(found)[:40]

    def _ask(self, method: str, path: str, asked: dict[str, Any] | None) -> dict[str, Any]:
        tries = self.patience.tries
        for number in range(tries):
            found, reason, pause = self._try(method, path, asked)
            if found is not None:
                return found
            if number + 1 < tries:
                time.sleep(self.patience.pause(number, pause))
        raise NotReachable(
            f"the server at {self.address} did not answer in {tries} tries ({reason}); finished answers are stored; "
            "repeat the call when it is up"
        )

    def _try(
        self, method: str, path: str, asked: dict[str, Any] | None
    ) -> tuple[dict[str, Any] | None, str, float]:
        """Return a reply or, if another try may succeed, None, the reason, and the pause that the server asks for."""
        try:
            reply = self._client.request(method, f"{self.address}/{path}", json=asked)
        except httpx.TransportError as error:
            return None, f"{type(error).__name__}: {error}", 0.0
        if reply.status_code in _PASSING:
            return None, f"status {reply.status_code}: {_message(reply)}", _seconds(reply)
        if reply.status_code in (401, 403):
            raise BadInput(
                f"the server at {self.address} refuses the key (status {reply.status_code}); put the one that it expects in {KEY}"
            )
        if not reply.is_success:
            raise BadInput(
                f"the server at {self.address} refuses {path} (status {reply.status_code}): {_message(reply)}"
            )
        try:
            found = reply.json()
        except ValueError:
            return None, "a reply that is not JSON", 0.0
        if not isinstance(found, dict):
            raise BadInput(
                f"the server at {self.address} speaks another protocol than OpenAI's: {path} is no JSON object"
            )
        return found, "", 0.0


def _message(reply: httpx.Response) -> str:
    """Return the message in an error, which servers put in different places."""
    try:
        found = reply.json()
        inner = found.get("error", found)
        text = inner.get("message", inner) if isinstance(inner, dict) else inner
    except (ValueError, AttributeError):
        text = reply.text
    return " ".join(str(text).split())[:_LONGEST_REASON] or "no message"


def _seconds(reply: httpx.Response) -> float:
    """Return the pause that a server asks for; 0 if it asks for none, or names a date."""
    try:
        seconds = float(reply.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _is_here(address: str) -> bool:
    host = httpx.URL(address).host
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
