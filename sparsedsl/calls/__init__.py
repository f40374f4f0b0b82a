"""From a program and arguments to results: the kernel for arguments of a kind, found again.

Takes: a traced program, what the user fixed (``choices``), arguments.  Gives: ``runner.Runner``,
which holds a ``specialisation`` for each kind of arguments and knows the next call like it.
"""
