"""Answers on disk, keyed by everything that can change them.

The store is one SQLite file (write-ahead log), shared by the threads and processes of one machine. A *context* is what
many answers have in common (model digest, dtype, settings …); a *question* is what is specific to one (the prompt …). Both
are canonical JSON, and the key is a hash of the two. A batch is one transaction: if the process is killed, a batch is
either complete or absent. Values are JSON text or the bytes of an .npy file; nothing is pickled.

The write-ahead log uses shared memory, so processes on several machines must not write to one file over a network file
system: that corrupts it. Give each machine its own file and merge them with `workbench store import`.
"""

from workbench.store.advice import REPAIR
from workbench.store.answers import Answer, Store
from workbench.store.handle import settle
from workbench.store.keys import canonical
from workbench.store.location import default_path

__all__ = ["REPAIR", "Answer", "Store", "canonical", "default_path", "settle"]
