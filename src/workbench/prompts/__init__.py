"""A row of data and a template become a prompt, its choices and its target.

Templates follow promptsource's convention: Jinja with `|||` between the input and the target, answer choices
separated by `|||` as well. Ours are TOML; those of a checkout of promptsource are read as they are. What comes from
other people is rendered in a process of its own, with limits on time, memory and output.
"""

from workbench.prompts.confined import render_all
from workbench.prompts.promptsource import read_promptsource
from workbench.prompts.rendering import Prompt, Template, is_text, read_templates, render

__all__ = ["Prompt", "Template", "is_text", "read_promptsource", "read_templates", "render", "render_all"]
