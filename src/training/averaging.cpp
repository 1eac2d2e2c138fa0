#include "training/averaging.h"

#include "core/error.h"

namespace rapt::training {
namespace {

const Tensor& same_tensor(const Safetensors& file, const std::filesystem::path& path, const std::string& name,
                          const Tensor& first) {
  const auto found = file.tensors.find(name);
  require(found != file.tensors.end(), "{}: has no tensor \"{}\"; it is a checkpoint of another model", path.string(),
          name);
  const Tensor& tensor = found->second;
  require(tensor.shape() == first.shape() && tensor.dtype() == first.dtype(),
          "{}: tensor \"{}\" is {} {}, in the first checkpoint {} {}; it is a checkpoint of another model",
          path.string(), name, name_of(tensor.dtype()), tensor.shape(), name_of(first.dtype()), first.shape());
  return tensor;
}

template <typename T>
Tensor mean(std::span<const Tensor> tensors) {
  Tensor result = Tensor::empty(tensors.front().shape(), tensors.front().dtype());
  T* out = result.write<T>();
  std::vector<const T*> in;
  for (const Tensor& tensor : tensors) in.push_back(tensor.data<T>());
  for (std::int64_t i = 0; i < result.count(); ++i) {
    double sum = 0;
    for (const T* values : in) sum += static_cast<double>(values[i]);
    out[i] = static_cast<T>(sum / static_cast<double>(in.size()));
  }
  return result;
}

}  // namespace

std::vector<NamedTensor> mean_of(std::span<const std::filesystem::path> files) {
  require(!files.empty(), "there is no checkpoint to average");
  std::vector<Safetensors> opened;
  for (const auto& path : files) opened.push_back(read_safetensors(path));
  std::vector<NamedTensor> result;
  for (const auto& [name, first] : opened.front().tensors) {
    std::vector<Tensor> tensors;
    for (std::size_t i = 0; i < files.size(); ++i) {
      require(opened[i].tensors.size() == opened.front().tensors.size(),
              "{}: has {} tensors, the first checkpoint {}; it is a checkpoint of another model", files[i].string(),
              opened[i].tensors.size(), opened.front().tensors.size());
      tensors.push_back(same_tensor(opened[i], files[i], name, first));
    }
    result.emplace_back(name, first.dtype() == DType::f64 ? mean<double>(tensors) : mean<float>(tensors));
  }
  return result;
}

}  // namespace rapt::training
