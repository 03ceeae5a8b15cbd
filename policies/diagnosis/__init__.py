"""How far first-order gradients of an environment can be trusted: growth, variance, bias, rounding."""
