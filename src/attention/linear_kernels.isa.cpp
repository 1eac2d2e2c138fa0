#include "attention/linear_chunk.h"
#include "attention/linear_steps.h"

namespace rapt::attention::linear::RAPT_ISA {
namespace {

void measure(const Call& call, const Item& item, Sizes* sizes) {
  Carver chunk{0}, states{0};
  with_scalar(call, [&](auto s) {
    Buffers<decltype(s)>(call).carve(chunk, call, item);
    for (long i = 0; i < states_of(call, item); ++i) State<decltype(s)>().carve(states, call);
  });
  *sizes = {.chunk = static_cast<std::int64_t>(chunk.used),
            .chunk_backward = call.delta ? bytes_of_delta_backward(call, item) : bytes_of_sums_backward(call, item),
            .state = static_cast<std::int64_t>(states.used),
            .recurrent = bytes_of_recurrent(call)};
}

void prepare_backward(const Call& call, const Item& item, const Step& step) {
  call.delta ? prepare_delta_backward(call, item, step) : prepare_sums_backward(call, item, step);
}
void advance_backward(const Call& call, const Item& item, const Step& step, std::int32_t first, std::int32_t last) {
  call.delta ? advance_delta_backward(call, item, step, first, last)
             : advance_sums_backward(call, item, step, first, last);
}
void finish_backward(const Call& call, const Item& item, const Step& step) {
  call.delta ? finish_delta_backward(call, item, step) : finish_sums_backward(call, item, step);
}

}  // namespace

extern const Kernels kernels;
const Kernels kernels{.measure = measure,
                      .import_state = import_state,
                      .export_state = export_state,
                      .prepare = prepare,
                      .advance = advance,
                      .output = output,
                      .prepare_backward = prepare_backward,
                      .advance_backward = advance_backward,
                      .finish_backward = finish_backward,
                      .recurrent = recurrent,
                      .of_weights = {weights_items, tile_statistics_items},
                      .row_statistics = row_statistics_items};

}  // namespace rapt::attention::linear::RAPT_ISA
