"""The engine on transformers and torch: BLOOM, mT5 and any other causal or encoder-decoder checkpoint."""

# Part of every answer's key. Raise a number when the same request to the same checkpoint would give another answer than
# before, beyond float32's rounding: another text, token, truncation, noise, softmax, layer or pooling. Old entries stay
# in the store and are not used again; those without a number were made before there was one.
ALGORITHMS = {
    "generate": 1,  # `decoding`, `sampling`, and prompts as `encoding` reads them
    "score": 1,  # `scoring`, and prompts and texts as `encoding` reads them
    "states": 1,  # `states`, and texts as `encoding` reads them
}
