"""The rows of docs/conformance.md as checks, one function each, registered under the row's name.

A check gets the Lab (conformance.py), raises when the program does something else than the row asks for, and may return a
remark. The rules are the RFCs' own; the row says which.
"""

CHECKS = {}


def row(name, tries=1):
    """Registers the check of a row. More than one try is for questions that have to meet while they are in flight: on a machine
    that stalls, asking a second time elsewhere is what the program should do."""

    def register(function):
        assert name not in CHECKS, name
        function.tries = tries
        CHECKS[name] = function
        return function

    return register
