"""From a published checkpoint's layout to a folder that plain transformers loads, bit for bit the same weights.

``source`` opens what was published, a family says what becomes of it, ``convert`` checks the plan against
transformers' own class and writes it tensor by tensor.
"""

from olhar.conversion._hub import HUB_ID, located

__all__ = ["HUB_ID", "located"]
