/// The files of the page, embedded in the library at build time (cmake/embed.cmake).
#pragma once

#include <string_view>

namespace rapt::view::embedded {

/// One embedded text: its bytes, and their SHA-256 in lower-case hexadecimal.
struct File {
  std::string_view text;
  std::string_view sha256;
};

extern const File page_html;
extern const File page_css;
extern const File page_js;

}  // namespace rapt::view::embedded
