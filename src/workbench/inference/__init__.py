"""Ask a model through the store: generate text, rank choices, score tokens, read hidden states."""
