#include "text/pipeline/metaspace.h"

#include "text/utf8.h"

namespace rapt {

Metaspace read_metaspace(const JsonObject& object) {
  Metaspace result;
  result.replacement = object.text("replacement");
  if (to_code_points(result.replacement).size() != 1) object.refuse("replacement", "one character");
  result.split = object.find_boolean("split").value_or(true);
  object.value("str_rep");  // an older spelling of "replacement", which wins
  const std::string prepend = object.find_text("prepend_scheme").value_or("always");
  if (prepend == "never") {
    result.prepend = Metaspace::Prepend::never;
  } else if (prepend == "first") {
    result.prepend = Metaspace::Prepend::first;
  } else if (prepend != "always") {
    object.refuse("prepend_scheme", "always, first or never");
  }
  if (!object.find_boolean("add_prefix_space").value_or(true) && result.prepend != Metaspace::Prepend::never) {
    object.refuse("add_prefix_space", "true, as prepend_scheme says so");
  }
  return result;
}

}  // namespace rapt
