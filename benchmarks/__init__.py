"""How fast and how large: the workbench beside lm-evaluation-harness and transformers, on identical requests.

`make bench` runs all of it and rewrites `data/benchmarks/`; weights are random, made on the spot at the real sizes.
"""
