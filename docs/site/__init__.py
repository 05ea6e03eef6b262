"""The site: what `make docs` builds of the pages, the docstrings and the examples."""
