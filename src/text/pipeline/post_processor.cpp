#include "text/pipeline/post_processor.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "formats/printable.h"

namespace rapt {
namespace {

constexpr std::size_t kMaxTokens = 64;  // around one text

std::int32_t to_id(const JsonObject& object, std::string_view key, const Json& value) {
  const bool sound = value.is_number_unsigned() && value <= std::numeric_limits<std::int32_t>::max();
  if (!sound) object.refuse(key, "ids of tokens");
  return value.get<std::int32_t>();
}

/// "cls" or "sep": the name of a token and its id.
std::int32_t read_named(const JsonObject& object, std::string_view key) {
  const Json& pair = object.value(key);
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string()) object.refuse(key, "a name and an id");
  return to_id(object, key, pair[1]);
}

/// Appends the ids of an entry of "special_tokens". (Entries that only pairs of texts use are not looked at.)
void append_special(const JsonObject& object, const std::string& name, std::vector<std::int32_t>& ids) {
  const Json& tokens = object.value("special_tokens");
  const bool known =
      tokens.is_object() && tokens.contains(name) && tokens[name].is_object() && tokens[name].contains("ids");
  if (!known || !tokens[name]["ids"].is_array())
    object.refuse("special_tokens", fmt::format("an object with the ids of \"{}\"", printable(name)));
  for (const Json& id : tokens[name]["ids"]) ids.push_back(to_id(object, "special_tokens", id));
  if (ids.size() > kMaxTokens) object.refuse("special_tokens", "at most 64 tokens around a text");
}

Surroundings read_template(const JsonObject& object) {
  object.value("pair");  // rapt encodes single texts
  Surroundings result;
  bool text_seen = false;
  for (const JsonObject& item : object.objects("single")) {
    if (const auto sequence = item.find_object("Sequence")) {
      if (sequence->text("id") != "A" || text_seen)
        sequence->refuse("id", "\"A\", once in the template of a single text");
      sequence->value("type_id");
      text_seen = true;
    } else {
      const JsonObject special = item.object("SpecialToken");
      special.value("type_id");
      append_special(object, special.text("id"), text_seen ? result.after : result.before);
    }
  }
  if (!text_seen) object.refuse("single", "a template with the text in it");
  object.value("special_tokens");
  return result;
}

Surroundings read_post_processors(const JsonObject& object) {
  Surroundings result;
  for (const JsonObject& step : object.objects("processors")) {
    const Surroundings outer = read_post_processor(step);
    result.before.insert(result.before.begin(), outer.before.begin(), outer.before.end());
    result.after.insert(result.after.end(), outer.after.begin(), outer.after.end());
    if (result.before.size() + result.after.size() > kMaxTokens)
      object.refuse("processors", "at most 64 tokens around a text");
  }
  return result;
}

}  // namespace

Surroundings read_post_processor(const JsonObject& object) {
  const std::string type = object.text("type");
  for (const char* key : {"add_prefix_space", "trim_offsets", "use_regex"}) object.value(key);  // of places in the text
  if (type == "Sequence") return read_post_processors(object);
  if (type == "TemplateProcessing") return read_template(object);
  if (type == "ByteLevel") return {};
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    return {.before = {read_named(object, "cls")}, .after = {read_named(object, "sep")}};
  }
  object.refuse("type", "a kind of post-processor that rapt knows");
}

}  // namespace rapt
