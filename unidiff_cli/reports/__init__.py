"""Reports: pages and tables from typed records. Nothing here knows a model or a metric.

In: a `Report` or an `AblationReport` (schema.py), and images. Out: JSON, markdown and single HTML
files. To add a page, extend `templates/page.html.j2` and render it with `html.render`.
"""
