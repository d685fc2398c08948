"""Ctrl-Enter (on a Mac also Command-Enter) anywhere in a form presses its visible main button.

A text area of ipywidgets reports no keys, and JupyterLab takes these for running the cell. So the form holds an empty style sheet
whose loading installs a listener in the page: on the window and while the event is captured, since JupyterLab listens on the
document. Where a page's policy forbids such handlers, Enter at the end of the prompt is left. Widgets are not saved, so that no
notebook or report has it.
"""

from html import escape

import ipywidgets as widgets

FORM = "wb-form"
_LISTEN = f"""
const form = this.closest('.{FORM}');
const press = event => {{
  if (!form.isConnected) return window.removeEventListener('keydown', press, true);
  if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey) || !form.contains(event.target)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  [...form.querySelectorAll('button.mod-primary')].find(one => one.offsetParent)?.click();
}};
if (form) window.addEventListener('keydown', press, true);
"""


def ctrl_enter() -> widgets.HTML:
    """Return the widget that listens for a form, which has the class `FORM`."""
    return widgets.HTML(
        f'<style onload="{escape(_LISTEN)}">.wb-none {{}}</style>', layout={"display": "none"}
    )
