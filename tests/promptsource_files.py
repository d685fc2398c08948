"""A folder of template files in promptsource's format, with two templates of one data set."""

PLACE = "small/en/templates.yaml"  # below a folder of templates
PROMPTSOURCE = """dataset: small
subset: en
templates:
  11111111-1111-1111-1111-111111111111: !Template
    answer_choices: '{{choice1}} ||| {{choice2}}'
    id: 11111111-1111-1111-1111-111111111111
    jinja: "{{premise}} So? ||| {{answer_choices[label]}}"
    metadata: !TemplateMetadata
      languages: [en]
      metrics: [Accuracy]
    name: so
    reference: ''
  22222222-2222-2222-2222-222222222222: !Template
    answer_choices: '{{choice1}} ||| {{choice2}}'
    id: 22222222-2222-2222-2222-222222222222
    jinja: "{{premise}} Basi? {% if label %}!{% endif %} ||| {{answer_choices[label]}}"
    metadata: !TemplateMetadata {languages: null}
    name: so_swht
    reference: ''
"""


def checkout(folder, text=PROMPTSOURCE, root="promptsource/templates"):
    """Write the file into a folder laid out as a checkout of promptsource, and return the folder."""
    path = folder / root / PLACE
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return folder
