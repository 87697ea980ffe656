"""Vectors of 16 numbers in the kernels' language, so that sums stay in a processor's registers.

numba leaves it to LLVM to find vectors in loops over single numbers. It finds them in simple
loops, but keeps their sums in memory, and then half of the time goes into loads and stores.
Here a vector is a value. Its operations are one instruction each: two or four on processors
whose registers hold less. All work on single and double precision.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16
CONTRACT = ("contract",)  # a product and a sum may become one instruction, which rounds once


class Vector(types.Type):  # type: ignore[misc]
    """The type of 16 numbers of ``dtype``."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, ir.VectorType(manager.lookup(vector.dtype).get_value_type(), WIDTH))


@intrinsic
def load(typing: Any, array: Any, index: Any) -> Any:
    """Return 16 numbers of an array ``[n]`` from an index on, which is not checked."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, alignment = _pointer(context, builder, signature, arguments)
        return builder.load(pointer, align=alignment)

    return Vector(array.dtype)(array, types.int64), generate


@intrinsic
def store(typing: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write a vector to an array, from an index on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer, alignment = _pointer(context, builder, signature, arguments)
        builder.store(arguments[2], pointer, align=alignment)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), generate


@intrinsic
def spread(typing: Any, array: Any, index: Any) -> Any:
    """Return a vector of 16 times the number at an index of an array."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _spread(builder, builder.load(_item(context, builder, signature, arguments)))

    return Vector(array.dtype)(array, types.int64), generate


@intrinsic
def pick(typing: Any, first: Any, second: Any, then: Any, other: Any) -> Any:
    """Return ``then`` in places where ``first`` is larger than ``second``, else ``other``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first, second, then, other = arguments
        return builder.select(builder.fcmp_ordered(">", first, second), then, other)

    return first(first, first, first, first), generate


@intrinsic
def full(typing: Any, number: Any) -> Any:
    """Return a vector of 16 times a number."""
    return Vector(number)(number), lambda context, builder, signature, arguments: _spread(builder, arguments[0])


@intrinsic
def _add(typing: Any, first: Any, second: Any) -> Any:
    return first(first, first), lambda context, builder, signature, arguments: builder.fadd(*arguments, flags=CONTRACT)


@intrinsic
def _multiply(typing: Any, first: Any, second: Any) -> Any:
    return first(first, first), lambda context, builder, signature, arguments: builder.fmul(*arguments, flags=CONTRACT)


@overload(operator.iadd)
@overload(operator.add)
def _of_vectors_add(first, second):  # type: ignore[no-untyped-def]
    return (lambda first, second: _add(first, second)) if isinstance(first, Vector) else None


@overload(operator.imul)
@overload(operator.mul)
def _of_vectors_mul(first, second):  # type: ignore[no-untyped-def]
    return (lambda first, second: _multiply(first, second)) if isinstance(first, Vector) else None


def _spread(builder: Any, number: Any) -> Any:
    vector, index = ir.VectorType(number.type, WIDTH), ir.IntType(32)
    only = builder.insert_element(ir.Constant(vector, ir.Undefined), number, index(0))
    zeros = ir.Constant(ir.VectorType(index, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(only, ir.Constant(vector, ir.Undefined), zeros)


def _item(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> tuple[Any, int]:
    number = context.get_value_type(signature.args[0].dtype)
    item = _item(context, builder, signature, arguments)
    return builder.bitcast(item, ir.VectorType(number, WIDTH).as_pointer()), context.get_abi_sizeof(number)
