"""What all routes of the service share: the token, the client that goes away, and the form of an error."""

import asyncio
import hmac
from typing import Any

from tornado.web import HTTPError, RequestHandler

from workbench.engines.client.address import TOKEN
from workbench.service.residents import Residents

_SECONDS_TO_READ = 60.0  # a client that takes no data for so long has gone


class Route(RequestHandler):
    """What all routes share: the token, and whether the client has gone."""

    def initialize(self, residents: Residents, stop: asyncio.Event, token: str | None) -> None:
        """Keep the state of the service."""
        self.residents, self.stop, self.token = residents, stop, token
        self.gone = asyncio.Event()

    def prepare(self) -> None:
        """Refuse a request without the token, on a port."""
        given = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.token is not None and not hmac.compare_digest(given.encode(), self.token.encode()):
            raise HTTPError(
                401, reason=f"the token is missing or wrong; send that of {TOKEN} as a bearer token"
            )

    def on_connection_close(self) -> None:
        """Note that the client has gone."""
        self.gone.set()

    def write_error(self, status_code: int, **_: Any) -> None:
        """Reply with an error in the form of the OpenAI protocol."""
        kind = "invalid_request_error" if status_code < 500 else "server_error"
        about = {"message": self._reason, "type": kind, "param": None, "code": status_code}
        self.finish({"error": about})

    async def send(self, frame: bytes) -> None:
        """Send a part of a reply; a client that does not read it has gone."""
        self.write(frame)
        try:
            await asyncio.wait_for(self.flush(), _SECONDS_TO_READ)
        except (TimeoutError, OSError):
            self.gone.set()
