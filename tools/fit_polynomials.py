"""The polynomials of ``sw/xpu/kernels/ops/vmath.h``: coefficients and largest weighted error.

Least squares at Chebyshev nodes, reweighted towards the largest error until it is even. The weight
makes the error that of the function's result, relative, or for GELU's absolute to magnitude 1.
"""

import math

import numpy as np


def fit(function, low, high, degree, weight, *, first=0, nodes=4000, rounds=60):
    """Return the largest weighted error and the coefficients from ``x**first`` on; with ``first``
    1 the constant is 1."""
    x = (low + high) / 2 + (high - low) / 2 * np.cos(np.pi * (np.arange(nodes) + 0.5) / nodes)
    y = np.array([function(value) for value in x]) - (first == 1)
    w = np.array([weight(value) for value in x])
    scale = max(abs(low), abs(high))
    basis = np.stack([(x / scale) ** n for n in range(first, degree + 1)], 1)
    again, best = np.ones(nodes), (math.inf, None)
    for _ in range(rounds):
        now = w * np.sqrt(again)
        solution = np.linalg.lstsq(basis * now[:, None], y * now, rcond=None)[0]
        error = np.abs((basis @ solution - y) * w)
        if error.max() < best[0]:
            best = error.max(), solution / scale ** np.arange(first, degree + 1)
        again *= error / error.max() + 1e-3
        again /= again.max()
    return best


def tail(t):
    """Half of erfc(t / sqrt(2))."""
    return math.erfc(t / math.sqrt(2)) / 2


def gelu_weight(t):
    """Error of t * tail(t) for one of the tail's logarithm, relative to GELU."""
    return max(t, 0.2) * tail(t) * math.log(2) / max(t * (1 - tail(t)), 0.1)


def log_rest(f):
    if abs(f) < 1e-3:
        return 1 / 3 - f / 4 + f * f / 5 - f ** 3 / 6
    return (math.log1p(f) - f + f * f / 2) / f ** 3


def tanh_rest(s):
    x = math.sqrt(s)
    return (math.tanh(x) - x) / x ** 3 if x > 1e-2 else -1 / 3 + 2 * s / 15 - 17 * s * s / 315


def erf_rest(s):
    x = math.sqrt(s)
    return math.erf(x) / x - 1 if x > 1e-4 else 2 / math.sqrt(math.pi) * (1 - s / 3) - 1


HALF = math.log(2) / 2
FITS = {
    "v_exp2_fraction": (lambda r: 2.0 ** r, -0.5, 0.5, 5, lambda r: 2.0 ** -r),
    "v_exp2_chain, constant 1": (lambda r: 2.0 ** r, -0.5, 0.5, 5, lambda r: 2.0 ** -r, 1),
    "v_exp_fraction": (math.exp, -HALF, HALF, 6, lambda r: math.exp(-r)),
    "v_log_polynomial": (log_rest, math.sqrt(0.5) - 1, math.sqrt(2) - 1, 8,
                         lambda f: abs(f) ** 3 / max(abs(math.log1p(f)), 1e-9)),
    "v_tanh, near 0": (tanh_rest, 0, 0.625 ** 2, 4,
                       lambda s: s * math.sqrt(s) / math.tanh(math.sqrt(s) + 1e-12)),
    "v_erf, near 0": (erf_rest, 0, 1, 5, lambda s: 1 / (1 + erf_rest(s))),
    "v_erf, log2(erfc)": (lambda t: math.log2(math.erfc(t)), 0.95, 4.05, 6,
                          lambda t: math.log(2) * math.erfc(t) / math.erf(t)),
    "v_gelu, log2 of the tail": (lambda t: math.log2(tail(t)), 0, 5.6, 7, gelu_weight),
}


def main():
    for name, (function, low, high, degree, weight, *first) in FITS.items():
        error, coefficients = fit(function, low, high, degree, weight, first=first[0] if first
                                  else 0)
        print(f"{name}: error {error:.2e}\n  " + " ".join(
            f"{np.float32(value)!s}" for value in coefficients))


if __name__ == "__main__":
    main()
