/// The functions of attention/linear_kernel.h for one instruction set; Kernels says what each does.
#pragma once

#include "attention/linear_kernel.h"

namespace rapt::attention::linear::RAPT_ISA {

void import_state(const Call& call, const Item& item, const void* from, void* to);
void export_state(const Call& call, const Item& item, const void* from, void* to);

void prepare(const Call& call, const Item& item, const Step& step);
void advance(const Call& call, const Item& item, const Step& step, std::int32_t first, std::int32_t last);
void output(const Call& call, const Item& item, const Step& step);

// The backward pass of the forms that add up, and of the delta rule.
void prepare_sums_backward(const Call& call, const Item& item, const Step& step);
void advance_sums_backward(const Call& call, const Item& item, const Step& step, std::int32_t first, std::int32_t last);
void finish_sums_backward(const Call& call, const Item& item, const Step& step);
std::int64_t bytes_of_sums_backward(const Call& call, const Item& item);
void prepare_delta_backward(const Call& call, const Item& item, const Step& step);
void advance_delta_backward(const Call& call, const Item& item, const Step& step, std::int32_t first,
                            std::int32_t last);
void finish_delta_backward(const Call& call, const Item& item, const Step& step);
std::int64_t bytes_of_delta_backward(const Call& call, const Item& item);

void recurrent(const Call& call, const Item& item, void* state, void* memory);
std::int64_t bytes_of_recurrent(const Call& call);
Kernel weights_items, tile_statistics_items, row_statistics_items;

}  // namespace rapt::attention::linear::RAPT_ISA
