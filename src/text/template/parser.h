/// Templates from tokens to trees.
#pragma once

#include <string_view>

#include "text/template/syntax.h"

namespace rapt::jinja {

/// The statements of a template. Throws Error naming the line and the construct for what rapt does not support, and for
/// trees that are deeper than any template needs.
Block parse_template(std::string_view source);

}  // namespace rapt::jinja
