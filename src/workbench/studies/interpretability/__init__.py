"""What inside a model decides the language and the content of its answers: read by layer, patched, erased, steered, ablated."""
