"""Prompts with their choices and targets, made from data rows and templates.

Templates follow promptsource's convention: Jinja with `|||` between input and target, and between answer choices. Ours are
TOML files; a checkout of promptsource is read directly. Third-party templates are rendered in a separate process with limits
on time, memory and output.
"""

from workbench.prompts.confined import render_all
from workbench.prompts.promptsource import read_promptsource
from workbench.prompts.rendering import Prompt, Template, is_text, read_templates, render

__all__ = ["Prompt", "Template", "is_text", "read_promptsource", "read_templates", "render", "render_all"]
