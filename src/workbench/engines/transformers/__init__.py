"""The engine on transformers and torch: BLOOM, mT5 and any other causal or encoder-decoder checkpoint."""
