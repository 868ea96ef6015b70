"""Functions over pixels, compiled to machine code once on a machine."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function of arrays and numbers; it runs beside other threads.

    The machine code is kept beside the source or in the user's cache, so that the next process loads it.
    Floats keep the order of the source and are never contracted: every machine gives the same bytes.
    """
    try:
        return cast("Function", numba.njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # no folder that can be written: it is compiled again in each process
        return cast("Function", numba.njit(nogil=True, error_model="numpy")(function))
