"""Work in a thread, so that the kernel stays free; it can be stopped, and its errors become sentences."""

from collections.abc import Callable
from threading import Event, Thread

from workbench.errors import WorkbenchError
from workbench.playground.page import Html, Show, error, page, tag

Work = Callable[[Show], Html]  # gets what shows progress, and returns the whole page


_FAULT = "this is a fault of the workbench itself, which its log describes (View, Show Log Console); please report it"


class Stopped(Exception):
    """The stop button was pressed."""


class Job:
    """One piece of work at a time: `show` gets its pages, `busy` whether it runs."""

    def __init__(self, show: Show, busy: Callable[[bool], None]) -> None:
        self._show, self._busy = show, busy
        self._stop = Event()
        self._thread: Thread | None = None
        self._last = Html("")

    @property
    def is_running(self) -> bool:
        """Whether work is going on."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Work) -> None:
        """Begin in a thread; nothing happens while earlier work goes on."""
        if self.is_running:
            return
        self._stop, self._last = Event(), Html("")
        self._busy(True)
        self._thread = Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the work before its next token or prompt."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the work has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, work: Work) -> None:
        last: Html = error(_FAULT)
        try:
            last = work(self._progress)
        except Stopped:
            last = Html(
                self._last + page(tag("p", "Stopped.", class_="wb-warning", role="status"), label="Stopped")
            )
        except WorkbenchError as problem:
            last = error(str(problem))
        finally:
            self._show(last)
            self._busy(False)

    def _progress(self, html: Html) -> None:
        if self._stop.is_set():
            raise Stopped
        self._last = html
        self._show(html)
