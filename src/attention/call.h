/// From the operator's public types to what the inner loops are called with.
#pragma once

#include "attention/kernel.h"
#include "attention/terms.h"
#include "core/aligned_memory.h"
#include "rapt/attention.h"

namespace rapt::attention {

Operand operand(const Rows& rows);
/// A call of a checked problem, with its scores' operands and values. What else a kernel asks for is left to the
/// caller.
Call call_of(const Problem& problem, const Inputs& inputs, const Terms& terms);
/// Bytes of an S: f64 for f64 operands, else f32.
std::int64_t size_of_sum(DType dtype);
/// Room for an S of every query token and head.
AlignedMemory memory_of_rows(const Problem& problem, DType dtype);
/// The sequence of an item.
Span span_of(const Item& item);

}  // namespace rapt::attention
