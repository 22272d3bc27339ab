"""From a product or convolution to commands: tiles, their order, their place in the scratchpad.

``shape`` says what is computed, ``plan`` cuts it into jobs, ``cost`` predicts cycles, ``choose``
compares plans; ``problem`` adds addresses and types to a shape, and ``bind`` turns it and a plan
into commands with semaphore values.
"""

from .bind import bind_plan, plan_product
from .choose import candidate_plans, choose_plan
from .cost import estimate, lower_bound
from .problem import Problem
from .shape import ProductShape, Source

__all__ = ["Problem", "ProductShape", "Source", "bind_plan", "candidate_plans", "choose_plan",
           "estimate", "lower_bound", "plan_product"]
