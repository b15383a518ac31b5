"""A pickle that does something when it is read."""

from __future__ import annotations

import os


class Payload:
    """Unpickling it runs code."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)
