"""The model service: models stay loaded in separate processes, which notebooks query.

`workbench serve` runs it, `private_service` starts one for a block of code. The listening process does not import torch; each
model is in a child process, which ends with it. Clients are in `workbench.engines.client`.
"""

from workbench.service.private import private_service

__all__ = ["private_service"]
