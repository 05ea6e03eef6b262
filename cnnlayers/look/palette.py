"""Colours and fonts of the pages, as CSS, light and dark: those of `plot.style`."""

PALETTE = """
:root {
  color-scheme: light dark;
  --ink: #1f2933; --muted: #5f6b7a; --faint: #9aa5b1; --rule: #dde2e8; --paper: #ffffff; --desk: #f4f6f8;
  --blue: #0072b2; --orange: #d55e00; --green: #009e73; --purple: #aa4499;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  --serif: "Iowan Old Style", Georgia, "DejaVu Serif", serif;
  --mono: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e6eaef; --muted: #a3aebb; --faint: #66727f; --rule: #363f4a; --paper: #1b2128; --desk: #12161b;
    --blue: #56b4e9; --orange: #f28e4b; --green: #3ecf9f; --purple: #d98cca;
  }
}
"""
