"""What computes an answer that the store does not have; the only rooms besides `training` that import torch."""
