/// Making any text safe and honest to show: what a reader cannot see is spelled out, what a page could mistake for
/// markup is escaped.
#pragma once

#include <cstddef>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace rapt::view {

/// `text` as valid UTF-8 in which nothing is hidden: a byte that is not UTF-8 becomes U+FFFD, a control character its
/// picture (U+2400 ff.; a line feed, U+21B5), other invisible characters (bidirectional controls, zero-width spaces,
/// line separators, tags, noncharacters) their code, as in "[U+202E]". The joiners U+200C and U+200D stay, for many
/// scripts need them. Text longer than `limit` code points is cut, and the cut says how many bytes it left out.
std::string display_text(std::string_view text, std::size_t limit = std::numeric_limits<std::size_t>::max());

/// `text` with &, <, > and quotes as character references, to stand in HTML text or in a quoted attribute.
std::string html_text(std::string_view text);

/// `value` as JSON that can stand inside an HTML script element: pure ASCII without '<', '>' and '&', so no text in it
/// can end the element or open a comment. Strings must be valid UTF-8.
std::string script_json(const nlohmann::json& value);

}  // namespace rapt::view
