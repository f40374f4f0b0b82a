"""Dataflow graphs: operators, tensors, fusion, operations and bytes."""
