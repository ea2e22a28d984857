"""A small laboratory: real DNS servers and the program under test in a network namespace of their own.

Used by ci/interop and bench/run. Standard library only, except dnspython in the interop clients.
"""
