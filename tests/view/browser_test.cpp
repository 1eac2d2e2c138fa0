#include "view/browser.h"

#include "view/example_report.h"

namespace rapt::view {
namespace {

TEST(AttentionPageInABrowser, WorksByPointerKeyAndAddress) {
  const Scratch scratch;
  put(scratch / "page.html", attention_page(example::report()));
  check_in_browser("browser_check.mjs", scratch / "page.html");
}

}  // namespace
}  // namespace rapt::view
