"""The widgets of the playground: forms around the pages that the modules above make. Only this folder imports ipywidgets."""
