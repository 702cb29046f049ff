# SPDX-License-Identifier: MIT
"""The mark of a test; run.py finds them by it."""


def case(function=None, *, sanitized=False, quiet=False):
    """@case; sanitized: it also runs with sanitized binaries; quiet: it measures a promise in
    milliseconds, so nothing else runs beside it."""
    def mark(f):
        f.is_case, f.sanitized, f.quiet = True, sanitized, quiet
        return f
    return mark(function) if function else mark
