"""From a product or convolution to commands: tiles, their order, their place in the scratchpad.

``shape`` says what is computed, ``plan`` cuts it into jobs, ``cost`` predicts cycles, ``choose``
compares plans, ``bind`` turns one into commands with addresses and semaphore values.
"""

from .bind import Problem, bind_plan, plan_product
from .choose import candidate_plans, choose_plan
from .cost import estimate, lower_bound
from .shape import ProductShape, Source

__all__ = ["Problem", "ProductShape", "Source", "bind_plan", "candidate_plans", "choose_plan",
           "estimate", "lower_bound", "plan_product"]
