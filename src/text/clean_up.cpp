#include "text/clean_up.h"

#include <string_view>
#include <utility>

#include "text/replace.h"

namespace rapt {

std::string clean_up_spaces(std::string text, CleanUp rules) {
  static constexpr std::pair<std::string_view, std::string_view> list[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : list) {
    if (from == " do not" && rules != CleanUp::word_piece) continue;
    text = replace_all(text, from, to);
  }
  return text;
}

}  // namespace rapt
