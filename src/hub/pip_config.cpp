#include "hub/pip_config.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>

namespace rapt::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSpace = " \t\r\n\f\v";

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

/// "index_url" and "--index-url" are "index-url".
std::string option_name(std::string_view key) {
  std::string name = lower(trimmed(key));
  std::ranges::replace(name, '_', '-');
  return name.starts_with("--") ? name.substr(2) : name;
}

/// Values of configuration files: "install.index-url" -> text, lines joined by newlines.
using Values = std::map<std::string, std::string>;

/// The syntax is that of Python's configparser: sections, "key = value" or "key: value", indented lines go on with the
/// value before, lines that begin with # or ; are comments.
void read_file_of(const fs::path& path, Values& values) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return;
  std::ifstream file(path);
  std::string section;
  std::string* last = nullptr;
  for (std::string line; std::getline(file, line);) {
    const std::string_view text = trimmed(line);
    if (text.empty() || text.front() == '#' || text.front() == ';') continue;
    const bool indented = kSpace.find(line.front()) != std::string_view::npos;
    if (indented && last != nullptr) {
      *last += '\n' + std::string(text);
    } else if (text.front() == '[') {
      section = text.substr(1, text.find(']') - 1);
      last = nullptr;
    } else if (const std::size_t sign = text.find_first_of("=:"); sign != std::string_view::npos) {
      last = &values[section + '.' + option_name(text.substr(0, sign))];
      *last = trimmed(text.substr(sign + 1));
    }
  }
}

std::string environment_name(std::string_view option) {
  std::string name = "PIP_";
  for (const char c : option) name += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return name;
}

/// Empty where nothing is said.
std::string value_of(const std::string& option, const Environment& environment, const Values& values) {
  if (const auto set = environment(environment_name(option)); set && !set->empty()) return *set;
  for (const char* const section : {"install.", "global."}) {
    const auto found = values.find(section + option);
    if (found != values.end() && !found->second.empty()) return found->second;
  }
  return {};
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

bool is_true(const std::string& value) {
  const std::string text = lower(value);
  return text == "1" || text == "true" || text == "yes" || text == "on" || text == "y" || text == "t";
}

}  // namespace

std::optional<std::string> environment(const std::string& name) {
  const char* const value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::vector<fs::path> pip_config_files(const Environment& environment) {
  const auto get = [&](const char* name) { return environment(name).value_or(""); };
  const std::string chosen = get("PIP_CONFIG_FILE");
  if (chosen == "/dev/null") return {};
  std::vector<fs::path> files;
  std::istringstream directories(get("XDG_CONFIG_DIRS").empty() ? "/etc/xdg" : get("XDG_CONFIG_DIRS"));
  for (std::string directory; std::getline(directories, directory, ':');)
    files.push_back(fs::path(directory) / "pip" / "pip.conf");
  files.emplace_back("/etc/pip.conf");
  if (const fs::path home = get("HOME"); !home.empty()) {
    files.push_back(home / ".pip" / "pip.conf");
    const std::string config = get("XDG_CONFIG_HOME");
    files.push_back((config.empty() ? home / ".config" : fs::path(config)) / "pip" / "pip.conf");
  }
  if (const std::string virtual_environment = get("VIRTUAL_ENV"); !virtual_environment.empty())
    files.push_back(fs::path(virtual_environment) / "pip.conf");
  if (!chosen.empty()) files.emplace_back(chosen);
  return files;
}

PipConfig read_pip_config(const Environment& environment, const std::vector<fs::path>& files) {
  Values values;
  for (const fs::path& file : files) read_file_of(file, values);
  const auto get = [&](const char* option) { return value_of(option, environment, values); };
  PipConfig config{.indexes = {}, .certificates = get("cert"), .proxy = get("proxy")};
  if (is_true(get("no-index"))) return config;
  const std::string index = get("index-url");
  config.indexes.push_back(index.empty() ? "https://pypi.org/simple" : index);
  for (std::string& extra : words_of(get("extra-index-url"))) config.indexes.push_back(std::move(extra));
  return config;
}

}  // namespace rapt::hub
