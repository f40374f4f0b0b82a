"""Functions of complex numbers, as text for Numba, whose own differ from NumPy's.

Those of Numba overflow on the way (``tanh(50)`` in single precision is NaN), meet a zero with an
infinity (``exp(720)``), or lose what is small beside 1 (``expm1``, ``log``).  Invariant: results
are NumPy's within a few units in the last place, and infinite, NaN or of a sign where those are;
single precision is computed in double.
"""

EXP = """\
@register_jitable
def complex_exp(z):
    x, y = np.float64(z.real), np.float64(z.imag)
    if y == 0.0:
        return complex(np.exp(x), y)
    if np.isfinite(y) and np.isfinite(x):
        # a half at a time: the product may be finite where exp(x) is not
        half = np.exp(0.5 * x) if x > 709.0 else 1.0
        rest = half if x > 709.0 else np.exp(x)
        return complex(half * np.cos(y) * rest, half * np.sin(y) * rest)
    return np.exp(complex(x, y))
"""

EXPM1 = """\
@register_jitable
def complex_expm1(z):
    x, y = z.real, z.imag  # no wider: NumPy's overflow meets zeros, too
    half = np.sin(0.5 * y)
    return complex(np.expm1(x) * np.cos(y) - 2.0 * half * half, np.exp(x) * np.sin(y))
"""

LOG = """\
@register_jitable
def complex_log(z, scale):
    x, y = np.float64(z.real), np.float64(z.imag)
    more, less = max(abs(x), abs(y)), min(abs(x), abs(y))
    if np.isinf(x) or np.isinf(y):
        real = np.inf
    elif np.isnan(x) or np.isnan(y):
        real = np.nan
    elif 0.5 < more < 1.5 and less < 1.5:
        # what is near 1 is compared with 1 before it is squared
        real = 0.5 * np.log1p((more - 1.0) * (more + 1.0) + less * less)
    else:
        real = np.log(np.hypot(x, y))
    return complex(real * scale, math.atan2(y, x) * scale)
"""

SIGN = """\
@register_jitable
def complex_sign(z):
    x, y = z.real, z.imag
    if np.isinf(x) != np.isinf(y):
        if np.isinf(x):
            return complex(math.copysign(1.0, x), 0.0)
        return complex(0.0, math.copysign(1.0, y))
    if np.isnan(x) or np.isnan(y) or np.isinf(x):
        return complex(np.nan, np.nan)
    length = np.hypot(x, y)
    return complex(x / length, y / length) if length > 0.0 else complex(0.0, 0.0)
"""

SINH = """\
@register_jitable
def complex_sinh(z, turned):
    # turned: sin(z) = -i sinh(i z)
    x, y = np.float64(z.real), np.float64(z.imag)
    if turned:
        x, y = -y, x
    if y == 0.0:
        real, imag = np.sinh(x), y
    elif np.isfinite(x) and np.isfinite(y):
        if abs(x) > 709.0:
            half = np.exp(0.5 * abs(x))
            real = math.copysign(0.5, x) * half * np.cos(y) * half
            imag = 0.5 * half * np.sin(y) * half
        else:
            real, imag = np.sinh(x) * np.cos(y), np.cosh(x) * np.sin(y)
    elif np.isinf(x) and np.isfinite(y):
        real, imag = x * np.cos(y), np.inf * np.sin(y)
    else:
        real, imag = (x if x == 0.0 or np.isinf(x) else np.nan), np.nan
    return complex(imag, -real) if turned else complex(real, imag)
"""

COSH = """\
@register_jitable
def complex_cosh(z, turned):
    # turned: cos(z) = cosh(i z)
    x, y = np.float64(z.real), np.float64(z.imag)
    if turned:
        x, y = -y, x
    if y == 0.0:
        return complex(np.cosh(x), math.copysign(0.0, x) * y)
    if np.isfinite(x) and np.isfinite(y):
        if abs(x) > 709.0:
            half = np.exp(0.5 * abs(x))
            real = 0.5 * half * np.cos(y) * half
            return complex(real, math.copysign(0.5, x) * half * np.sin(y) * half)
        return complex(np.cosh(x) * np.cos(y), np.sinh(x) * np.sin(y))
    if np.isinf(x):
        if np.isfinite(y):
            return complex(np.inf * np.cos(y), x * np.sin(y))
        return complex(np.inf, np.nan)
    return complex(np.nan, 0.0 if x == 0.0 else np.nan)
"""

TANH = """\
@register_jitable
def complex_tanh(z, turned):
    # turned: tan(z) = -i tanh(i z)
    x, y = np.float64(z.real), np.float64(z.imag)
    if turned:
        x, y = -y, x
    if y == 0.0:
        real, imag = np.tanh(x), y
    elif np.isinf(x):
        real = math.copysign(1.0, x)
        imag = math.copysign(0.0, np.sin(2.0 * y)) if np.isfinite(y) else math.copysign(0.0, y)
    elif np.isnan(x) or not np.isfinite(y):
        real, imag = (x if x == 0.0 else np.nan), np.nan
    elif abs(x) > 22.0:
        # 1 for all digits; the rest is small, and may be nothing
        rest = 2.0 * np.exp(-2.0 * abs(x))
        real, imag = math.copysign(1.0, x), rest * np.sin(2.0 * y)
    else:
        slope, s = np.tan(y), np.sinh(x)
        steep = 1.0 + slope * slope
        below = 1.0 + steep * s * s
        real, imag = steep * np.sqrt(1.0 + s * s) * s / below, slope / below
    return complex(imag, -real) if turned else complex(real, imag)
"""

ARCTAN = """\
@register_jitable
def complex_arctan(z):
    x, y = z.real, z.imag
    if np.isnan(x) and y == 0.0:
        return complex(x, y)
    if np.isnan(y) and np.isfinite(x):
        return complex(np.nan, np.nan)
    return np.arctan(z)
"""
