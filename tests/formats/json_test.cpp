#include "formats/json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "formats/scratch.h"

namespace rapt {
namespace {

std::string repeated(std::string_view text, std::size_t times) {
  std::string result;
  for (std::size_t i = 0; i < times; ++i) result += text;
  return result;
}

std::string nested(std::size_t depth) {
  return repeated("[", depth).append(repeated("]", depth));
}

Json parse(std::string_view text) {
  return parse_json(text, "config.json");
}

JsonObject config(std::string_view text) {
  return JsonObject::parse(text, "config.json");
}

TEST(Json, ParsesWhatItWrites) {
  const std::string text = R"({"a": [1, -2, 2.5, 1e300, "x\u00e9\ud83d\ude42", true, null, {}], "b": {"c": []}})";
  const Json value = parse(text);
  EXPECT_EQ(value, Json::parse(text));
  EXPECT_EQ(parse(value.dump()), value);
  EXPECT_EQ(parse("\xef\xbb\xbf{}"), Json::object());
  EXPECT_EQ(json_text(OrderedJson{{"b", 1}, {"a", "é"}}), "{\n  \"b\": 1,\n  \"a\": \"é\"\n}\n");
  EXPECT_EQ(json_line(OrderedJson{{"b", 1}, {"a", "é"}}), "{\"b\":1,\"a\":\"é\"}");
  EXPECT_TRUE(refuses([] { json_text("\xff"); }, "not UTF-8"));
}

TEST(Json, C1_SyntaxErrorsNameThePlaceAndTheKey) {
  EXPECT_TRUE(refuses([] { parse(""); }, "config.json: line 1, column 1: not valid JSON"));
  EXPECT_TRUE(refuses([] { parse("{\n \"a\": {\"b\": [1, 2, x]}}"); },
                      "config.json: line 2, column 20, \"a.b[1]\": not valid"));
  for (const std::string_view text :
       {"{", "[1,]", "{\"a\":1,}", "{'a':1}", "nul", "01", "+1", "1 2", "{} {}", "NaN", "Infinity", "\"\t\"", "\"\\x\"",
        "\"\\ud800\"", "// c\n1", "{\"a\" 1}", "{1:2}", "]", "\"open"}) {
    EXPECT_TRUE(refuses([&] { parse(text); }, "config.json: line ", "not valid JSON: ")) << text;
  }
}

TEST(Json, C1_SaysWhatTheFileIsInstead) {
  const Scratch scratch;
  const auto refused = [&](const std::string& text, const std::string& what) {
    put(scratch / "config.json", text);
    return refuses([&] { read_json(scratch / "config.json"); }, "config.json: not JSON", what);
  };
  EXPECT_TRUE(refused("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"));
  EXPECT_TRUE(refused("<!doctype html><html>Entry not found</html>", "web page"));
  EXPECT_TRUE(refused("\x80\x02\x8a\x0a", "pickle"));
}

TEST(Json, C1_RefusesInvalidUtf8AndNul) {
  for (const std::string_view bytes : {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_TRUE(refuses([&] { parse(fmt::format("{{\"a\": \"{}\"}}", bytes)); }, "\"a\": not valid JSON"));
  }
  EXPECT_TRUE(refuses([] { parse(std::string_view("{}\0{\"hidden\": 1}", 16)); }, "holds a NUL byte"));
}

TEST(Json, C1_RefusesNumbersBeyondDouble) {
  EXPECT_TRUE(refuses([] { parse("{\"a\": {\"eps\": 1e400}}"); }, "\"a.eps\"", "number overflow"));
  EXPECT_TRUE(refuses([] { parse("-1e400"); }, "number overflow"));
  EXPECT_EQ(parse("1e-400"), 0.0);
}

TEST(Json, C1_RefusesAKeyGivenTwice) {
  EXPECT_TRUE(refuses([] { parse(R"({"a": {"b": 1, "c": 2, "b": 1}})"); },
                      "config.json: \"a.b\": the key is given twice in one object"));
  EXPECT_TRUE(refuses([] { parse(R"({"a": 1, "\u0061": 2})"); }, "given twice"));
  EXPECT_EQ(parse(R"([{"a": 1}, {"a": 2}])").size(), 2U);
}

TEST(Json, C1_RefusesDeepNestingWithoutUsingTheStack) {
  EXPECT_EQ(parse(nested(64)).size(), 1U);
  EXPECT_TRUE(refuses([] { parse(nested(65)); }, "nested deeper than 64 levels"));
  EXPECT_TRUE(refuses([] { parse(repeated("[", 10'000'000)); }, "nested deeper than 64 levels"));
  EXPECT_TRUE(refuses([] { parse(repeated("{\"a\":", 100'000)); }, "\"a.a.a", "nested deeper than 64 levels"));
}

TEST(Json, C1_RefusesWhatIsTooLarge) {
  const std::string large = fmt::format("\"{}\"", repeated("x", 100'000'000));
  EXPECT_TRUE(
      refuses([&] { parse(large); }, "config.json: 100000002 bytes of JSON, where at most 16777216 are allowed"));
  EXPECT_TRUE(
      refuses([] { parse(fmt::format("[{}0]", repeated("0,", 5'000'000))); }, "holds more than 4194304 values"));
  EXPECT_TRUE(
      refuses([] { parse_json(R"({"a":1,"b":2,"c":3})", "x", {.members = 2}); }, "x: an object holds more than 2"));
  const Scratch scratch;
  put(scratch / "config.json", large);
  EXPECT_TRUE(refuses([&] { read_json(scratch / "config.json"); }, "config.json: is longer than the 16777216 bytes"));
  EXPECT_TRUE(refuses([&] { read_json(scratch / "missing.json"); }, "missing.json: cannot be opened"));
}

TEST(Json, C1_ErrorsStayShortAndOnOneLine) {
  const std::string noise = fmt::format("\x1b[31m\n{}", repeated("x", 1'000'000));
  const std::string escaped = fmt::format("\\u001b[31m\\n{}", repeated("x", 1'000'000));
  EXPECT_TRUE(refuses([&] { parse(fmt::format("\"{}", noise)); }, "not valid JSON"));
  EXPECT_TRUE(refuses([&] { parse(fmt::format("1e{}", repeated("9", 1'000'000))); }, "number overflow"));
  EXPECT_TRUE(refuses([&] { parse(fmt::format(R"({{"{0}": [1, {{"{0}": }}]}})", escaped)); }, "not valid JSON"));
  const JsonObject object = config(fmt::format(R"({{"{0}": 1, "a": "{0}"}})", escaped));
  EXPECT_TRUE(refuses([&] { object.integer("a"); }, "expected an integer"));
  EXPECT_TRUE(refuses([&] { object.require_all_read(); }, "not understood"));
}

TEST(Json, MutatedTextIsParsedAsTheLibraryDoesOrRefused) {
  const std::string good =
      R"({"model": "marian", "dims": [1, 2.5e-3, -4], "nested": {"a\n": null, "é": [true, {"x": ""}]}})";
  std::mt19937 random(1);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = good;
    for (unsigned edits = 1 + random() % 3; edits > 0; --edits)
      text[random() % text.size()] = static_cast<char>(random());
    Json value;
    try {
      value = parse(text);
    } catch (const Error&) {
      continue;
    }
    ++accepted;
    EXPECT_EQ(value, Json::parse(text));
  }
  EXPECT_GT(accepted, 100);
}

TEST(JsonObject, ReadsTypedValues) {
  const JsonObject object =
      config(R"({"i": 3, "n": -2.5, "b": true, "t": "text", "is": [1, 2], "ts": ["x"], "o": {"k": 1},
                                       "os": [{"k": 1}, {"k": 2}], "null": null})");
  EXPECT_EQ(object.integer("i"), 3);
  EXPECT_EQ(object.number("n"), -2.5);
  EXPECT_EQ(object.number("i"), 3.0);
  EXPECT_TRUE(object.boolean("b"));
  EXPECT_EQ(object.text("t"), "text");
  EXPECT_EQ(object.integers("is"), (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(object.texts("ts"), (std::vector<std::string>{"x"}));
  EXPECT_EQ(object.object("o").integer("k"), 1);
  EXPECT_EQ(object.objects("os").at(1).integer("k"), 2);
  EXPECT_EQ(object.value("is"), Json::parse("[1, 2]"));
  for (const char* absent : {"null", "missing"}) {
    EXPECT_FALSE(object.has(absent));
    EXPECT_FALSE(object.find_integer(absent));
    EXPECT_FALSE(object.find_number(absent));
    EXPECT_FALSE(object.find_boolean(absent));
    EXPECT_FALSE(object.find_text(absent));
    EXPECT_FALSE(object.find_integers(absent));
    EXPECT_FALSE(object.find_texts(absent));
    EXPECT_FALSE(object.find_object(absent));
    EXPECT_FALSE(object.find_objects(absent));
    EXPECT_TRUE(object.value(absent).is_null());
  }
  EXPECT_TRUE(object.has("i"));
  EXPECT_EQ(config(R"({"b": 1, "a": 2})").keys(), (std::vector<std::string>{"a", "b"}));
}

TEST(JsonObject, C1_WrongTypesNameKeyExpectedAndFound) {
  const JsonObject object = config(R"({"d_model": "abc", "heads": 2.5, "zero": 0, "big": 18446744073709551615,
                                       "huge": 18446744073709551616, "list": [1, "x"], "o": {"p": {"q": false}}, "os": [{}, 1]})");
  EXPECT_TRUE(refuses([&] { object.integer("d_model", {.min = 1}); },
                      "config.json: \"d_model\": expected an integer >= 1, found \"abc\""));
  EXPECT_TRUE(refuses([&] { object.integer("heads"); }, "\"heads\": expected an integer, found 2.5"));
  EXPECT_TRUE(refuses([&] { object.find_integer("zero", {.min = 1, .max = 9}); }, "an integer from 1 to 9, found 0"));
  EXPECT_TRUE(refuses([&] { object.integer("zero", {.max = -1}); }, "an integer <= -1, found 0"));
  EXPECT_TRUE(refuses([&] { object.integer("big"); }, "an integer, found 18446744073709551615"));
  EXPECT_TRUE(refuses([&] { object.integer("huge"); }, "an integer, found 1.8446744073709552e+19"));
  EXPECT_TRUE(refuses([&] { object.integer("missing"); }, "\"missing\": expected an integer, found nothing"));
  EXPECT_TRUE(refuses([&] { object.number("zero", {.min = 0, .exclude_min = true}); }, "a number > 0, found 0"));
  EXPECT_TRUE(refuses([&] { object.number("heads", {.min = 0, .max = 1}); }, "a number >= 0 and <= 1, found 2.5"));
  EXPECT_TRUE(refuses([&] { object.number("list"); }, "a number, found an array of 2"));
  EXPECT_TRUE(refuses([&] { object.boolean("zero"); }, "true or false, found 0"));
  EXPECT_TRUE(refuses([&] { object.text("o"); }, "a string, found an object"));
  EXPECT_TRUE(refuses([&] { object.integers("list"); }, "\"list[1]\": expected an integer, found \"x\""));
  EXPECT_TRUE(refuses([&] { object.texts("list"); }, "\"list[0]\": expected a string, found 1"));
  EXPECT_TRUE(refuses([&] { object.texts("o"); }, "\"o\": expected an array, found an object"));
  EXPECT_TRUE(refuses([&] { object.object("zero"); }, "\"zero\": expected an object, found 0"));
  EXPECT_TRUE(refuses([&] { object.objects("os"); }, "\"os[1]\": expected an object, found 1"));
  EXPECT_TRUE(refuses([&] { object.object("o").object("p").text("q"); }, "\"o.p.q\": expected a string, found false"));
  EXPECT_TRUE(
      refuses([&] { object.refuse("d_model", "one of a, b"); }, "\"d_model\": expected one of a, b, found \"abc\""));
  EXPECT_TRUE(refuses([] { config("[1]"); }, "config.json: expected a JSON object, found an array of 1"));
}

TEST(JsonObject, KnowsWhichKeysNobodyRead) {
  const JsonObject object =
      config(R"({"a": 1, "b": 2, "o": {"x": 1, "y": 2}, "os": [{"k": 1, "l": 2}], "whole": {"z": 1}})");
  using Keys = std::vector<std::string>;
  EXPECT_EQ(object.unread(), (Keys{"a", "b", "o", "os", "whole"}));
  object.integer("a");
  object.object("o").integer("x");
  object.objects("os").at(0).integer("k");
  object.has("b");
  object.find_integer("absent");
  EXPECT_EQ(object.unread(), (Keys{"b", "o.y", "os[0].l", "whole"}));
  object.object("o").integer("y");
  constexpr std::string_view irrelevant[] = {"b", "os[0].l"};
  EXPECT_EQ(object.unread(irrelevant), Keys{"whole"});
  EXPECT_EQ(object.objects("os").at(0).unread(), Keys{"l"});
  EXPECT_TRUE(refuses([&] { object.require_all_read(irrelevant); }, "config.json: 1 key is not understood: \"whole\""));
  EXPECT_TRUE(refuses([&] { object.require_all_read(); }, "3 keys are not understood: \"b\", \"os[0].l\", \"whole\""));
  object.value("whole");
  object.require_all_read(irrelevant);
}

TEST(JsonObject, OutlivesWhatItCameFrom) {
  std::optional<JsonObject> inner;
  {
    const JsonObject outer = config(R"({"a": {"b": "text"}})");
    inner = outer.object("a");
  }
  EXPECT_EQ(inner->text("b"), "text");
}

}  // namespace
}  // namespace rapt
