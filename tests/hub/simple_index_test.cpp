#include "hub/simple_index.h"

#include <gtest/gtest.h>

#include "hub/fetch.h"

namespace rapt::hub {
namespace {

TEST(SimpleIndex, ReadsHtmlAsPeopleWriteIt) {
  const IndexPage page = parse_index_page(
      "\n<!doctype html><head><base href='/b/'></head><abbr href='no'></abbr><a>none</a>\n"
      "<a\nhref = 'x/a-1%2Bcpu.whl?q=1&amp;r=2#egg=a&amp;sha256=abc&amp;z' data-requires-python=\"&gt;=3\">a</a>"
      "<a href=b.whl>b</a><a href='c.whl",
      "page");
  EXPECT_EQ(page.base, "/b/");
  ASSERT_EQ(page.links.size(), 3u);
  EXPECT_EQ(page.links[0].name, "a-1+cpu.whl");
  EXPECT_EQ(page.links[0].reference, "x/a-1%2Bcpu.whl?q=1&r=2");
  EXPECT_EQ(page.links[0].sha256, "abc");
  EXPECT_EQ(page.links[1].name, "b.whl");
  EXPECT_EQ(page.links[2].name, "c.whl");
}

TEST(SimpleIndex, ReadsJsonAndRefusesDamagedJson) {
  const IndexPage page = parse_index_page(
      R"({"files": [{"filename": "a.whl", "url": "../a.whl", "hashes": {}}, {"filename": "b.whl", "url": "b"}]})",
      "page");
  ASSERT_EQ(page.links.size(), 2u);
  EXPECT_EQ(page.links[0].reference, "../a.whl");
  for (const char* const bad :
       {"{", "{\"files\": [{}]}", "{\"files\": [3]}", "{\"files\": [{\"filename\": 1, \"url\": 2}]}"})
    EXPECT_THROW(parse_index_page(bad, "page"), Error) << bad;
  EXPECT_TRUE(parse_index_page("{}", "page").links.empty());
  EXPECT_TRUE(parse_index_page("", "page").links.empty());
}

TEST(SimpleIndex, EveryPrefixOfAPageIsReadOrRefused) {
  const std::string html = "<base href='x'><a href=\"y.whl#sha256=00\" z>t</a>";
  const std::string json = R"({"files": [{"filename": "a", "url": "b", "hashes": {"sha256": "c"}}]})";
  for (const std::string& text : {html, json}) {
    for (std::size_t length = 0; length < text.size(); ++length) {
      try {
        parse_index_page(text.substr(0, length), "page");
      } catch (const Error&) {
      }
    }
  }
}

TEST(Urls, AreResolvedAndShownWithoutPasswords) {
  EXPECT_EQ(resolve_url("https://h/simple/p/", "../../f/x.whl"), "https://h/f/x.whl");
  EXPECT_EQ(resolve_url("https://h/simple/p/", "https://other/x.whl"), "https://other/x.whl");
  EXPECT_EQ(resolve_url("https://u:p@h/simple/p/", "https://h/x.whl"), "https://u:p@h/x.whl");
  EXPECT_EQ(resolve_url("https://u:p@h/simple/p/", "https://h:8443/x.whl"), "https://h:8443/x.whl");
  EXPECT_EQ(resolve_url("file:///a/b/index.html", "x.whl"), "file:///a/b/x.whl");
  EXPECT_EQ(shown_url("https://u:p@h/x"), "https://h/x");
  EXPECT_THROW(resolve_url("no address", "x"), Error);
}

}  // namespace
}  // namespace rapt::hub
