#include "text/chat_template.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "formats/file.h"
#include "formats/gguf_bytes.h"
#include "text/helpers.h"

namespace rapt {
namespace {

using Json = nlohmann::ordered_json;
using test::contains;

/// 26 July 2024, 13:05:09, a Friday, as in script/goldens/chat.py.
std::tm golden_time() {
  std::tm time{};
  time.tm_year = 124, time.tm_mon = 6, time.tm_mday = 26, time.tm_hour = 13, time.tm_min = 5, time.tm_sec = 9;
  time.tm_wday = 5, time.tm_yday = 207;
  return time;
}

Json golden_chat() {
  return Json::parse(test::read_bytes(test::kData / "chat.json"));
}

std::string render(std::string_view source, const Json& variables) {
  return ChatTemplate(source, "template").render(variables, golden_time());
}

/// Compares with a result of the script: a text, its checksum, or an error.
void expect_result(std::string_view source, const Json& variables, const Json& golden, const std::string& name) {
  if (golden.contains("error")) {
    EXPECT_TRUE(contains(test::error_of([&] { render(source, variables); }), "line "))
        << name << " " << golden["error"];
    return;
  }
  try {
    const std::string text = render(source, variables);
    if (golden.contains("text")) {
      EXPECT_EQ(text, golden["text"].get<std::string>()) << name;
    } else {
      Digest digest;
      digest.add(std::as_bytes(std::span(text)));
      EXPECT_EQ(text.size(), golden["bytes"].get<std::size_t>()) << name << "\n" << text;
      EXPECT_EQ(digest.crc32, golden["crc32"].get<std::uint32_t>()) << name << "\n" << text;
    }
  } catch (const Error& error) {
    ADD_FAILURE() << name << ": " << error.what();
  }
}

Json with_tokens(Json variables) {
  variables["bos_token"] = "<s>";
  variables["eos_token"] = "</s>";
  return variables;
}

TEST(ChatTemplate, WritesConversationsAsJinjaDoes) {
  const Json golden = golden_chat();
  for (const Json& entry : golden["files"]) {
    const std::string file = entry["file"];
    const std::string source = test::read_bytes(test::kData / "chat" / file);
    for (std::size_t i = 0; i < golden["conversations"].size(); ++i) {
      for (std::size_t j = 0; j < golden["options"].size(); ++j) {
        Json variables = with_tokens(golden["options"][j]);
        variables["messages"] = golden["conversations"][i];
        expect_result(source, variables, entry["results"][i][j],
                      fmt::format("{}, conversation {}, options {}", file, i, j));
      }
    }
  }
}

TEST(ChatTemplate, UnderstandsWhatTemplatesAreMadeOf) {
  const Json golden = golden_chat();
  const Json variables = with_tokens({{"messages", golden["snippet_messages"]}});
  for (const Json& entry : golden["snippets"]) {
    expect_result(entry["template"].get<std::string>(), variables, entry, entry["template"]);
  }
}

TEST(ChatTemplate, EvaluatesRandomExpressionsAsJinjaDoes) {
  const Json golden = golden_chat();
  for (const Json& entry : golden["expressions"]) {
    expect_result(entry["template"].get<std::string>(), golden["expression_variables"], entry, entry["template"]);
  }
}

std::string error_of(const std::string& source) {
  return test::error_of([&] { render(source, Json::object()); });
}

TEST(ChatTemplate, G12_StopsProgramsThatRunOrGrow) {
  const char* const hostile[] = {
      "{% for i in range(1000000000) %}x{% endfor %}",
      "{% for a in range(3000) %}{% for b in range(3000) %}{{ a }}{% endfor %}{% endfor %}",
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% set ns = namespace(s='0123456789') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(100) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(90) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}",
      "{% set ns = namespace() %}{% set ns.me = ns %}",
      "{% set ns = namespace() %}{{ [ns] }}",
      "{% for i in [1] %}{{ [loop] }}{% endfor %}",
      "{% set ns = namespace(s='0123456789') %}{% for i in range(100) %}{% set ns.s = '{0}{0}'.format(ns.s) %}{% "
      "endfor %}",
      "{% set ns = namespace(s='0123456789') %}{% for i in range(100) %}{% set ns.s = '%s%s' % (ns.s, ns.s) %}{% "
      "endfor %}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] | select %}{% endfor %}",
      "{{ 'a' * 1000000000000 }}",
      "{{ [0] * 1000000000000000000 }}",
      "{{ 'a' * 9223372036854775807 }}",
      "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
      "{{ ('a,' * 100000).split(',') | join('x' * 10000) }}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ 10 ** 60 }}",
      "{{ -9223372036854775807 - 1 - 1 }}",
      "{{ (-9223372036854775807 - 1) // -1 }}",
      "{{ [1, 2, 3][::0] }}",
      "{{ 1 % 0 }}",
      "{{ 'x' | indent(1000000000) }}",
      "{{ 1.5 | round(1000) }}",
      "{{ {} | tojson(indent=1000000) }}",
  };
  for (const char* source : hostile) EXPECT_TRUE(contains(error_of(source), "template: line 1: ")) << source;
  EXPECT_TRUE(contains(error_of("{{ 'a' * 67108865 }}"), "more than 67108864 bytes of text"));
  EXPECT_TRUE(contains(error_of(hostile[1]), "more than 4194304 steps"));
  EXPECT_TRUE(contains(error_of(hostile[2]), "more than 50 deep"));
  EXPECT_TRUE(contains(error_of("{{ " + std::string(100'000, '(') + std::string(100'000, ')') + " }}"), "nested"));
  EXPECT_TRUE(contains(error_of("{{ " + std::string(100'000, '-') + "1 }}"), "nested"));
  std::string blocks, sum = "{{ 1", filters = "{{ 1", attributes = "{{ x";
  for (int i = 0; i < 10'000; ++i) {
    blocks += "{% if 1 %}";
    sum += "+1";
    filters += "|string";
    attributes += ".x";
  }
  for (const std::string& deep : {blocks, sum + " }}", filters + " }}", attributes + " }}"}) {
    EXPECT_TRUE(contains(error_of(deep), "nested")) << deep.substr(0, 20);
  }
  EXPECT_TRUE(contains(error_of(std::string(2'000'000, 'x')), "bytes of template"));
}

TEST(ChatTemplate, G12_HasNoWayToPython) {
  for (const char* source : {"{{ ''.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ self.__init__ }}",
                             "{{ x.__globals__ }}", "{{ {}.__class__ }}", "{{ range.__call__ }}"}) {
    test::error_of([&] { render(source, {{"x", "text"}}); });
  }
}

TEST(ChatTemplate, RefusesByLineAndConstruct) {
  EXPECT_EQ(error_of("a\n{{ x | nonsense }}"),
            "template: line 2: the filter \"nonsense\" is not among those that rapt supports");
  EXPECT_EQ(
      error_of("\n\n{% include 'x' %}"),
      "template: line 3: expected one of the statements that rapt supports (if, for, set, macro, break, continue, "
      "generation), found \"include\"");
  EXPECT_EQ(error_of("{{ lipsum() }}"), "template: line 1: \"lipsum\" is not among the functions that rapt supports");
  EXPECT_EQ(error_of("{{ 'a'.encode() }}"), "template: line 1: strings have no method \"encode\" that rapt supports");
  EXPECT_EQ(error_of("{% for i in [1] recursive %}{% endfor %}"),
            "template: line 1: recursive loops are not supported, found \"recursive\"");
  EXPECT_TRUE(contains(error_of("{% for i in [1] %}{% macro m() %}{% endmacro %}{% endfor %}"),
                       "macros inside of loops and macros are not supported"));
  EXPECT_TRUE(contains(error_of("{% macro m() %}{% macro n() %}{% endmacro %}{% endmacro %}"), "inside of loops and"));
  EXPECT_TRUE(contains(error_of("{{ '\\101' }}"), "octal"));
  EXPECT_TRUE(contains(error_of("{{ '%5s' % 'a' }}"), "rapt supports s, d and % alone"));
  EXPECT_TRUE(contains(error_of("{{ '{:>5}'.format('a') }}"), "fields such as {:>5} are not supported"));
  EXPECT_TRUE(contains(error_of("{{ ('a' | safe).replace('a', '<') }}"), "have no method \"replace\""));
  EXPECT_TRUE(contains(error_of("{{ 'ff' | int(0, 16) }}"), "bases other than 10"));
  EXPECT_TRUE(contains(error_of("{% macro m() %}{% endmacro %}{{ m.name }}"), "attributes of functions"));
  EXPECT_TRUE(contains(error_of("{{ [1] | map('string') }}"), "an iterator cannot be written out"));
  EXPECT_EQ(error_of("{{ raise_exception('no \x1b[31m') }}"), "template: line 1: the template refuses: no \\x1b[31m");
  EXPECT_TRUE(contains(error_of("\xFF"), "not valid UTF-8"));
}

TEST(ChatTemplate, IsFoundInADirectory) {
  const Scratch directory;
  EXPECT_FALSE(ChatTemplate::read(directory.path()).has_value());
  const auto text = [&] { return ChatTemplate::read(directory.path())->render(Json::object(), golden_time()); };
  test::write_bytes(directory.path() / "tokenizer_config.json",
                    R"({"chat_template": "one {{ bos_token }}", "bos_token": {"content": "<b>", "lstrip": true}})");
  EXPECT_EQ(text(), "one <b>");
  test::write_bytes(directory.path() / "tokenizer_config.json",
                    R"({"chat_template": [{"name": "rag", "template": "x"}, {"name": "default", "template": "two"}]})");
  EXPECT_EQ(text(), "two");
  test::write_bytes(directory.path() / "chat_template.jinja", "three {{ eos_token }}");
  test::write_bytes(directory.path() / "special_tokens_map.json", R"({"eos_token": "<e>"})");
  EXPECT_EQ(text(), "three <e>");
  test::write_bytes(directory.path() / "chat_template.jinja", "\n{% if %}");
  EXPECT_TRUE(contains(test::error_of([&] { ChatTemplate::read(directory.path()); }), "chat_template.jinja: line 2: "));
}

TEST(ChatTemplate, IsFoundInAGgufFile) {
  const Scratch directory;
  const auto file = directory.path() / "model.gguf";
  GgufBytes bytes;
  bytes.keys = {gguf_strings("tokenizer.ggml.tokens", {"<unk>", "<b>", "<e>"})};
  test::write_bytes(file, bytes.text());
  EXPECT_FALSE(ChatTemplate::read(file).has_value());
  bytes.keys.push_back(gguf_string("tokenizer.chat_template", "{{ bos_token }} {{ eos_token }}"));
  bytes.keys.push_back(gguf_u32("tokenizer.ggml.bos_token_id", 1));
  bytes.keys.push_back(gguf_u32("tokenizer.ggml.eos_token_id", 2));
  test::write_bytes(file, bytes.text());
  EXPECT_EQ(ChatTemplate::read(file)->render(Json::object(), golden_time()), "<b> <e>");
  bytes.keys.back() = gguf_u32("tokenizer.ggml.eos_token_id", 3);
  test::write_bytes(file, bytes.text());
  EXPECT_TRUE(contains(test::error_of([&] { ChatTemplate::read(file); }), "tokenizer.ggml.eos_token_id"));
}

}  // namespace
}  // namespace rapt
