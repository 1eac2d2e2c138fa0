/// The pages of a package index: PEP 503 (HTML) and PEP 691 (JSON).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace rapt::hub {

/// A file that a package's page lists.
struct IndexLink {
  std::string name;
  std::string reference;  ///< address, relative to the page's base
  std::string sha256;     ///< empty where the page does not say
};

struct IndexPage {
  std::string base;  ///< what the page says its links are relative to; empty: itself
  std::vector<IndexLink> links;
};

inline constexpr const char* index_page_types =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// Reads a page of either kind, told apart by its first character. `url` is for messages. Throws Error for JSON that is
/// damaged; HTML without links has none.
IndexPage parse_index_page(std::string_view text, const std::string& url);

}  // namespace rapt::hub
