"""How a net is trained: losses, optimisers, schedules, and the Solver that runs them."""
