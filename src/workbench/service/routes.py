"""The base of the service's routes: checks the token, notices disconnected clients, and formats errors."""

import asyncio
import hmac
from typing import Any

from tornado.web import HTTPError, RequestHandler

from workbench.engines.client.address import TOKEN
from workbench.service.residents import Residents

_SECONDS_TO_READ = 60.0  # a client that reads nothing for so long counts as disconnected


class Route(RequestHandler):
    """A request handler that checks the token and knows whether the client has disconnected."""

    def initialize(self, residents: Residents, stop: asyncio.Event, token: str | None) -> None:
        """Keep the state of the service."""
        self.residents, self.stop, self.token = residents, stop, token
        self.gone = asyncio.Event()

    def prepare(self) -> None:
        """On a port, refuse a request without the token."""
        given = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.token is not None and not hmac.compare_digest(given.encode(), self.token.encode()):
            raise HTTPError(
                401, reason=f"the token is missing or wrong; send that of {TOKEN} as a bearer token"
            )

    def on_connection_close(self) -> None:
        """Record that the client has disconnected."""
        self.gone.set()

    def write_error(self, status_code: int, **_: Any) -> None:
        """Reply with an error in the form of the OpenAI protocol."""
        kind = "invalid_request_error" if status_code < 500 else "server_error"
        about = {"message": self._reason, "type": kind, "param": None, "code": status_code}
        self.finish({"error": about})

    async def send(self, frame: bytes) -> None:
        """Send a part of a reply; a client that does not read it counts as disconnected."""
        self.write(frame)
        try:
            await asyncio.wait_for(self.flush(), _SECONDS_TO_READ)
        except (TimeoutError, OSError):
            self.gone.set()
