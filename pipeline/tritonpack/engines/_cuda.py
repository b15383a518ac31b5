"""What the CUDA driver says about this machine, asked without any CUDA package."""

from __future__ import annotations

import ctypes
from functools import cache

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.

Source: https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__TYPES.html
"""


@cache
def compute_capability() -> str | None:
    """Of the first GPU, e.g. ``9.0``; None where there is no GPU or no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, count = ctypes.c_int(), ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return None
    driver.cuDeviceGet(ctypes.byref(device), 0)
    version = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        version.append(str(value.value))
    return ".".join(version)
