#include "hub/simple_index.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "formats/json.h"

namespace rapt::hub {
namespace {

constexpr std::string_view kSpace = " \t\r\n\f";
constexpr std::string_view kDigest = "sha256=";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool starts_with_word(std::string_view text, std::string_view word) {
  return text.size() > word.size() && std::ranges::equal(text.substr(0, word.size()), word, {}, lower) &&
         kSpace.find(text[word.size()]) != std::string_view::npos;
}

/// "%2B" is "+".
std::string percent_decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    const bool coded =
        text[i] == '%' && i + 2 < text.size() && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2;
    result += coded ? static_cast<char>(value) : text[i];
    if (coded) i += 2;
  }
  return result;
}

/// Character references that addresses have: the five of XML.
std::string unescaped(std::string_view text) {
  constexpr std::pair<std::string_view, char> known[] = {
      {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#39;", '\''}};
  std::string result;
  while (!text.empty()) {
    const auto* const found =
        std::ranges::find_if(known, [&](const auto& reference) { return text.starts_with(reference.first); });
    const bool is_reference = found != std::end(known);
    result += is_reference ? found->second : text.front();
    text.remove_prefix(is_reference ? found->first.size() : 1);
  }
  return result;
}

/// The value of an attribute of a tag's inside ("a href='x'").
std::optional<std::string> attribute(std::string_view tag, std::string_view name) {
  std::size_t at = tag.find_first_of(kSpace);
  while ((at = tag.find_first_not_of(kSpace, at)) != std::string_view::npos) {
    const std::size_t end = std::min(tag.find_first_of(" \t\r\n\f=", at), tag.size());
    const std::string_view key = tag.substr(at, end - at);
    at = tag.find_first_not_of(kSpace, end);
    std::string_view value;
    if (at != std::string_view::npos && tag[at] == '=') {
      at = tag.find_first_not_of(kSpace, at + 1);
      if (at == std::string_view::npos) return std::nullopt;
      const bool quoted = tag[at] == '"' || tag[at] == '\'';
      const std::size_t begin = quoted ? at + 1 : at;
      const std::size_t stop =
          std::min(quoted ? tag.find(tag[at], begin) : tag.find_first_of(kSpace, begin), tag.size());
      value = tag.substr(begin, stop - begin);
      at = quoted ? stop + 1 : stop;
    }
    if (std::ranges::equal(key, name, {}, lower)) return unescaped(value);
  }
  return std::nullopt;
}

/// What is inside of the tag that begins at `at`; a ">" in quotes does not end it.
std::string_view tag_at(std::string_view text, std::size_t at) {
  char quote = 0;
  for (std::size_t end = at; end < text.size(); ++end) {
    const char c = text[end];
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '>') {
      return text.substr(at, end - at);
    }
  }
  return text.substr(at);
}

IndexLink link_of(const std::string& reference) {
  const std::size_t hash = std::min(reference.find('#'), reference.size());
  IndexLink link{.name = {}, .reference = reference.substr(0, hash), .sha256 = {}};
  const std::string path = link.reference.substr(0, link.reference.find('?'));
  link.name = percent_decoded(path.substr(path.rfind('/') + 1));
  const std::size_t digest = reference.find(kDigest, hash);
  if (digest != std::string::npos) {
    const std::size_t begin = digest + kDigest.size();
    link.sha256 = reference.substr(begin, std::min(reference.find('&', begin), reference.size()) - begin);
  }
  return link;
}

IndexPage parse_html(std::string_view text) {
  IndexPage page;
  for (std::size_t at = text.find('<'); at != std::string_view::npos; at = text.find('<', at)) {
    const std::string_view tag = tag_at(text, ++at);
    const bool is_base = starts_with_word(tag, "base");
    if (!is_base && !starts_with_word(tag, "a")) continue;
    const auto reference = attribute(tag, "href");
    if (!reference) continue;
    if (is_base) {
      page.base = *reference;
    } else {
      page.links.push_back(link_of(*reference));
    }
    at += tag.size();
  }
  return page;
}

IndexPage parse_json_page(std::string_view text, const std::string& url) {
  const JsonObject root = JsonObject::parse(text, url, {.bytes = std::size_t{1} << 26});
  IndexPage page;
  for (const Json& file : root.value("files")) {
    const JsonObject entry = JsonObject::parse(file.dump(), url);
    IndexLink link{.name = entry.text("filename"), .reference = entry.text("url"), .sha256 = {}};
    if (const auto hashes = entry.find_object("hashes")) link.sha256 = hashes->find_text("sha256").value_or("");
    page.links.push_back(std::move(link));
  }
  return page;
}

}  // namespace

IndexPage parse_index_page(std::string_view text, const std::string& url) {
  const std::size_t begin = text.find_first_not_of(kSpace);
  const bool json = begin != std::string_view::npos && text[begin] == '{';
  return json ? parse_json_page(text, url) : parse_html(text);
}

}  // namespace rapt::hub
