"""Generate text, rank choices, score tokens and read hidden states, with all answers cached in the store."""
