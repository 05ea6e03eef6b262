"""How a net runs: which neighbours are one pass over memory, in what order, and by which algorithms.

`join` says which layers are one pass. `step` is what all passes promise each other, `kinds` and `branches` have one for
each type of layer. `plan` is what a net goes through, `show` prints it, and `watch` looks at what each layer gives.
"""

from .plan import Plan
from .program import PredictionPlan
from .show import show_plan
from .watch import watching

__all__ = ["Plan", "PredictionPlan", "show_plan", "watching"]
