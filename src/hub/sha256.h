/// SHA-256 (FIPS 180-4), to tell whether a file is the one that was published.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace rapt::hub {

class Sha256 {
 public:
  Sha256();

  void add(std::span<const std::byte> bytes);
  /// Of all that was added, as 64 hexadecimal digits. Called once, last.
  std::string finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace rapt::hub
