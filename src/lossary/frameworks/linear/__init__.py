"""How a linear model of any loss is trained: the problem, and its solvers."""
