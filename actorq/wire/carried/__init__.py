"""How each type travels, one module for each kind of type.

The rule: what arrives has the type and the content of what left, or is refused where it leaves. So a type is looked up
exactly: a subclass may hold more than its base, and is carried only where all it can hold is known.
"""
