"""MLServer's Hugging Face runtime, in an environment whose torch is newer than its optimum.

The runtime imports optimum's pipelines, also where it uses transformers' own, as here; and optimum 1.27, the last that
it takes, doesn't import beside torch 2.13, which every peer has. So something empty stands in their place.
"""

import sys
from types import ModuleType

_nothing = ModuleType("optimum.pipelines")
vars(_nothing).update(ORT_SUPPORTED_TASKS={}, pipeline=None)
sys.modules[_nothing.__name__] = _nothing

from mlserver_huggingface import HuggingFaceRuntime  # noqa: E402  what it imports is made above

__all__ = ["HuggingFaceRuntime"]
