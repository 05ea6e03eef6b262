"""How a net runs."""
