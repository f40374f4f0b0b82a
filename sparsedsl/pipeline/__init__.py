"""From a contraction program to compiled kernels, one for each group of its statements.

Takes: a program and what planning reads of its inputs.  Gives: ``groups.Group`` records, joined by
``rows`` where one loop can hold them, and a ``stages.Unit`` of each.
"""
