"""Engines, which compute the answers that the store lacks; besides `training`, the only modules that import torch.

A new engine has the methods of `workbench.models.engines.EngineFactory` and `Engine`; CONTRIBUTING.md shows how to register it.
"""
