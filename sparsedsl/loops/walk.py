"""Visiting every statement and expression of a kernel's body."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import assert_never

from sparsedsl.loops.nodes import (
    Allocate,
    Apply,
    Assign,
    Binary,
    Break,
    Cast,
    Comment,
    Const,
    Expr,
    For,
    If,
    Length,
    Load,
    Not,
    Pack,
    Part,
    Prefetch,
    Resize,
    Select,
    Stmt,
    Store,
    Var,
    While,
)


def statements(body: tuple[Stmt, ...]) -> Iterator[Stmt]:
    """Yield every statement of ``body``, outer ones first, in program order."""
    for statement in body:
        yield statement
        for inner in bodies(statement):
            yield from statements(inner)


def bodies(statement: Stmt) -> tuple[tuple[Stmt, ...], ...]:
    """Return the bodies directly inside ``statement``."""
    match statement:
        case For() | While():
            return (statement.body,)
        case If():
            return (statement.then, statement.otherwise)
        case Assign() | Store() | Break() | Allocate() | Resize() | Prefetch() | Pack() | Comment():
            return ()
        case _:
            assert_never(statement)


def operands(statement: Stmt) -> tuple[Expr, ...]:
    """Return the expressions ``statement`` itself evaluates, not those of its bodies."""
    match statement:
        case Assign(_, value):
            return (value,)
        case Store(_, subscripts, value):
            told = () if statement.passing is None else (statement.passing,)
            return (*subscripts, value, *told)
        case For(_, start, stop):
            return (start, stop)
        case While(condition) | If(condition):
            return (condition,)
        case Allocate(_, _, shape):
            return shape
        case Resize(_, length):
            return (length,)
        case Prefetch(_, subscripts):
            return subscripts
        case Pack(_, place, value, kept):
            return (place, value, kept)
        case Break() | Comment():
            return ()
        case _:
            assert_never(statement)


def children(node: Expr) -> tuple[Expr, ...]:
    """Return the expressions directly inside ``node``."""
    match node:
        case Const() | Var() | Length():
            return ()
        case Load(_, subscripts):
            return subscripts
        case Part(_, place, count):
            return (place, count)
        case Binary(_, left, right):
            return (left, right)
        case Not(operand) | Cast(operand):
            return (operand,)
        case Select(condition, yes, no):
            return (condition, yes, no)
        case Apply(_, arguments):
            return arguments
        case _:
            assert_never(node)


def expressions(node: Expr) -> Iterator[Expr]:
    """Yield ``node`` and every expression inside it."""
    yield node
    for child in children(node):
        yield from expressions(child)


def with_children(node: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """Return ``node`` with ``change`` applied to the expressions directly inside it."""
    match node:
        case Const() | Var() | Length():
            return node
        case Load(_, subscripts):
            return replace(node, subscripts=tuple(map(change, subscripts)))
        case Part(_, place, count):
            return replace(node, place=change(place), count=change(count))
        case Binary(_, left, right):
            return replace(node, left=change(left), right=change(right))
        case Not(operand) | Cast(operand):
            return replace(node, operand=change(operand))
        case Select(condition, yes, no):
            return replace(node, condition=change(condition), yes=change(yes), no=change(no))
        case Apply(_, arguments):
            return replace(node, arguments=tuple(map(change, arguments)))
        case _:
            assert_never(node)


def with_operands(statement: Stmt, change: Callable[[Expr], Expr]) -> Stmt:
    """Return ``statement`` with ``change`` applied to the expressions it evaluates itself."""
    match statement:
        case Assign(_, value):
            return replace(statement, value=change(value))
        case Store(_, subscripts, value):
            passing = None if statement.passing is None else change(statement.passing)
            assert passing is None or isinstance(passing, Var)
            return replace(
                statement,
                subscripts=tuple(map(change, subscripts)),
                value=change(value),
                passing=passing,
            )
        case For(_, start, stop):
            return replace(statement, start=change(start), stop=change(stop))
        case While(condition) | If(condition):
            return replace(statement, condition=change(condition))
        case Allocate(_, _, shape):
            return replace(statement, shape=tuple(map(change, shape)))
        case Resize(_, length):
            return replace(statement, length=change(length))
        case Prefetch(_, subscripts):
            return replace(statement, subscripts=tuple(map(change, subscripts)))
        case Pack(_, place, value, kept):
            place, value, kept = change(place), change(value), change(kept)
            return replace(statement, place=place, value=value, kept=kept)
        case Break() | Comment():
            return statement
        case _:
            assert_never(statement)


def with_bodies(statement: Stmt, change: Callable[[tuple[Stmt, ...]], tuple[Stmt, ...]]) -> Stmt:
    """Return ``statement`` with ``change`` applied to the bodies directly inside it."""
    match statement:
        case For(_, _, _, body) | While(_, body):
            return replace(statement, body=change(body))
        case If(_, then, otherwise):
            return replace(statement, then=change(then), otherwise=change(otherwise))
        case Assign() | Store() | Break() | Allocate() | Resize() | Prefetch() | Pack() | Comment():
            return statement
        case _:
            assert_never(statement)
