#include "kernels/operands.h"

#include <string>

namespace rapt::kernels {

void check_type(const char* kernel, const char* name, const Tensor& tensor, std::initializer_list<DType> types) {
  if (std::find(types.begin(), types.end(), tensor.dtype()) != types.end()) return;
  std::string expected;
  for (const DType type : types) {
    if (!expected.empty()) expected += " or ";
    expected += name_of(type);
  }
  fail("{}: {} holds {}, expected {}; convert it first", kernel, name, name_of(tensor.dtype()), expected);
}

void check_operand(const char* kernel, const char* name, const Tensor& tensor, const Shape& shape, DType dtype) {
  require(tensor.defined(), "{}: {} is undefined, expected {} {}", kernel, name, shape, name_of(dtype));
  require(tensor.shape() == shape && tensor.dtype() == dtype, "{}: {} is {} {}, expected {} {} like the other operands",
          kernel, name, tensor.shape(), name_of(tensor.dtype()), shape, name_of(dtype));
}

}  // namespace rapt::kernels
