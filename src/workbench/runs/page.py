"""One look for the pages that runs leave behind: a single file, no script, nothing fetched from anywhere."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

_CSS = """
:root { --ink:#1d2329; --soft:#5d6873; --line:#dfe3e8; --paper:#ffffff; --wash:#f5f6f8; --link:#1f4e8c;
  --published:#1f4e8c; --measured:#0b6b50; --synthetic:#a8430b; --bad:#a31621; }
* { box-sizing:border-box }
body { margin:0; background:var(--wash); color:var(--ink); font:16px/1.6 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif }
a { color:var(--link) } a:focus-visible, summary:focus-visible { outline:3px solid #8ab4f8; outline-offset:2px }
.top { background:#14293d; color:#fff; padding:2.2rem max(1.5rem,calc(50vw - 35rem)) 1.8rem }
.top h1 { margin:0; font-size:1.75rem; letter-spacing:-.01em } .top p { margin:.5rem 0 0; color:#c6d3df; max-width:62rem }
.top nav { margin-top:1.1rem; display:flex; flex-wrap:wrap; gap:.5rem } .top nav a { color:#fff; text-decoration:none;
  border:1px solid #4a6178; border-radius:99px; padding:.15rem .85rem; font-size:.9rem } .top nav a:hover { background:#24405a }
main { max-width:70rem; margin:0 auto; padding:1.5rem }
section { background:var(--paper); border:1px solid var(--line); border-radius:10px; padding:1.6rem 1.8rem; margin:0 0 1.6rem }
section > h2 { margin:0; font-size:1.35rem; line-height:1.3 } .sub { color:var(--soft); margin:.25rem 0 0; font-size:.92rem }
.answer { border-left:4px solid var(--link); background:#f2f6fb; padding:.2rem 1.1rem; margin:1.2rem 0; border-radius:0 6px 6px 0 }
.figures { columns:27rem 2; column-gap:1.2rem; margin-top:1rem }
figure { margin:0 0 1.2rem; break-inside:avoid; border:1px solid var(--line); border-radius:8px; padding:.9rem } figure img { width:100%; height:auto; display:block }
figcaption { font-size:.88rem; color:var(--soft); margin-top:.6rem }
.badge { display:inline-block; color:#fff; border-radius:4px; padding:0 .45rem; font-size:.72rem; font-weight:700; letter-spacing:.04em }
.PUBLISHED { background:var(--published) } .MEASURED { background:var(--measured) } .SYNTHETIC { background:var(--synthetic) }
details { margin-top:1.1rem } summary { cursor:pointer; font-weight:600 } .scroll { overflow-x:auto }
table { border-collapse:collapse; font-size:.88rem; margin:.6rem 0 } th,td { text-align:left; padding:.28rem .8rem .28rem 0;
  border-bottom:1px solid var(--line); vertical-align:top } td { overflow-wrap:anywhere } .scroll td:first-child { white-space:nowrap } table.facts th { white-space:nowrap; color:var(--soft); font-weight:500 }
code,pre { font-family:ui-monospace,"DejaVu Sans Mono",Menlo,monospace; font-size:.85em } .failed { color:var(--bad) }
pre { background:var(--wash); padding:.7rem .9rem; border-radius:6px; overflow-x:auto; line-height:1.45; white-space:pre-wrap }
footer { color:var(--soft); font-size:.85rem; text-align:center; padding:0 1rem 2rem }
"""
_NOTEBOOK_CSS = """
#show-code { position:absolute; opacity:0 } label[for=show-code] { display:inline-block; margin:1.2rem 0 0 max(1.5rem,calc(50vw - 27rem));
  border:1px solid var(--line); background:var(--paper); border-radius:99px; padding:.15rem .9rem; font-size:.9rem; cursor:pointer }
label[for=show-code]::after { content:"Show code" } #show-code:checked + label::after { content:"Hide code" }
#show-code:focus-visible + label { outline:3px solid #8ab4f8 } #show-code:not(:checked) ~ main .input { display:none }
main.notebook { max-width:54rem; background:var(--paper); border:1px solid var(--line); border-radius:10px; margin:1rem auto 2rem; padding:1.2rem 2.2rem }
.prompt, .anchor-link { display:none } .output_png img { max-width:100%; height:auto } .output_html { overflow-x:auto }
.output_stderr pre { color:var(--soft) } .output_error pre { background:#fdf1f1; border-left:4px solid var(--bad) } .output_area { margin:.5rem 0 }
.notebook table { border:0 } .notebook th,.notebook td { border-width:0 0 1px; border-color:var(--line); text-align:left !important; padding-right:1.1rem; overflow-wrap:normal }
.notebook tbody tr:nth-child(even) { background:#fafbfc } .notebook thead th { border-bottom:2px solid #c9d0d7 }
.highlight .k,.highlight .kn,.highlight .ow,.highlight .kc { color:#7a2c9c } .highlight .s1,.highlight .s2,.highlight .sa { color:#0b6b50 }
.highlight .c1 { color:#6b7680; font-style:italic } .highlight .mi,.highlight .mf { color:#a8430b } .highlight .nb { color:#1f4e8c }
"""
# The browser itself refuses whatever a notebook's output might try to load or run.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; font-src data:"


def page(title: str, body: str, *, code: bool = False) -> str:
    """A whole HTML page around `body` (already HTML); with `code`, a switch that shows a notebook's code cells."""
    switch = '<input type="checkbox" id="show-code"><label for="show-code"></label>' if code else ""
    head = f"<style>{_CSS}{_NOTEBOOK_CSS if code else ''}</style>"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>{head}</head>\n<body>{switch}{body}</body></html>\n"
    )


def figure(facts: Mapping[str, Any], png: Path, here: str) -> str:
    """A run's figure with its badge, its text alternative and the way to its table.

    Args:
        facts: What `workbench.figures` kept beside the picture.
        png: The picture.
        here: The run's folder, seen from the page.
    """
    data = base64.b64encode(png.read_bytes()).decode()
    place, alt = escape(f"{here}/figures/{png.stem}"), escape(facts["alt"])
    return (
        f'<figure><a href="{place}.png"><img src="data:image/png;base64,{data}" alt="{alt}"></a>'
        f'<figcaption><span class="badge {facts["badge"]}">{facts["badge"]}</span> {alt} '
        f'<a href="{place}.csv">Table ({facts["rows"]} rows)</a></figcaption></figure>'
    )


def circumstances(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The code, the versions and the machine of a run, in words."""
    git, hardware = manifest["git"] or {}, manifest["hardware"]
    commit = f"{(git.get('commit') or '–')[:12]}{' with uncommitted changes' if git.get('dirty') else ''}"
    return {
        "code": f"commit {commit}, sources {manifest['code_sha256'][:12]}, data {manifest['data_sha256'][:12]}",
        "with": ", ".join(
            f"{k} {v}" for k, v in {"Python": manifest["python"], **manifest["packages"]}.items()
        ),
        "on": ", ".join([f"{hardware['cores']} × {hardware['processor']}", *hardware["gpus"]]),
    }


def facts_table(facts: Mapping[str, str]) -> str:
    """Names and what is to be said of them, as a table."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items()
    )
    return f'<div class="scroll"><table class="facts">{lines}</table></div>'
