"""Pages and images for people: they read a typed report and know no model and no metric.

In: the records of `schema.py`. Out: HTML, Markdown, plots as SVG, contact sheets.
A new page is a template in `templates/` and a function that fills it.
"""
