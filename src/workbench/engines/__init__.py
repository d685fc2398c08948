"""Engines, which compute the answers that the store lacks; besides `training`, the only modules that import torch."""
