"""The demonstration: kernels on real matrices beside scipy, and an expert layer on two machines.

``matrices`` finds the data, ``cases`` states each kernel with its reference, ``measure`` runs
them, ``experts`` runs the expert layer, ``show`` prints it all.
"""
