# SPDX-License-Identifier: MIT
"""The mark of a test; run.py finds them by it."""


def case(function=None, *, sanitized=False):
    """@case, or @case(sanitized=True) for those that also run with sanitized binaries."""
    def mark(f):
        f.is_case, f.sanitized = True, sanitized
        return f
    return mark(function) if function else mark
