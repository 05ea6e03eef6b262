"""The pages, and the tools that make pictures and the site of them."""
